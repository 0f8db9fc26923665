//! Runs whose rewards come from outside: a child process, and a server that is away for a while.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use recipes::console::Console;
use recipes::train::Ended;
use recipes::verifiers::{Http, Process};
use rewards::{Outcome, Verdict, Verifier};
use serde_json::{Value, json};

use crate::runs::{RECIPE, Run, assert_equal, contents};

/// The small recipe with these verifiers in its stage of reinforcement learning.
fn recipe(rewards: &str) -> String {
    let there = r#"rewards = [{ kind = "math" }, { kind = "length", aim = "short" }]"#;
    assert!(RECIPE.contains(there));
    RECIPE.replace(there, &format!("rewards = {rewards}"))
}

/// Half a point for every completion of an even number of tokens; `broken` is done instead for
/// those of 3.
fn script(broken: &str) -> String {
    format!(
        r#"
        echo '{{"ready": true}}'
        while read -r line; do
            id=${{line#*'"id":'}}; id=${{id%%,*}}
            tokens=${{line#*'"tokens":'}}; tokens=${{tokens%%,*}}
            case $tokens in
                3) {broken} ;;
                *[02468]) echo '{{"id": '$id', "reward": 0.5}}' ;;
                *) echo '{{"id": '$id', "reward": 0}}' ;;
            esac
        done
        "#
    )
}

fn train(folder: &std::path::Path, recipe: &str) -> anyhow::Result<Ended> {
    Run { recipe, ..Run::new(folder) }.train()
}

fn metrics(folder: &std::path::Path) -> Vec<Value> {
    let text = fs::read_to_string(folder.join("metrics.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_child_process_gives_the_rewards() {
    let folder = tempfile::tempdir().unwrap();
    let judge = folder.path().join("judge.sh");
    fs::write(&judge, script("exit 1")).unwrap();
    let command = format!("[\"sh\", \"{}\"]", judge.display());
    let rewards = format!("[{{ kind = \"process\", command = {command} }}]");
    let run = folder.path().join("run");
    assert_eq!(train(&run, &recipe(&rewards)).unwrap(), Ended::Finished);
    let means: Vec<_> = metrics(&run)
        .iter()
        .filter_map(|row| row.get("critic/rewards/mean").and_then(Value::as_f64))
        .collect();
    assert!(means.iter().any(|&mean| mean > 0.0 && mean < 0.5), "{means:?}");
    // Completions of 3 tokens broke it: their groups are dropped, and that is said.
    let health = fs::read_to_string(run.join("health.jsonl")).unwrap_or_default();
    let completions = fs::read_to_string(run.join("completions.jsonl")).unwrap_or_default();
    assert!(health.contains("verifier_failed"), "{health}");
    assert!(!completions.contains("\"error\""), "no group with an error is learnt from");
}

/// What a verifier says of completions that have used 3 of 8 tokens.
fn judged(verifier: &impl Verifier, completions: &[&str]) -> Vec<Verdict> {
    let problem = rewards::Problem {
        id: "a".into(),
        problem: "1+1".into(),
        answer: "2".into(),
        source: "test".into(),
        ..rewards::Problem::default()
    };
    let attempt = |&text| rewards::Attempt {
        problem: &problem,
        text,
        num_tokens: 3,
        max_tokens: 8,
        truncated: false,
    };
    let attempts: Vec<_> = completions.iter().map(attempt).collect();
    verifier.verify(&attempts).unwrap()
}

#[test]
fn marks_of_reasoning_reach_a_program_and_a_server_as_they_are() {
    let completions = [
        "<think>\n1+1 is \"two\"\n</think>\n\nso \\boxed{2}",
        "<|think|>hm<|/think|> 2",
        "1+1 is two, so 2",
    ];
    // `sh` can compare a line, and not read JSON.
    let script = r#"
        echo '{"ready": true}'
        while read -r line; do
            id=${line#*'"id":'}; id=${id%%,*}
            case $line in
                *'"completion":"<think>\n1+1 is \"two\"\n</think>\n\nso \\boxed{2}"'*) reward=1 ;;
                *'"completion":"<|think|>hm<|/think|> 2"'*) reward=1 ;;
                *) reward=0 ;;
            esac
            echo '{"id": '$id', "reward": '$reward'}'
        done
    "#;
    let folder = tempfile::tempdir().unwrap();
    let judge = folder.path().join("judge.sh");
    fs::write(&judge, script).unwrap();
    let config = format!("command = [\"sh\", {:?}]", judge.display().to_string());
    let process = Process::start(toml::from_str(&config).unwrap(), Console::silent()).unwrap();
    let rewards: Vec<_> = judged(&process, &completions).iter().map(|said| said.reward).collect();
    assert_eq!(rewards, [1.0, 1.0, 0.0]);

    let address = free();
    serve(address, usize::MAX);
    let config = format!("url = \"http://{address}/\"");
    let http = Http::new(toml::from_str(&config).unwrap()).unwrap();
    let said = judged(&http, &completions);
    let answers: Vec<_> = said.iter().map(|verdict| verdict.answer.as_deref().unwrap()).collect();
    assert_eq!(answers, completions);
}

/// The documentation's program, where there is a Python to run it.
#[test]
fn the_example_of_the_documentation_works() {
    let python = Command::new("python3").arg("--version").output();
    if !python.is_ok_and(|output| output.status.success()) {
        println!("skipped: there is no python3");
        return;
    }
    let docs = include_str!("../../../docs/verifiers.md");
    let (_, code) = docs.split_once("```python\n").unwrap();
    let (code, _) = code.split_once("```").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let judge = folder.path().join("judge.py");
    fs::write(&judge, code).unwrap();
    let command = ["python3".to_owned(), judge.display().to_string()];
    let config = format!("command = {command:?}");
    let process = Process::start(toml::from_str(&config).unwrap(), Console::silent()).unwrap();
    let verdicts = judged(&process, &["1+1 = 2", "1+1 = 3", "\"", ""]);
    let outcomes: Vec<_> = verdicts.iter().filter_map(|verdict| verdict.outcome).collect();
    assert_eq!(outcomes, [Outcome::Correct, Outcome::Wrong, Outcome::Wrong, Outcome::Wrong]);
    assert_eq!(verdicts[0].answer.as_deref(), Some("2"));
}

#[test]
fn a_verifier_that_always_fails_ends_the_run_loudly() {
    let folder = tempfile::tempdir().unwrap();
    let rewards = r#"[{ kind = "process", command = ["sh", "-c", "echo '{\"ready\": true}'; read -r line"] }]"#;
    let error = train(&folder.path().join("run"), &recipe(rewards)).unwrap_err();
    let error = format!("{error:#}");
    assert!(error.contains("no group of step 3 can be judged"), "{error}");
    assert!(error.contains("the verifier failed"), "{error}");
}

#[test]
fn a_program_that_is_not_there_is_refused_before_the_run_begins() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let error = train(&run, &recipe(r#"[{ kind = "process", command = ["no-such-judge"] }]"#));
    let expected = "stage.1.rewards[0].command: there is no program `no-such-judge`";
    assert_eq!(error.unwrap_err().to_string(), expected);
    assert!(!run.exists());
}

/// Serves so many verdicts at `address`: the share of the allowed tokens that was used, and the
/// completion as the answer.
fn serve(address: SocketAddr, requests: usize) {
    let listener = TcpListener::bind(address).unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().take(requests) {
            let mut stream = BufReader::new(stream.unwrap());
            let (mut line, mut length) = (String::new(), 0);
            while stream.read_line(&mut line).is_ok_and(|read| read > 2) {
                if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
                line.clear();
            }
            let mut body = vec![0; length];
            stream.read_exact(&mut body).unwrap();
            let request: Value = serde_json::from_slice(&body).unwrap();
            let verdict = |one: &Value| {
                let tokens = one["tokens"].as_f64().unwrap() / one["max_tokens"].as_f64().unwrap();
                json!({ "id": one["id"], "reward": tokens, "answer": one["completion"] })
            };
            let verdicts: Vec<_> =
                request["attempts"].as_array().unwrap().iter().map(verdict).collect();
            let text = json!({ "verdicts": verdicts }).to_string();
            let head = "HTTP/1.1 200 OK\r\nconnection: close\r\n";
            let _ = write!(stream.get_mut(), "{head}content-length: {}\r\n\r\n{text}", text.len());
        }
    });
}

/// An address where nobody listens yet.
fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

#[test]
fn a_run_pauses_while_the_server_is_away_and_a_stop_saves_it() {
    let folder = tempfile::tempdir().unwrap();
    let root = |name: &str| folder.path().join(name);
    let address = free();
    let text = recipe(&format!("[{{ kind = \"http\", url = \"http://{address}/\" }}]"));

    // Nobody listens: the run comes to its third step, and waits.
    let stopped = root("stopped");
    let run = Run { recipe: &text, ..Run::new(&stopped) };
    let stop = run.stop.clone();
    let ended = thread::scope(|scope| {
        let run = scope.spawn(|| run.train().unwrap());
        let at = Instant::now();
        while !stopped.join("checkpoints").join("step-000002").exists() {
            assert!(
                at.elapsed() < Duration::from_mins(2),
                "the run does not come to its third step"
            );
            thread::sleep(Duration::from_millis(20));
        }
        thread::sleep(Duration::from_millis(1500));
        assert!(!run.is_finished(), "it waits");
        stop.ask();
        run.join().unwrap()
    });
    assert_eq!(ended, Ended::Interrupted);

    // It is gone on with before the server is there, and finishes when it is.
    thread::scope(|scope| {
        let (text, stopped) = (&text, &stopped);
        let run = scope.spawn(|| Run { recipe: text, ..Run::resumed(stopped) }.train().unwrap());
        thread::sleep(Duration::from_millis(1500));
        assert!(!run.is_finished(), "it waits");
        serve(address, usize::MAX);
        assert_eq!(run.join().unwrap(), Ended::Finished);
    });
    let unbroken = root("unbroken");
    assert_eq!(train(&unbroken, &text).unwrap(), Ended::Finished);
    assert_equal(&stopped, &unbroken);
}

#[test]
fn a_run_that_is_stopped_while_it_waits_has_lost_no_step() {
    let folder = tempfile::tempdir().unwrap();
    let (address, other) = (free(), free());
    let (stopped, unbroken) = (folder.path().join("stopped"), folder.path().join("unbroken"));
    let text = |address: SocketAddr| {
        let text = recipe(&format!("[{{ kind = \"http\", url = \"http://{address}/\" }}]"));
        text.replace("every = 1\nkeep = 2", "every = 100\nkeep = 9")
    };
    let recipe = text(address);
    // The server ends after the fourth step; only the stages' ends are saved.
    serve(address, 2);
    let run = Run { recipe: &recipe, ..Run::new(&stopped) };
    let stop = run.stop.clone();
    thread::scope(|scope| {
        let run = scope.spawn(|| run.train().unwrap());
        let at = Instant::now();
        while !stopped.join("metrics.jsonl").exists() || metrics(&stopped).len() < 5 {
            assert!(
                at.elapsed() < Duration::from_mins(2),
                "the run does not come to its fifth step"
            );
            thread::sleep(Duration::from_millis(20));
        }
        stop.ask();
        assert_eq!(run.join().unwrap(), Ended::Interrupted);
    });
    assert!(stopped.join("checkpoints/step-000004").exists());
    serve(address, usize::MAX);
    assert_eq!(Run { recipe: &recipe, ..Run::resumed(&stopped) }.train().unwrap(), Ended::Finished);
    serve(other, usize::MAX);
    assert_eq!(train(&unbroken, &text(other)).unwrap(), Ended::Finished);
    let (stopped, unbroken) = (contents(&stopped), contents(&unbroken));
    for file in ["metrics.jsonl", "checkpoints/step-000006/model.safetensors"] {
        assert!(stopped[file] == unbroken[file], "{file}");
    }
}

#[test]
fn a_stop_in_the_first_evaluation_leaves_a_run_that_begins_anew() {
    let folder = tempfile::tempdir().unwrap();
    let (root, address) = (folder.path().join("run"), free());
    let eval = format!("[eval]\nrewards = [{{ kind = \"http\", url = \"http://{address}/\" }}]\n");
    let text = RECIPE.replace("[eval]\n", &eval);
    let run = Run { recipe: &text, ..Run::new(&root) };
    run.stop.ask();
    assert_eq!(run.train().unwrap(), Ended::Interrupted);
    serve(address, usize::MAX);
    assert_eq!(Run { recipe: &text, ..Run::resumed(&root) }.train().unwrap(), Ended::Finished);
}
