//! Servers that answer, refuse, break and hang.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use rewards::Outcome::{self, Correct, Error, Wrong};
use rewards::Problem;
use serde_json::{Value, json};

use super::*;

mod messages;

/// What a test server says to the head and the body of a request.
type Says = dyn Fn(&str, &Value) -> (u16, String) + Send + Sync;

/// A server that answers every connection on a thread of its own.
fn serve_all(says: Arc<Says>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, says) = (BufReader::new(stream.unwrap()), says.clone());
            thread::spawn(move || {
                let (mut head, mut length, mut from) = (String::new(), 0, 0);
                while stream.read_line(&mut head).is_ok_and(|read| read > 2) {
                    let header = head[from..].to_ascii_lowercase();
                    if let Some(value) = header.strip_prefix("content-length:") {
                        length = value.trim().parse().unwrap();
                    }
                    from = head.len();
                }
                let mut body = vec![0; length];
                if stream.read_exact(&mut body).is_err() {
                    return;
                }
                let (status, text) = says(&head, &serde_json::from_slice(&body).unwrap());
                let head = format!("HTTP/1.1 {status} X\r\nconnection: close\r\n");
                let length = text.len();
                let _ = write!(stream.get_mut(), "{head}content-length: {length}\r\n\r\n{text}");
            });
        }
    });
    format!("http://{address}/judge")
}

fn serve(says: impl Fn(&Value) -> (u16, String) + Send + Sync + 'static) -> String {
    serve_all(Arc::new(move |_: &str, body: &Value| says(body)))
}

fn http(url: &str, change: &str) -> Http {
    let config: HttpConfig = toml::from_str(&format!("url = \"{url}\"\n{change}")).unwrap();
    assert_eq!(config.problem(), None);
    Http::new(config, Console::silent()).unwrap()
}

/// Attempts with these texts.
fn with<T>(texts: &[&str], run: impl FnOnce(&[Attempt<'_>]) -> T) -> T {
    let problem =
        Problem { id: "p".into(), problem: "1+1".into(), answer: "2".into(), ..Problem::default() };
    let attempt =
        |&text| Attempt { problem: &problem, text, num_tokens: 3, max_tokens: 8, truncated: false };
    run(&texts.iter().map(attempt).collect::<Vec<_>>())
}

fn judge(http: &Http, texts: &[&str]) -> Result<Vec<Verdict>, Fault> {
    let mut verdicts = vec![None; texts.len()];
    with(texts, |attempts| http.judge(attempts, &mut verdicts, &Stop::default()))?;
    Ok(verdicts.into_iter().map(Option::unwrap).collect())
}

fn ask(url: &str, change: &str, texts: &[&str]) -> Result<Vec<Verdict>, Fault> {
    judge(&http(url, change), texts)
}

fn trial(http: &Http, text: &str) -> Result<Trial, Fault> {
    with(&[text], |attempts| http.trial(&attempts[0], &Stop::default()))
}

fn outcomes(said: &[Verdict]) -> Vec<Outcome> {
    said.iter().filter_map(|one| one.outcome).collect()
}

/// Whether a request holds this completion.
fn holds(request: &Value, text: &str) -> bool {
    let attempts = request["attempts"].as_array().unwrap();
    attempts.iter().any(|attempt| attempt["completion"] == text)
}

/// Verdicts in reverse: the length of the completion, an error for "refuse".
fn lengths(request: &Value) -> (u16, String) {
    let attempts = request["attempts"].as_array().unwrap();
    let verdict = |attempt: &Value| {
        assert_eq!((&attempt["gold"], &attempt["problem_id"]), (&json!("2"), &json!("p")));
        match attempt["completion"].as_str().unwrap() {
            "refuse" => json!({ "id": attempt["id"], "error": "not mine" }),
            text => json!({ "id": attempt["id"], "reward": text.len(), "answer": text }),
        }
    };
    let verdicts: Vec<_> = attempts.iter().rev().map(verdict).collect();
    (200, json!({ "verdicts": verdicts }).to_string())
}

fn away(url: &str, words: &str) {
    let error = ask(url, "timeout_s = 0.5", &["a", "b"]).unwrap_err();
    assert!(error.reason.contains(words), "{}", error.reason);
    assert!(error.reason.contains(url), "{}", error.reason);
}

#[cfg(feature = "hub")]
#[test]
fn certificates_are_looked_at_before_anything_is_asked() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ca.pem");
    let refused = || {
        let config: HttpConfig = toml::from_str("url = 'https://localhost/judge'").unwrap();
        let config = HttpConfig { ca: Some(path.clone()), ..config };
        assert_eq!(config.problem(), None);
        let error = format!("{:#}", Http::new(config, Console::silent()).unwrap_err());
        assert!(error.contains(path.to_str().unwrap()), "{error}");
        error
    };
    assert!(refused().contains("No such file"), "{}", refused());
    std::fs::write(&path, "no certificate\n").unwrap();
    assert!(refused().contains("there is no certificate in it"), "{}", refused());
}

#[test]
fn batches_come_back_in_order() {
    let url = serve(lengths);
    for batch in 1..5 {
        let said = ask(&url, &format!("batch = {batch}"), &["", "a", "refuse", "abc"]).unwrap();
        let rewards: Vec<_> = said.iter().map(|one| one.reward).collect();
        assert_eq!(rewards, [0.0, 1.0, 0.0, 3.0]);
        assert_eq!(outcomes(&said), [Wrong, Correct, Error, Correct]);
        assert_eq!(said[3].answer.as_deref(), Some("abc"));
    }
}

#[test]
fn the_attempt_that_breaks_the_server_is_an_error() {
    let url = serve(|request| {
        let broken = request.to_string().contains("poison");
        if broken { (500, "oh".into()) } else { lengths(request) }
    });
    let said = ask(&url, "", &["a", "poison", "b"]).unwrap();
    assert_eq!(outcomes(&said), [Correct, Error, Correct]);
}

#[test]
fn a_server_that_is_no_judge_is_away() {
    for status in [301, 401, 404, 429, 502, 503] {
        let url = serve(move |_| (status, "busy".into()));
        away(&url, &format!("got {status}, with the body `busy`"));
    }
    let says = |text: &'static str| serve(move |_| (200, text.to_owned()));
    let broken = |reply: &'static str, problem: &str| {
        away(&says(reply), &format!("it replied `{reply}`: {problem}"));
        let fault = trial(&http(&says(reply), ""), "2").unwrap_err();
        assert_eq!(fault.kind, FaultKind::Protocol);
    };
    broken("hello", "no JSON, expected a JSON object; a reply is {\"verdicts\": [...]}");
    broken(r#"{"verdicts":[]}"#, "expected ");
    assert!(
        trial(&http(&says(r#"{"verdicts":[]}"#), ""), "2")
            .unwrap_err()
            .reason
            .contains("expected 1 verdict, got 0")
    );
    broken(r#"{"verdicts":[{"id":0,"reward":NaN}]}"#, "JSON has no NaN and no infinity; for");
    broken(r#"{"verdicts":[{"id":2,"reward":1}]}"#, "2 is not the `id` of an attempt");
    let twice = r#"{"verdicts":[{"id":0,"reward":1},{"id":0,"reward":1}]}"#;
    away(&says(twice), "or was judged twice");
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    away(&format!("http://{nobody}/"), "refused");
}

/// Sleeps for longer than the time limit of these tests.
fn too_late() {
    thread::sleep(Duration::from_secs(2));
}

#[test]
fn a_batch_that_takes_too_long_is_asked_for_in_halves() {
    let sizes = Arc::new(Mutex::new(Vec::new()));
    let seen = sizes.clone();
    let url = serve(move |request| {
        let size = request["attempts"].as_array().unwrap().len();
        seen.lock().unwrap().push(size);
        if size > 2 {
            too_late();
        }
        lengths(request)
    });
    let said = ask(&url, "timeout_s = 0.5", &["", "a", "ab", "abc", "abcd"]).unwrap();
    let rewards: Vec<_> = said.iter().map(|one| one.reward).collect();
    assert_eq!(rewards, [0.0, 1.0, 2.0, 3.0, 4.0]);
    let mut sizes = sizes.lock().unwrap().clone();
    sizes.sort_unstable();
    assert_eq!(sizes, [1, 2, 2, 3, 5]);
}

#[test]
fn an_attempt_that_takes_too_long_is_an_error_and_a_server_that_hangs_is_away() {
    let hangs = Arc::new(AtomicBool::new(false));
    let now = hangs.clone();
    let url = serve(move |request| {
        if holds(request, "slow") || now.load(Ordering::SeqCst) {
            too_late();
        }
        lengths(request)
    });
    let http = http(&url, "timeout_s = 0.5");
    assert_eq!(trial(&http, "2"), Ok(Trial { refusal: None }));
    let said = judge(&http, &["a", "slow", "b"]).unwrap();
    assert_eq!(outcomes(&said), [Correct, Error, Correct]);
    assert_eq!(outcomes(&judge(&http, &["slow"]).unwrap()), [Error]);
    hangs.store(true, Ordering::SeqCst);
    let away = judge(&http, &["a", "b"]).unwrap_err();
    assert!(
        away.reason.contains("connected, and there was no reply within 0.5 s: raise `timeout_s`"),
        "{away:?}"
    );
    // Before there was any contact it is waited for.
    assert!(trial(&self::http(&url, "timeout_s = 0.5"), "2").unwrap_err().is_transient());
}

#[test]
fn what_was_judged_before_it_went_away_is_kept() {
    let (asked, away) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(true)));
    let (seen, now) = (asked.clone(), away.clone());
    let url = serve(move |request| {
        let attempts = request["attempts"].as_array().unwrap();
        let texts = attempts.iter().map(|one| one["completion"].as_str().unwrap().to_owned());
        seen.lock().unwrap().extend(texts);
        if holds(request, "cc") && now.load(Ordering::SeqCst) {
            return (503, "busy".into());
        }
        lengths(request)
    });
    let http = http(&url, "batch = 1\nconcurrency = 1");
    let mut verdicts = vec![None; 4];
    with(&["a", "cc", "bbb", ""], |attempts| {
        let mut judge = || http.judge(attempts, &mut verdicts, &Stop::default());
        assert!(judge().unwrap_err().is_transient());
        away.store(false, Ordering::SeqCst);
        judge().unwrap();
    });
    let rewards: Vec<_> = verdicts.iter().map(|one| one.as_ref().unwrap().reward).collect();
    assert_eq!(rewards, [1.0, 2.0, 3.0, 0.0]);
    assert_eq!(*asked.lock().unwrap(), ["a", "cc", "cc", "bbb", ""]);
}

#[test]
fn several_requests_are_under_way_and_never_more_than_asked_for() {
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (count, highest) = (now.clone(), most.clone());
    let url = serve(move |request| {
        highest.fetch_max(count.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        thread::sleep(Duration::from_millis(150));
        count.fetch_sub(1, Ordering::SeqCst);
        lengths(request)
    });
    let texts = ["", "a", "aa", "aaa", "aaaa", "aaaaa"];
    for concurrency in [1, 3] {
        most.store(0, Ordering::SeqCst);
        let change = format!("batch = 1\nconcurrency = {concurrency}");
        let said = ask(&url, &change, &texts).unwrap();
        let rewards: Vec<_> = said.iter().map(|one| one.reward).collect();
        assert_eq!(rewards, [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
        assert_eq!(most.load(Ordering::SeqCst), concurrency);
    }
}

#[test]
fn at_the_first_contact_a_refusal_is_an_error_with_the_next_act() {
    for (status, act) in [
        (301, "set `url` to the address"),
        (400, "docs/verifiers.md has their form"),
        (401, "set `headers` in the recipe"),
        (403, "set `headers` in the recipe"),
        (404, "check the path in `url`"),
        (405, "takes POST there"),
        (422, "docs/verifiers.md has their form"),
    ] {
        let url = serve(move |_| (status, "no".into()));
        let away = trial(&http(&url, ""), "2").unwrap_err();
        assert!(!away.is_transient() && away.reason.contains(act), "{away:?}");
        assert!(away.reason.contains(&format!("got {status}, with the body `no`")), "{away:?}");
    }
    let url = serve(|_| (200, "hello".into()));
    assert!(!trial(&http(&url, ""), "2").unwrap_err().is_transient());
    for status in [408, 429, 500, 502, 503, 504] {
        let url = serve(move |_| (status, "busy".into()));
        assert!(trial(&http(&url, ""), "2").unwrap_err().is_transient(), "{status}");
    }
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    assert!(trial(&http(&format!("http://{nobody}/"), ""), "2").unwrap_err().is_transient());
    let refusal = Some("not mine".to_owned());
    assert_eq!(trial(&http(&serve(lengths), ""), "refuse"), Ok(Trial { refusal }));
}

#[test]
fn a_request_that_is_refused_later_costs_its_attempt() {
    for status in [400, 413, 422] {
        let url =
            serve(
                move |request| {
                    if holds(request, "odd") { (status, "no".into()) } else { lengths(request) }
                },
            );
        assert_eq!(outcomes(&ask(&url, "", &["a", "odd"]).unwrap()), [Correct, Error]);
    }
}

#[test]
fn headers_are_sent_and_shown_nowhere() {
    // Every process of cargo's has this variable.
    let secret = std::env::var("CARGO_MANIFEST_DIR").unwrap();
    let expected = format!("authorization: bearer {}", secret.to_ascii_lowercase());
    let url = serve_all(Arc::new(move |head: &str, body: &Value| {
        let head = head.to_ascii_lowercase();
        if head.contains(&expected) && holds(body, "a") {
            return lengths(body);
        }
        (401, format!("not {head}"))
    }));
    let headers = "headers = { Authorization = \"Bearer env:CARGO_MANIFEST_DIR\" }";
    assert_eq!(outcomes(&ask(&url, headers, &["a"]).unwrap()), [Correct]);
    assert!(trial(&http(&url, ""), "a").unwrap_err().reason.contains("got 401"));
    let http = http(&url, headers);
    let shown = format!("{:?} {http:?}", judge(&http, &["b"]).unwrap_err());
    assert!(!shown.contains(&secret), "{shown}");
    assert!(serde_json::to_string(&http.config).unwrap().contains("env:CARGO_MANIFEST_DIR"));
    let config = toml::from_str("url = 'http://a'\nheaders = { A = 'env:NO_SUCH_VARIABLE' }");
    let error = Http::new(config.unwrap(), Console::silent()).unwrap_err().to_string();
    assert!(error.starts_with("headers.A: the environment variable `NO_SUCH_VARIABLE`"), "{error}");
}

#[test]
fn addresses_are_shown_without_what_may_be_secret() {
    for (url, expected) in [
        ("http://a:80/b?key=s3cret#d", "http://a:80/b"),
        ("https://me:s3cret@a/b", "https://a/b"),
        ("http://a@b@c?x", "http://c"),
        ("me:s3cret@a/b", "a/b"),
        ("http://a/b@c", "http://a/b@c"),
    ] {
        assert_eq!(without_secrets(url), expected);
    }
    let problem = |url: &str| {
        let config: HttpConfig = toml::from_str(&format!("url = \"{url}\"")).unwrap();
        config.problem().unwrap()
    };
    let said = problem("http://me:s3cret@a/b");
    assert!(said.contains("Basic env:NAME") && !said.contains("s3cret"), "{said}");
    assert!(!problem("ftp://me:s3cret@a/b?s3cret").contains("s3cret"));
    let url = serve(|_| (404, "no".into())) + "?key=s3cret";
    let away = trial(&http(&url, ""), "2").unwrap_err();
    assert!(away.reason.contains("/judge: ") && !away.reason.contains("s3cret"), "{away:?}");
    let by_hand = with(&["it's 2"], |attempts| http(&url, "").by_hand(&attempts[0]));
    assert!(by_hand.starts_with("curl --json '{\"attempts\":[{\"id\":0,"), "{by_hand}");
    assert!(by_hand.ends_with("/judge, with the query and the headers of the recipe"), "{by_hand}");
    let criterion = |url: &str| http(url, "").criterion();
    assert_eq!(criterion("http://a/b?key=1"), criterion("http://a/b?key=2"));
    assert_ne!(criterion("http://a/b"), criterion("http://a/c"));
}

#[test]
fn a_stop_does_not_wait_for_an_answer() {
    let url = serve(|request| {
        thread::sleep(Duration::from_secs(20));
        lengths(request)
    });
    let (http, stop, began) = (http(&url, ""), Stop::default(), Instant::now());
    stop.request();
    let mut verdicts = vec![None; 1];
    let ended = with(&["a"], |attempts| http.judge(attempts, &mut verdicts, &stop));
    assert_eq!(ended, Err(Fault::stopped()));
    assert!(began.elapsed() < Duration::from_secs(5));
}
