//! `hf://datasets/...` through the binary, against a server on the loopback interface.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::io::{BufRead, BufReader, Read as _, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};

use crate::binary::{stderr, stdout};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

const RECIPE: &str = r#"
model = { path = "builtin:atom" }
prompt = { template = { kind = "plain", text = "{problem}=" } }
[data]
train = { kind = "file", path = "hf://datasets/org/rows/main/train*" }
held_out = { kind = "file", path = "hf://datasets/org/rows@v1/main/test.jsonl" }
[eval.sampling]
max_new_tokens = 4
[[stage]]
kind = "rl"
steps = 1
batch = 1
group_size = 2
rollout = { max_new_tokens = 4 }
schedule = { kind = "constant", lr = 1e-4 }
"#;

const FILES: [(&str, &str); 4] = [
    ("README.md", "words"),
    ("main/train-00000-of-00002.jsonl", r#"{"question": "1+1", "answer": "so\n#### 2"}"#),
    ("main/train-00001-of-00002.jsonl", r#"{"question": "1+2", "answer": "so\n#### 3"}"#),
    ("main/test.jsonl", r#"{"question": "2+2", "answer": "so\n#### 4"}"#),
];

struct Server {
    endpoint: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&asked);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                answer(stream.unwrap(), &log);
            }
        });
        Self { endpoint, asked }
    }

    fn downloads(&self) -> usize {
        self.asked.lock().unwrap().iter().filter(|path| path.contains("/resolve/")).count()
    }
}

fn answer(stream: TcpStream, log: &Mutex<Vec<String>>) {
    let mut reader = BufReader::new(stream);
    let (mut path, mut range) = (String::new(), None);
    for line in reader.by_ref().lines() {
        let line = line.unwrap_or_default();
        if line.is_empty() {
            break;
        }
        if let Some(rest) = line.strip_prefix("GET ") {
            rest.split(' ').next().unwrap().clone_into(&mut path);
        } else if let Some((name, bytes)) = line.split_once(": bytes=")
            && name.eq_ignore_ascii_case("range")
        {
            range = Some(bytes.trim().to_owned());
        }
    }
    log.lock().unwrap().push(path.clone());
    let (head, body) = respond(&path, range.as_deref());
    let head =
        format!("HTTP/1.1 {head}Content-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    let _ = reader.into_inner().write_all(&[head.as_bytes(), &body].concat());
}

/// A data set: its name, its commit, and its files.
type DataSet = (&'static str, &'static str, Vec<(&'static str, String)>);

/// The data sets of the server.
fn data_sets() -> [DataSet; 2] {
    let rows = FILES.map(|(name, text)| (name, text.to_owned())).to_vec();
    let minerva = evals::benchmark::find("minerva").unwrap();
    let row = |n: u32| format!("{{\"question\": \"Add 1 to {n}.\", \"answer\": \"{}\"}}\n", n + 1);
    let lines = (0..272).map(row).collect();
    let files = vec![("README.md", String::new()), ("test.jsonl", lines)];
    [("org/rows", COMMIT, rows), ("math-ai/minervamath", &minerva.revision, files)]
}

fn respond(path: &str, range: Option<&str>) -> (String, Vec<u8>) {
    let none = || ("404 Not Found\r\n".into(), Vec::new());
    let sets = data_sets();
    let is_of = |set: &&DataSet| path.contains(&format!("/datasets/{}/", set.0));
    let Some((set, commit, files)) = sets.iter().find(is_of) else { return none() };
    let info = |revision: &str| format!("/api/datasets/{set}/revision/{revision}");
    if ["main", "v1", commit].iter().any(|revision| path == info(revision)) {
        let files: Vec<_> =
            files.iter().map(|(name, _)| serde_json::json!({ "rfilename": name })).collect();
        let info = serde_json::json!({ "sha": commit, "siblings": files });
        return ("200 OK\r\nContent-Type: application/json\r\n".into(), info.to_string().into());
    }
    let name = path.strip_prefix(&format!("/datasets/{set}/resolve/{commit}/"));
    let found = name.and_then(|name| files.iter().find(|(own, _)| *own == name));
    let Some((name, text)) = found else { return none() };
    let (start, end) = range.and_then(|range| range.split_once('-')).unwrap_or(("0", ""));
    let start: usize = start.parse().unwrap();
    let end = end.parse::<usize>().map_or(text.len(), |last| last + 1).min(text.len());
    let tag = name.replace('/', "-");
    let head = format!(
        "206 Partial Content\r\nETag: \"{tag}\"\r\nX-Repo-Commit: {commit}\r\n\
         Content-Range: bytes {start}-{}/{}\r\n",
        end - 1,
        text.len()
    );
    (head, text.as_bytes()[start..end].to_vec())
}

fn stearin(folder: &Path, endpoint: &str, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_stearin"))
        .args(arguments)
        .current_dir(folder)
        .env_remove("STEARIN_DATA")
        .env_remove("HF_TOKEN")
        .env("HF_HOME", folder.join("cache"))
        .env("HF_ENDPOINT", endpoint)
        .env("RAYON_NUM_THREADS", "1")
        .output()
        .unwrap()
}

#[test]
fn a_data_set_is_fetched_once_and_its_revision_is_kept() {
    let (server, folder) = (Server::start(), tempfile::tempdir().unwrap());
    let folder = folder.path();
    fs::write(folder.join("mine.toml"), RECIPE).unwrap();
    // A dry run fetches nothing.
    let dry = stearin(folder, &server.endpoint, &["train", "mine.toml", "--dry-run"]);
    assert!(
        stdout(&dry).contains("unknown: hf://datasets/org/rows/main/train*,"),
        "{}",
        stdout(&dry)
    );

    let run = |endpoint: &str, name: &str| {
        let output = stearin(folder, endpoint, &["train", "mine.toml", "--run-dir", name]);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        let kept = fs::read_to_string(folder.join(name).join("run.json")).unwrap();
        for role in ["data.train/train-00000-of-00002.jsonl", "data.held_out"] {
            assert!(kept.contains(&format!("\"{role}\"")), "{kept}");
        }
        assert!(kept.contains(COMMIT), "{kept}");
        stderr(&output)
    };
    let said = run(&server.endpoint, "one");
    let expected =
        format!("data.train: hf://datasets/org/rows/main/train*: 2 files of revision {COMMIT}");
    assert!(said.contains(&expected), "{said}");
    assert!(said.contains("problem from `question`"), "{said}");
    let downloads = server.downloads();
    run(&server.endpoint, "two");
    assert_eq!(server.downloads(), downloads, "the cache has them");
    // Without the hub: from the cache, and said so.
    let said = run("http://127.0.0.1:9", "three");
    assert!(said.contains("in the cache (the hub cannot be reached)"), "{said}");
    // A part of the numbered files is not taken for all of them.
    let snapshots = folder.join("cache/hub/datasets--org--rows/snapshots").join(COMMIT);
    fs::remove_file(snapshots.join("main/train-00001-of-00002.jsonl")).unwrap();
    let output = stearin(folder, "http://127.0.0.1:9", &["train", "mine.toml", "--run-dir", "x"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("has 1 of 2 files such as"), "{}", stderr(&output));
}

#[test]
fn what_is_no_data_set_is_said_plainly() {
    let (server, folder) = (Server::start(), tempfile::tempdir().unwrap());
    fs::write(folder.path().join("mine.toml"), RECIPE).unwrap();
    for (path, words) in [
        ("hf://datasets/org/none", "no such data set or revision"),
        ("hf://datasets/org/rows@v2", "no such data set or revision"),
        ("hf://datasets/org", "not an owner and a name"),
        ("hf://datasets/org/rows/../x", "the path leaves the data set"),
        ("hf://org/rows", "is no data set: expected hf://datasets/owner/name"),
        ("hf://datasets/org/rows", "several splits, test.jsonl and train-00000-of-00002.jsonl"),
        ("hf://datasets/org/rows/main/x*", "no file with rows at `main/x*`"),
    ] {
        let set = format!("data.train.path={path}");
        let output =
            stearin(folder.path(), &server.endpoint, &["train", "mine.toml", "--set", &set]);
        assert_eq!(output.status.code(), Some(2));
        assert!(stderr(&output).contains(words), "{path}: {}", stderr(&output));
    }
}

#[test]
fn a_benchmark_is_read_at_its_pinned_revision() {
    let (server, folder) = (Server::start(), tempfile::tempdir().unwrap());
    let model = ["eval", "--model", "builtin:atom", "--max-new-tokens", "2", "--limit", "2"];
    let bench = ["--bench", "minerva", "--prompt", "plain", "--samples", "1", "--out", "run"];
    let arguments: Vec<&str> = [&model[..], &bench].concat();
    let output = stearin(folder.path(), &server.endpoint, &arguments);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stdout(&output).contains("| minerva"), "{}", stdout(&output));
    let results = folder.path().join("run/evals/step-000000/minerva.jsonl");
    let (lines, _) = evals::run::results::read(&results).unwrap();
    assert_eq!(lines.len(), 2);
    let is_its_row = |line: &evals::run::ProblemLine| {
        let gold: u32 = line.gold.parse().unwrap();
        line.problem == format!("Add 1 to {}.", gold - 1)
    };
    assert!(lines.iter().all(is_its_row), "{lines:?}");
    // A benchmark that the hub does not have at that revision.
    let output = stearin(
        folder.path(),
        &server.endpoint,
        &arguments.iter().map(|w| if *w == "minerva" { "olympiad" } else { w }).collect::<Vec<_>>(),
    );
    assert_eq!(output.status.code(), Some(2));
    for words in ["no such data set or revision", "put olympiad.jsonl into the folder"] {
        assert!(stderr(&output).contains(words), "{}", stderr(&output));
    }
}
