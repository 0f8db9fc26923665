//! `hf://` against a server on the loopback interface.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};

use candle::{DType, Device};
use engine::hub::Hub;
use engine::{Family, ModelConfig, load, save};
use serde_json::json;
use tempfile::TempDir;

use crate::disk;
use crate::support;

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// What the server has and what it was asked for.
#[derive(Default)]
struct Site {
    files: BTreeMap<String, Vec<u8>>,
    /// Served for these paths instead.
    status: BTreeMap<String, u16>,
    /// Where large files are handed over, as the public hub does.
    storage: Option<String>,
    asked: Vec<String>,
}

struct Server {
    site: Arc<Mutex<Site>>,
    endpoint: String,
    cache: TempDir,
}

impl Server {
    fn start(files: BTreeMap<String, Vec<u8>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let site = Arc::new(Mutex::new(Site { files, ..Site::default() }));
        let shared = Arc::clone(&site);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                answer(stream.unwrap(), &shared);
            }
        });
        Self { site, endpoint, cache: tempfile::tempdir().unwrap() }
    }

    /// A server that has a tiny llama.
    fn with_model() -> (Self, engine::Model) {
        let config = ModelConfig { vocab_size: 37, ..support::config(Family::Llama) };
        let model = support::model(config, DType::F32);
        let folder = tempfile::tempdir().unwrap();
        save(&model, &disk::text(37), folder.path()).unwrap();
        (Self::start(files(folder.path())), model)
    }

    fn hub(&self) -> Hub {
        Hub {
            endpoint: self.endpoint.clone(),
            cache: self.cache.path().to_owned(),
            token: None,
            progress: false,
        }
    }

    #[track_caller]
    fn refuses(&self, address: &str, words: &[&str]) {
        let error = self.hub().fetch(address).unwrap_err().to_string();
        for word in words {
            assert!(error.contains(word), "{word:?} not in {error:?}");
        }
    }

    fn asked(&self, part: &str) -> usize {
        self.site.lock().unwrap().asked.iter().filter(|path| path.contains(part)).count()
    }
}

fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    entries
        .map(|entry| {
            let name = entry.file_name().into_string().unwrap();
            (name, std::fs::read(entry.path()).unwrap())
        })
        .collect()
}

fn answer(stream: TcpStream, site: &Mutex<Site>) {
    let mut reader = BufReader::new(stream);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let path = lines[0].split(' ').nth(1).unwrap().to_owned();
    let range = lines.iter().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let bytes = value.trim().strip_prefix("bytes=")?;
        name.eq_ignore_ascii_case("range").then(|| bytes.to_owned())
    });
    let mut site = site.lock().unwrap();
    site.asked.push(path.clone());
    let (head, body) = respond(&site, &path, range.as_deref());
    let mut stream = reader.into_inner();
    let length = body.len();
    let head = format!("HTTP/1.1 {head}Content-Length: {length}\r\nConnection: close\r\n\r\n");
    let _ = stream.write_all(&[head.as_bytes(), &body].concat());
}

fn respond(site: &Site, path: &str, range: Option<&str>) -> (String, Vec<u8>) {
    if let Some(status) = site.status.get(path) {
        return (format!("{status} Refused\r\n"), Vec::new());
    }
    if ["main", "v1", COMMIT].iter().any(|r| path == format!("/api/models/org/tiny/revision/{r}")) {
        let siblings: Vec<_> = site.files.keys().map(|name| json!({ "rfilename": name })).collect();
        let info = json!({ "sha": COMMIT, "siblings": siblings });
        return ("200 OK\r\nContent-Type: application/json\r\n".into(), info.to_string().into());
    }
    let name = path.strip_prefix(&format!("/org/tiny/resolve/{COMMIT}/"));
    if let (Some(storage), Some("model.safetensors")) = (&site.storage, name) {
        let head = format!(
            "302 Found\r\nLocation: {storage}/large/model.safetensors\r\n\
             X-Linked-Etag: \"large\"\r\nX-Repo-Commit: {COMMIT}\r\n"
        );
        return (head, Vec::new());
    }
    let name = name.or_else(|| path.strip_prefix("/large/"));
    let Some((name, bytes)) = name.and_then(|name| Some((name, site.files.get(name)?))) else {
        return ("404 Not Found\r\n".into(), Vec::new());
    };
    let (start, end) = range.and_then(|range| range.split_once('-')).unwrap_or(("0", ""));
    let start: usize = start.parse().unwrap();
    let end = end.parse::<usize>().map_or(bytes.len(), |last| last + 1);
    let head = format!(
        "206 Partial Content\r\nETag: \"{name}-tag\"\r\nX-Repo-Commit: {COMMIT}\r\n\
         Content-Range: bytes {start}-{}/{}\r\n",
        end.saturating_sub(1),
        bytes.len()
    );
    (head, bytes[start..end.min(bytes.len())].to_vec())
}

#[test]
fn a_model_is_fetched_once_and_then_loads_without_the_hub() {
    let (server, model) = Server::with_model();
    let folder = server.hub().fetch("hf://org/tiny").unwrap();
    let (read, _) = load(&folder, &Device::Cpu, DType::F32).unwrap();
    disk::assert_weights(&read, &model, 0.0);
    let downloads = server.asked("/resolve/");
    assert_eq!(server.hub().fetch("hf://org/tiny").unwrap(), folder);
    assert_eq!(server.asked("/resolve/"), downloads);
    let away = Hub { endpoint: "http://127.0.0.1:1".into(), ..server.hub() };
    assert_eq!(away.fetch("hf://org/tiny").unwrap(), folder);
    let error = away.fetch("hf://org/other").unwrap_err().to_string();
    assert!(error.contains("HF_ENDPOINT") && error.contains("127.0.0.1:1"), "{error}");
}

#[test]
fn a_large_file_may_lie_elsewhere() {
    let (server, model) = Server::with_model();
    server.site.lock().unwrap().storage = Some(server.endpoint.clone());
    let folder = server.hub().fetch("hf://org/tiny").unwrap();
    disk::assert_weights(&load(&folder, &Device::Cpu, DType::F32).unwrap().0, &model, 0.0);
    assert!(server.asked("/large/model.safetensors") > 0);
}

#[test]
fn a_revision_may_be_named() {
    let (server, _) = Server::with_model();
    let folder = server.hub().fetch("hf://org/tiny@v1").unwrap();
    assert_eq!(server.asked("/api/models/org/tiny/revision/v1"), 1);
    assert!(folder.ends_with(COMMIT));
    server.refuses("hf://org/tiny@v2", &["hf://org/tiny@v2", "no such model or revision"]);
}

#[test]
fn many_files_are_fetched_by_the_index() {
    let (server, model) = Server::with_model();
    {
        let mut site = server.site.lock().unwrap();
        let single = site.files.remove("model.safetensors").unwrap();
        let names: serde_json::Map<_, _> = model
            .parameters()
            .iter()
            .map(|p| (p.name.clone(), json!("model-00001-of-00001.safetensors")))
            .collect();
        site.files.insert("model-00001-of-00001.safetensors".into(), single);
        let index = json!({ "weight_map": names }).to_string();
        site.files.insert("model.safetensors.index.json".into(), index.into());
        site.files.insert("pytorch_model.bin".into(), vec![0; 10]);
    }
    let folder = server.hub().fetch("hf://org/tiny").unwrap();
    let (read, _) = load(&folder, &Device::Cpu, DType::F32).unwrap();
    disk::assert_weights(&read, &model, 0.0);
    assert_eq!(server.asked("pytorch_model.bin"), 0);
    let away = Hub { endpoint: "http://127.0.0.1:1".into(), ..server.hub() };
    assert_eq!(away.fetch("hf://org/tiny").unwrap(), folder);
}

#[test]
fn what_the_hub_refuses_is_said_plainly() {
    let (server, _) = Server::with_model();
    server.refuses("hf://org/nothing", &["no such model or revision", &server.endpoint]);
    let info = "/api/models/org/tiny/revision/main".to_owned();
    server.site.lock().unwrap().status.insert(info.clone(), 401);
    server.refuses("hf://org/tiny", &["gated", "HF_TOKEN"]);
    server.site.lock().unwrap().status.insert(info.clone(), 503);
    server.refuses("hf://org/tiny", &["503"]);
    server.site.lock().unwrap().status.remove(&info);
    for name in ["config.json", "tokenizer.json", "model.safetensors"] {
        let bytes = server.site.lock().unwrap().files.remove(name).unwrap();
        server.refuses("hf://org/tiny", &["no model in Hugging Face layout"]);
        server.site.lock().unwrap().files.insert(name.to_owned(), bytes);
    }
}

#[test]
fn a_download_that_breaks_off_is_not_taken_for_a_model() {
    let (server, _) = Server::with_model();
    let path = format!("/org/tiny/resolve/{COMMIT}/model.safetensors");
    server.site.lock().unwrap().status.insert(path.clone(), 500);
    server.refuses("hf://org/tiny", &["500"]);
    let away = Hub { endpoint: "http://127.0.0.1:1".into(), ..server.hub() };
    assert!(away.fetch("hf://org/tiny").is_err());
    server.site.lock().unwrap().status.remove(&path);
    load(&server.hub().fetch("hf://org/tiny").unwrap(), &Device::Cpu, DType::F32).unwrap();
}

#[test]
fn a_malformed_address_is_an_error() {
    let (server, _) = Server::with_model();
    for address in
        ["hf://tiny", "hf://org/", "hf://org/a/b", "hf://../x", "hf://org/tiny@", "hf://o/n@../x"]
    {
        server.refuses(address, &[address, "hf://org/name@revision"]);
    }
    assert_eq!(server.asked(""), 0);
    let path = engine::hub::resolve("some/folder").unwrap();
    assert_eq!(path, Path::new("some/folder"));
}
