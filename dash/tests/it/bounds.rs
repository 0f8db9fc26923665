//! What a client may ask for, and how much of it.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::client::{ask, only_run, put, send, serve};

#[test]
fn what_makes_no_sense_is_answered_like_any_other_trouble() {
    let temp = tempfile::tempdir().unwrap();
    put(temp.path(), "metrics.jsonl", "{\"step\":1}\n");
    let address = serve(temp.path());
    let run = only_run(address);
    for (path, expected, part) in [
        (format!("{run}/groups/x/0"), 400, "Cannot parse"),
        (format!("{run}/groups/99999999999999999999/0"), 400, "Cannot parse"),
        (format!("{run}/evals/sums/-1"), 400, "Cannot parse"),
        (format!("{run}/health?after=x"), 400, "after"),
        (format!("{run}/groups?step=x"), 400, "step"),
        (format!("{run}/series?from=-1"), 400, "from"),
        ("/runs/%ff".to_owned(), 400, "UTF-8"),
        ("/runs/none".to_owned(), 404, "no such run"),
        ("/nothing".to_owned(), 404, "nothing here"),
        ("/score".to_owned(), 400, "only read"),
    ] {
        let (status, answer) = ask(address, &path);
        assert_eq!(status, expected, "{path}: {answer}");
        let error = answer["error"].as_str().unwrap_or_default();
        assert!(error.contains(part), "{path}: {answer}");
    }
}

/// Errors of a read after which it may be tried again.
const PASSING: [ErrorKind; 3] =
    [ErrorKind::WouldBlock, ErrorKind::TimedOut, ErrorKind::Interrupted];

/// The first bytes of an answer.
fn first(stream: &mut TcpStream) -> String {
    let mut bytes = [0; 2048];
    loop {
        match stream.read(&mut bytes) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            read => return String::from_utf8_lossy(&bytes[..read.unwrap()]).into_owned(),
        }
    }
}

#[test]
fn listeners_have_a_number_and_the_next_one_is_told() {
    let temp = tempfile::tempdir().unwrap();
    put(temp.path(), "metrics.jsonl", "{\"step\":1}\n");
    let address = serve(temp.path());
    let run = only_run(address);
    let request = format!("GET /api/v1{run}/events HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let mut listeners = Vec::new();
    for _ in 0..256 {
        let mut stream = send(address, &request);
        assert!(first(&mut stream).starts_with("HTTP/1.1 200"));
        listeners.push(stream);
    }
    let refused = first(&mut send(address, &request));
    assert!(refused.starts_with("HTTP/1.1 503"), "{refused}");
    let error = refused.split("\r\n\r\n").nth(1).unwrap();
    let error: Value = serde_json::from_str(error).unwrap();
    assert!(error["error"].as_str().unwrap().contains("256 listen already"), "{error}");
    // Others are still answered, and a place that is left is free again.
    only_run(address);
    let log = temp.path().join("metrics.jsonl");
    std::fs::write(log, "{\"step\":1}\n{\"step\":2}\n").unwrap();
    for stream in &mut listeners {
        assert!(first(stream).contains("event: step"));
    }
    drop(listeners);
    let since = Instant::now();
    while !first(&mut send(address, &request)).starts_with("HTTP/1.1 200") {
        assert!(since.elapsed() < Duration::from_secs(30));
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn a_request_that_does_not_come_is_not_waited_for() {
    let temp = tempfile::tempdir().unwrap();
    let address = serve(temp.path());
    let mut slow = send(address, "GET / HTTP/1.1\r\n");
    let since = Instant::now();
    // A byte at a time does not keep the connection.
    slow.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    let mut byte = [0];
    loop {
        assert!(since.elapsed() < Duration::from_secs(30), "it is still waited for");
        let _ = slow.write_all(b"a");
        match slow.read(&mut byte) {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) if PASSING.contains(&error.kind()) => {}
            Err(_) => break,
        }
    }
    assert!(since.elapsed() > Duration::from_secs(5), "after {:?}", since.elapsed());
}
