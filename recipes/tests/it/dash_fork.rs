//! `stearin dash --model`: completions are scored and continued as the run would have done it.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use dash::{Options, Reroll, Server};
use evals::run::{GroupEntry, Run as Record, step_name};
use recipes::config::{DeviceChoice, Recipe, Stage};
use recipes::console::Console;
use recipes::policy;
use recipes::reroll::{Reroller, Source};
use recipes::search_path::SearchPath;
use recipes::signals::Stop;
use recipes::verifiers::{RetryPolicy, Verifiers};
use rewards::{Attempt, Problem};
use serde_json::{Value, json};

use crate::runs::{RECIPE, Run};

/// The small recipe, which keeps its checkpoints and the likeliest tokens.
fn recipe() -> String {
    RECIPE.replace("groups = 2", "groups = 2, alternatives = 3").replace("keep = 2", "keep = 9")
}

/// A server with a model.
struct Served {
    host: String,
    run: String,
}

impl Served {
    fn with(folder: &Path, source: Option<Source>, patience: Duration) -> Self {
        let reroll = source.map(|source| {
            let own = Reroller::new(source, DeviceChoice::Cpu, Console::silent());
            Box::new(own) as Box<dyn Reroll>
        });
        let options = Options {
            folders: vec![folder.to_owned()],
            port: 0,
            tokenizer: None,
            reroll,
            patience,
        };
        let server = Server::bind(options).unwrap();
        let host = server.address().unwrap().to_string();
        thread::spawn(move || server.run());
        let mut served = Self { host, run: String::new() };
        let (_, runs) = served.send("GET", "runs", None);
        runs[0]["id"].as_str().unwrap().clone_into(&mut served.run);
        served
    }

    /// Of the run's checkpoints.
    fn new(folder: &Path) -> Self {
        Self::with(folder, Some(Source::Checkpoints), Duration::from_secs(30))
    }

    fn url(&self, route: &str) -> String {
        format!("http://{}/api/v1/{route}", self.host)
    }

    fn send(&self, method: &str, route: &str, body: Option<&str>) -> (u16, Value) {
        self.send_from(&format!("http://{}", self.host), method, route, body)
    }

    /// A request of a page of another origin.
    fn send_from(
        &self,
        origin: &str,
        method: &str,
        route: &str,
        body: Option<&str>,
    ) -> (u16, Value) {
        let agent: ureq::Agent =
            ureq::Agent::config_builder().http_status_as_error(false).build().into();
        let url = self.url(route);
        let mut answer = match method {
            "POST" => {
                let request = agent.post(url).header("Origin", origin);
                request.content_type("application/json").send(body.unwrap_or_default())
            }
            "DELETE" => {
                let request = agent.delete(url).header("Origin", origin);
                request.header("Content-Type", "application/json").call()
            }
            _ => agent.get(url).call(),
        }
        .unwrap();
        let text = answer.body_mut().read_to_string().unwrap();
        let value = serde_json::from_str(&text).unwrap_or_else(|_| json!(text));
        (answer.status().as_u16(), value)
    }

    /// A body about this run, with further keys.
    fn body(&self, entry: &GroupEntry, further: &Value) -> String {
        let mut body =
            json!({ "run": self.run, "step": entry.step, "group": entry.group, "sibling": 0 });
        for (key, value) in further.as_object().unwrap() {
            body[key] = value.clone();
        }
        body.to_string()
    }

    fn score(&self, entry: &GroupEntry, further: &Value) -> (u16, Value) {
        self.send("POST", "score", Some(&self.body(entry, further)))
    }

    fn fork(&self, entry: &GroupEntry, further: &Value) -> (u16, Value) {
        self.send("POST", "fork", Some(&self.body(entry, further)))
    }

    /// The number of a fork that begins.
    #[track_caller]
    fn job(&self, entry: &GroupEntry, further: &Value) -> String {
        let (status, body) = self.fork(entry, further);
        assert_eq!(status, 202, "{body}");
        body["job"].as_str().unwrap().to_owned()
    }

    /// A client that has asked for the events of a fork.
    fn listen(&self, job: &str) -> TcpStream {
        let mut client = TcpStream::connect(&self.host).unwrap();
        let path = format!("/api/v1/fork/{job}/events");
        write!(client, "GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", self.host).unwrap();
        client
    }

    /// The events of a fork to its end: names and data.
    fn events(&self, job: &str) -> Vec<(String, Value)> {
        let (status, text) = self.send("GET", &format!("fork/{job}/events"), None);
        assert_eq!(status, 200, "{text}");
        let text = text.as_str().unwrap().to_owned();
        let blocks = text.split("\n\n").filter(|block| block.contains("data: "));
        let field = |block: &str, name: &str| {
            let mut lines = block.lines();
            lines.find_map(|line| line.strip_prefix(name).map(str::to_owned)).unwrap()
        };
        blocks
            .map(|block| {
                let data = serde_json::from_str(&field(block, "data: ")).unwrap();
                (field(block, "event: "), data)
            })
            .collect()
    }
}

fn index(root: &Path) -> Vec<GroupEntry> {
    Record::open(root).unwrap().samples().unwrap().index
}

/// A group of the last step, whose first completion has several tokens.
fn last(root: &Path) -> GroupEntry {
    let all = index(root).into_iter().filter(|entry| entry.step == 6);
    all.max_by_key(|entry| entry.lengths[0]).unwrap()
}

/// Scores all recorded groups of reinforcement learning by the checkpoints of the run, and compares
/// the numbers with the record's.
#[track_caller]
fn compare_scores(served: &Served, root: &Path) {
    let samples = Record::open(root).unwrap().samples().unwrap();
    let numbers = |value: &Value| -> Vec<f32> {
        value.as_array().unwrap().iter().map(|one| one.as_f64().unwrap() as f32).collect()
    };
    let (mut other, mut learnt) = (false, 0);
    for entry in samples.index.iter().filter(|entry| entry.step > 3) {
        let mut file = samples.tokens(entry.step).unwrap();
        let tokens = file.read().unwrap();
        for sibling in 0..entry.n {
            let at = entry.completions[0] as usize + sibling;
            let rows =
                tokens.completion_start[at] as usize..tokens.completion_start[at + 1] as usize;
            let asked =
                |checkpoint: u64| json!({ "sibling": sibling, "checkpoint": checkpoint, "top": 3 });
            // A step's completions are drawn by the weights after the step before.
            let (status, scored) = served.score(entry, &asked(entry.step - 1));
            assert_eq!(status, 200, "{scored}");
            // On a CPU sampling and scoring sum in one order: the numbers are the same, not close.
            assert_eq!(numbers(&scored["log_prob"]), tokens.log_prob[rows.clone()]);
            assert_eq!(numbers(&scored["entropy"]), tokens.entropy[rows.clone()]);
            // The first update's forward pass, of those that are learnt from.
            let trained = numbers(&scored["log_prob"]).into_iter();
            for (own, trained) in trained.zip(&tokens.train_log_prob[rows.clone()]) {
                assert!(trained.is_nan() || own.to_bits() == trained.to_bits());
                learnt += usize::from(!trained.is_nan());
            }
            let each = scored["alternatives"].as_array().unwrap();
            let (ids, log_probs) = file.alternatives(rows.clone()).unwrap().unwrap();
            let found = |key: &str| -> Vec<f32> {
                let all = each.iter().flat_map(|all| all.as_array().unwrap());
                all.map(|one| one[key].as_f64().unwrap() as f32).collect()
            };
            assert_eq!(found("token"), ids.iter().map(|&id| id as f32).collect::<Vec<_>>());
            assert_eq!(found("log_prob"), log_probs);
            for (all, own) in found("log_prob").chunks(3).zip(&tokens.log_prob[rows.clone()]) {
                assert!(all.is_sorted_by(|a, b| a >= b) && all[0] >= *own, "{all:?}");
                assert!(all.iter().map(|log| f64::from(*log).exp()).sum::<f64>() < 1.0 + 1e-6);
            }
            let (_, scored) = served.score(entry, &asked(entry.step));
            other |= numbers(&scored["log_prob"]) != tokens.log_prob[rows];
        }
    }
    assert!(other && learnt > 10, "the next checkpoint has other weights");
}

#[test]
fn an_adapter_is_scored_on_its_base() {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path().join("small");
    let adapted = recipe().replace("builtin:atom\"", "builtin:atom\", adapter = { rank = 4 }");
    assert_ne!(adapted, recipe());
    Run { recipe: &adapted, ..Run::new(&root) }.train().unwrap();
    compare_scores(&Served::new(temp.path()), &root);
}

#[test]
fn scores_under_the_weights_that_sampled_are_the_records_to_the_bit() {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path().join("small");
    Run { recipe: &recipe(), ..Run::new(&root) }.train().unwrap();
    let served = Served::new(temp.path());
    compare_scores(&served, &root);
    // A builtin policy of the run's seed is where the run began, and has no checkpoint.
    let model_ref = policy::locate("builtin:atom", &SearchPath::of_command()).unwrap();
    let source = Source::Model { name: "builtin:atom".into(), model_ref };
    let served = Served::with(temp.path(), Some(source), Duration::from_secs(30));
    let (status, scored) = served.score(&last(&root), &json!({ "top": 0 }));
    assert_eq!((status, &scored["checkpoint"]), (200, &Value::Null));
    assert_eq!(scored["alternatives"][0], json!([]));
    let (status, refused) = served.score(&last(&root), &json!({ "checkpoint": 5 }));
    assert_eq!(status, 400, "{refused}");
    assert_eq!(served.send("GET", "model", None).1["name"], "builtin:atom");
    // Its ids stand for other texts.
    let model_ref = policy::locate("builtin:numbers", &SearchPath::of_command()).unwrap();
    let source = Source::Model { name: "builtin:numbers".into(), model_ref };
    let served = Served::with(temp.path(), Some(source), Duration::from_secs(30));
    let (status, refused) = served.score(&last(&root), &json!({}));
    assert!(status == 400 && refused["error"].as_str().unwrap().contains("tokenizer"), "{refused}");
}

#[test]
fn a_fork_goes_on_from_its_token_is_judged_and_gives_the_same_answers_again() {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path().join("small");
    Run { recipe: &recipe(), ..Run::new(&root) }.train().unwrap();
    let served = Served::new(temp.path());
    let entry = last(&root);
    let group = Record::open(&root).unwrap().samples().unwrap().group(&entry).unwrap();
    assert!(entry.lengths[0] > 1, "{entry:?}");
    let asked = |token: usize| json!({ "token": token, "n": 8, "checkpoint": 5 });
    let forked = |further: &Value| {
        let mut events = served.events(&served.job(&entry, further));
        let end = events.pop().unwrap();
        assert!(events.iter().all(|(name, _)| name == "completion"));
        let mut all: Vec<_> = events.into_iter().map(|(_, data)| data).collect();
        all.sort_by_key(|one| one["number"].as_u64());
        (all, end)
    };
    let (all, (name, done)) = forked(&asked(1));
    let numbers: Vec<_> = all.iter().map(|one| one["number"].as_u64().unwrap()).collect();
    assert_eq!((name.as_str(), numbers), ("done", (0..8).collect()));
    let recipe = Recipe::parse("small", &recipe()).unwrap();
    let Stage::Rl(stage) = &recipe.stages[1] else { panic!("a stage of reinforcement learning") };
    let retry_policy = RetryPolicy::new(Console::silent(), Stop::default());
    let rubric = Verifiers::start(&[], &retry_policy).unwrap().rubric(&stage.rewards).unwrap();
    let problem = Problem {
        id: group.id.clone(),
        problem: group.problem.clone(),
        answer: group.gold.clone(),
        ..Problem::default()
    };
    for one in &all {
        let text = one["text"].as_str().unwrap();
        let from = one["from"].as_u64().unwrap() as usize;
        assert_eq!(from, 1, "one token is one character here");
        assert!(text.starts_with(&group.completions[0].text[..1]), "{text}");
        let tokens = one["tokens"].as_u64().unwrap() as usize;
        assert!((1..6).contains(&tokens), "the limit of the stage holds for the whole");
        let attempt = Attempt {
            problem: &problem,
            text,
            num_tokens: tokens + 1,
            max_tokens: 6,
            truncated: one["finish"] == "length",
        };
        let judged = rubric.judge(&[attempt]).unwrap().swap_remove(0);
        assert_eq!(one["reward"].as_f64(), Some(judged.reward));
        assert_eq!(one["outcome"], serde_json::to_value(judged.outcome).unwrap());
        assert_eq!(one["answer"], serde_json::to_value(judged.answer).unwrap());
    }
    let correct = all.iter().filter(|one| one["outcome"] == "correct").count();
    assert_eq!((&done["correct"], &done["n"]), (&json!(correct), &json!(8)));
    let (low, high) = evals::interval::wilson(correct as f64 / 8.0, 8);
    assert_eq!((done["low"].as_f64(), done["high"].as_f64()), (Some(low), Some(high)));
    assert_eq!(forked(&asked(1)).0, all, "the same fork");
    let more = json!({ "token": 1, "n": 12, "checkpoint": 5 });
    assert_eq!(forked(&more).0[..8], all, "each has its own draws");
    assert_ne!(forked(&asked(0)).0, all, "another token");
    let greedy = json!({ "token": 1, "n": 1, "temperature": 0, "max_new_tokens": 2 });
    let (all, _) = forked(&greedy);
    assert!(all[0]["tokens"].as_u64().unwrap() <= 2);
    assert_eq!(forked(&greedy).0, all);
}

#[test]
fn what_cannot_be_done_is_refused_in_words() {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path().join("small");
    Run { recipe: &recipe(), ..Run::new(&root) }.train().unwrap();
    let entry = last(&root);
    let fork = json!({ "token": 0, "n": 1 });
    let served = Served::new(temp.path());
    let fork_bounds = json!({ "n": [1, 32], "temperature": [0, 10.0] });
    let weights = json!({ "weights": "checkpoints", "fork": fork_bounds });
    assert_eq!(served.send("GET", "model", None), (200, weights));
    for (further, expected) in [
        (json!({ "token": entry.lengths[0] }), "token: expected a token of the"),
        (json!({ "token": u64::MAX }), "token: expected a token of the"),
        (json!({ "token": -1 }), "invalid value"),
        (json!({ "n": 0 }), "n: expected 1 to 32, got 0"),
        (json!({ "n": 33 }), "n: expected 1 to 32, got 33"),
        (json!({ "n": null }), "invalid type"),
        (json!({ "checkpoint": 99 }), "checkpoint: expected the step of a checkpoint (1, 2,"),
        (json!({ "sibling": 4 }), "sibling: expected one of 4"),
        (json!({ "max_new_tokens": 0 }), "max_new_tokens: expected 1 or more"),
        (json!({ "max_new_tokens": 1_000_000_000 }), "the model's context has 512 tokens"),
        (json!({ "max_new_tokens": u64::MAX }), "the model's context has 512 tokens"),
        (json!({ "temperature": -1 }), "temperature: expected 0 to 10, got -1"),
        (json!({ "temperature": 10.5 }), "temperature: expected 0 to 10, got 10.5"),
        (json!({ "temperature": 0, "n": 2 }), "every continuation is the same"),
        (json!({ "tokens": 1 }), "unknown field `tokens`"),
    ] {
        let mut whole = fork.clone();
        for (key, value) in further.as_object().unwrap() {
            whole[key] = value.clone();
        }
        let (status, body) = served.fork(&entry, &whole);
        let error = body["error"].as_str().unwrap();
        assert!(status == 400 && error.contains(expected), "{further}: {status}, {error}");
    }
    for (body, expected) in [
        (String::new(), 400),
        ("[".repeat(200_000), 400),
        (served.body(&entry, &fork).replace(&served.run, "none"), 404),
        (served.body(&entry, &json!({ "token": 0, "n": 1, "step": 1 })), 404),
        (served.body(&entry, &json!({ "token": 0, "n": 1, "group": u32::MAX })), 404),
    ] {
        let (status, answer) = served.send("POST", "fork", Some(&body));
        assert_eq!(status, expected, "{answer}");
    }
    let (status, body) = served.score(&entry, &json!({ "top": 65 }));
    assert_eq!((status, &body["error"]), (400, &json!("top: expected at most 64, got 65")));
    let body = served.body(&entry, &fork);
    for route in ["fork", "score"] {
        let (status, _) = served.send_from("http://evil.test", "POST", route, Some(&body));
        assert_eq!(status, 403);
    }
    // Nothing of all that has begun a fork.
    for job in ["1", "0", "x", "-1", "99999999999999999999"] {
        assert_eq!(served.send("GET", &format!("fork/{job}/events"), None).0, 404, "{job}");
        assert_eq!(served.send("DELETE", &format!("fork/{job}"), None).0, 404, "{job}");
    }
}

/// Reading a pipe among the weights would never end, and the next request would find the model
/// busy.
#[test]
fn a_pipe_among_the_files_of_a_checkpoint_is_refused_and_holds_nobody() {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path().join("small");
    Run { recipe: &recipe(), ..Run::new(&root) }.train().unwrap();
    let entry = last(&root);
    let served = Served::new(temp.path());
    let (checkpoint, fork) =
        (root.join("checkpoints").join(step_name(entry.step)), json!({ "token": 0, "n": 1 }));
    let refused = |name: &Path, expected: &str| {
        let (whole, kept) = (root.join(name), temp.path().join("kept"));
        fs::rename(&whole, &kept).unwrap();
        let made = std::process::Command::new("mkfifo").arg(&whole).status().unwrap();
        assert!(made.success());
        for _ in 0..2 {
            let (status, body) = served.fork(&entry, &fork);
            let error = body["error"].as_str().unwrap();
            assert!(status == 410 && error.contains(expected), "{status}: {body}");
        }
        fs::remove_file(&whole).unwrap();
        fs::rename(kept, whole).unwrap();
    };
    let files = fs::read_dir(&checkpoint).unwrap().map(|entry| entry.unwrap().path());
    let largest = files.max_by_key(|path| path.metadata().unwrap().len()).unwrap();
    refused(&largest, "got a pipe or a device");
    refused(Path::new("recipe.toml"), "got a pipe or a device");
    assert_eq!(served.fork(&entry, &fork).0, 202);
}

#[test]
fn a_server_without_a_model_says_so() {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path().join("small");
    Run { recipe: &recipe(), ..Run::new(&root) }.train().unwrap();
    let (entry, fork) = (last(&root), json!({ "token": 0, "n": 1 }));
    let without = Served::with(temp.path(), None, Duration::from_secs(30));
    for (status, body) in [without.fork(&entry, &fork), without.score(&entry, &json!({}))] {
        assert_eq!(status, 404);
        assert_eq!(body["error"], "this server has no model");
        assert!(body["act"].as_str().unwrap().contains("--model run"));
    }
    let (status, about) = without.send("GET", "model", None);
    assert_eq!((status, &about["weights"]), (200, &Value::Null));
}

#[test]
fn sixteen_forks_are_remembered_and_stay_as_they_ended() {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path().join("small");
    Run { recipe: &recipe(), ..Run::new(&root) }.train().unwrap();
    let (served, entry) = (Served::new(temp.path()), last(&root));
    let fork = json!({ "token": 0, "n": 1 });
    let jobs: Vec<_> = (0..17)
        .map(|_| {
            let job = served.job(&entry, &fork);
            assert_eq!(served.events(&job).last().unwrap().0, "done");
            job
        })
        .collect();
    assert_eq!(served.send("DELETE", &format!("fork/{}", jobs[16]), None).0, 204);
    assert_eq!(served.events(&jobs[16]).last().unwrap().0, "done");
    assert_eq!(served.events(&jobs[1]).len(), 2);
    let (status, body) = served.send("GET", &format!("fork/{}/events", jobs[0]), None);
    assert_eq!(status, 410, "{body}");
    assert_eq!(served.send_from("http://evil.test", "DELETE", "fork/17", None).0, 403);
    // The checkpoint is removed as a run removes old ones.
    fs::remove_dir_all(root.join("checkpoints")).unwrap();
    let (status, body) = served.fork(&entry, &fork);
    assert!(status == 400 && body["error"] == "the run has no checkpoint yet", "{body}");
}

/// A run that is judged by a program, which from now on takes a second for each completion.
fn slow(folder: &Path) -> std::path::PathBuf {
    let (root, judge, slow) = (folder.join("small"), folder.join("judge.sh"), folder.join("slow"));
    let script = format!(
        "echo '{{\"ready\": true}}'\nwhile read -r line; do id=${{line#*'\"id\":'}}; id=${{id%%,*}}\n\
         [ ! -e {} ] || sleep 1\necho '{{\"id\": '$id', \"reward\": 1}}'\ndone\n",
        slow.display()
    );
    fs::write(&judge, script).unwrap();
    let rewards = format!(
        "rewards = [{{ kind = \"process\", command = [\"sh\", \"{}\"] }}]",
        judge.display()
    );
    let there = r#"rewards = [{ kind = "math" }, { kind = "length", aim = "short" }]"#;
    let recipe = recipe().replace(there, &rewards);
    let recipe = recipe.replace("[eval]\n", "[eval]\nrewards = [{ kind = \"math\" }]\n");
    Run { recipe: &recipe, ..Run::new(&root) }.train().unwrap();
    fs::write(slow, "").unwrap();
    root
}

#[test]
fn one_fork_at_a_time_and_one_that_is_cancelled_ends() {
    let temp = tempfile::tempdir().unwrap();
    let root = slow(temp.path());
    let served = Served::new(temp.path());
    let entry = last(&root);
    let many = json!({ "token": 0, "n": 32 });
    let job = served.job(&entry, &many);
    for (status, body) in [served.fork(&entry, &many), served.score(&entry, &json!({}))] {
        assert_eq!(status, 409, "{body}");
        assert!(body["act"].as_str().unwrap().contains("cancel it"));
    }
    // The first is heard of while the others are judged.
    let mut client = served.listen(&job);
    let (mut heard, mut part) = (String::new(), [0; 64]);
    while !heard.contains("event: completion") {
        let count = client.read(&mut part).unwrap();
        heard.push_str(&String::from_utf8_lossy(&part[..count]));
    }
    let began = Instant::now();
    assert_eq!(served.send("DELETE", &format!("fork/{job}"), None).0, 204);
    let (name, data) = served.events(&job).pop().unwrap();
    assert_eq!((name.as_str(), &data["reason"]), ("cancelled", &json!("it was cancelled")));
    assert!((1..32).contains(&data["n"].as_u64().unwrap()));
    assert!(began.elapsed() < Duration::from_secs(20), "32 verdicts take half a minute");
    // The model is free as soon as the end is known, and judges on.
    let (name, done) =
        served.events(&served.job(&entry, &json!({ "token": 0, "n": 1 }))).pop().unwrap();
    assert_eq!((name.as_str(), &done["correct"]), ("done", &json!(1)));
}

#[test]
fn a_fork_whose_client_left_ends_and_one_whose_run_is_deleted_goes_on() {
    let temp = tempfile::tempdir().unwrap();
    let root = slow(temp.path());
    let patience = Duration::from_secs(1);
    let served = Served::with(temp.path(), Some(Source::Checkpoints), patience);
    let entry = last(&root);
    // One that is listened to outlives the patience.
    let short = served.job(&entry, &json!({ "token": 0, "n": 2 }));
    assert_eq!(served.events(&short).pop().unwrap().0, "done");
    let job = served.job(&entry, &json!({ "token": 0, "n": 32 }));
    let mut client = served.listen(&job);
    let mut some = [0; 64];
    assert!(client.read(&mut some).unwrap() > 0);
    drop(client);
    thread::sleep(Duration::from_secs(4));
    let (name, data) = served.events(&job).pop().unwrap();
    assert_eq!(name, "cancelled");
    assert_eq!(data["reason"], "nobody has listened for 1 s");
    // What the model reads is in memory by then.
    let job = served.job(&entry, &json!({ "token": 0, "n": 2 }));
    fs::remove_dir_all(&root).unwrap();
    assert_eq!(served.events(&job).pop().unwrap().0, "done");
    let (status, body) = served.fork(&entry, &json!({ "token": 0, "n": 1 }));
    assert_eq!(status, 410, "{body}");
    assert_eq!(served.send("GET", "runs", None).0, 200);
}

#[test]
fn a_base_that_is_a_pipe_or_is_not_here_is_refused() {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path().join("small");
    let own = "path = \"builtin:atom\", adapter = { kind = \"lora\", rank = 4, alpha = 8.0 }";
    let recipe = recipe().replace("path = \"builtin:atom\"", own);
    assert!(recipe.contains(own));
    Run { recipe: &recipe, ..Run::new(&root) }.train().unwrap();
    let entry = last(&root);
    let state = root.join("checkpoints").join(step_name(entry.step)).join("trainer.json");
    let whole: Value = serde_json::from_slice(&fs::read(&state).unwrap()).unwrap();
    let [pipe, folder] = ["pipe", "folder"].map(|name| temp.path().join(name));
    fs::create_dir(&folder).unwrap();
    for path in [&pipe, &folder.join("config.json")] {
        assert!(std::process::Command::new("mkfifo").arg(path).status().unwrap().success());
    }
    let bases = [
        (json!({ "name": "a", "path": pipe, "bytes": 0, "sha256": "" }), "is a pipe or a device"),
        (json!({ "name": "a", "path": folder, "bytes": 0, "sha256": "" }), "is a pipe or a device"),
        (json!({ "name": "hf://no/such-model", "bytes": 0, "sha256": "" }), "is not in the cache"),
    ];
    let fork = json!({ "token": 0, "n": 1 });
    for (base, expected) in bases {
        let mut changed = whole.clone();
        changed["base"] = base;
        fs::write(&state, changed.to_string()).unwrap();
        let (status, body) = Served::new(temp.path()).fork(&entry, &fork);
        assert!(status >= 400 && body.to_string().contains(expected), "{status}: {body}");
    }
    fs::write(&state, whole.to_string()).unwrap();
    assert_eq!(Served::new(temp.path()).fork(&entry, &fork).0, 202);
}
