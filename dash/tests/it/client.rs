//! A server, and a client that sees every byte.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, thread};

use dash::{Options, PATIENCE, Server};
use serde_json::Value;

/// A server over `folder`, which lives as long as the tests.
pub(crate) fn serve(folder: &Path) -> SocketAddr {
    let options = Options {
        folders: vec![folder.to_owned()],
        port: 0,
        tokenizer: None,
        reroll: None,
        patience: PATIENCE,
    };
    let server = Server::bind(options).unwrap();
    let address = server.address().unwrap();
    thread::spawn(move || server.run());
    address
}

/// A connection on which these bytes were sent.
pub(crate) fn send(address: SocketAddr, bytes: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
    stream.write_all(bytes.as_bytes()).unwrap();
    stream
}

/// The head of an answer and its body.
pub(crate) fn answer(address: SocketAddr, path: &str) -> (String, Vec<u8>) {
    let request =
        format!("GET /api/v1{path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let mut bytes = Vec::new();
    send(address, &request).read_to_end(&mut bytes).unwrap();
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    (String::from_utf8(bytes[..end].to_vec()).unwrap(), bytes[end + 4..].to_vec())
}

/// The status of an answer, and its body as JSON.
#[track_caller]
pub(crate) fn ask(address: SocketAddr, path: &str) -> (u16, Value) {
    let (head, body) = answer(address, path);
    assert!(head.to_lowercase().contains("content-type: application/json"), "{path}: {head}");
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_slice(&body).unwrap())
}

#[track_caller]
pub(crate) fn json(address: SocketAddr, path: &str) -> Value {
    let (status, value) = ask(address, path);
    assert_eq!(status, 200, "{path}: {value}");
    value
}

/// The route of the only run.
pub(crate) fn only_run(address: SocketAddr) -> String {
    let runs = json(address, "/runs");
    assert_eq!(runs.as_array().unwrap().len(), 1, "{runs}");
    format!("/runs/{}", runs[0]["id"].as_str().unwrap())
}

/// Writes a file below `root`, with the folders that it needs.
pub(crate) fn put(root: &Path, name: &str, text: &str) -> PathBuf {
    let path = root.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, text).unwrap();
    path
}

/// A line of an evaluation.
pub(crate) fn line(number: u64, id: &str, outcomes: &[&str]) -> Value {
    let n = outcomes.len();
    let correct = outcomes.iter().filter(|outcome| **outcome == "correct").count();
    serde_json::json!({
        "number": number, "id": id, "source": "s", "problem": id, "gold": "4", "n": n,
        "correct": correct, "distinct_correct": correct, "rewards": vec![0.5; n],
        "outcomes": outcomes, "lengths": vec![3; n], "truncated": vec![false; n],
        "classes": [], "votes": vec![Value::Null; n],
    })
}

/// Writes an evaluation with rows of this checksum.
pub(crate) fn evaluation(root: &Path, set: &str, step: u64, rows: &str, lines: &[Value]) {
    let mut summary = serde_json::to_value(evals::run::Summary::default()).unwrap();
    summary["format"] = evals::run::FORMAT.into();
    (summary["set"], summary["step"]) = (set.into(), step.into());
    summary["data_sha256"] = rows.into();
    put(root, &format!("evals/step-{step:06}/{set}.json"), &summary.to_string());
    let lines: Vec<_> = lines.iter().map(Value::to_string).collect();
    put(root, &format!("evals/step-{step:06}/{set}.jsonl"), &(lines.join("\n") + "\n"));
}
