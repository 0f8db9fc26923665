//! Runs whose rewards come from outside: a child process, and a server that is away for a while.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use recipes::console::Console;
use recipes::signals::Stop;
use recipes::train::Ended;
use recipes::verifiers::{OutsideConfig, RetryPolicy, Retrying};
use rewards::{Outcome, Verdict, Verifier};
use serde_json::{Value, json};

use crate::binary::{stderr, stdout, stearin};
use crate::runs::{RECIPE, Run, assert_equal, contents};

/// What the evaluation of [`recipe`] is judged by.
const EVAL_REWARDS: &str = "[eval]\nrewards = [{ kind = \"math\" }]\n";

/// The small recipe with these verifiers in its stage of reinforcement learning, and there alone.
fn recipe(rewards: &str) -> String {
    let there = r#"rewards = [{ kind = "math" }, { kind = "length", aim = "short" }]"#;
    assert!(RECIPE.contains(there));
    let recipe = RECIPE.replace(there, &format!("rewards = {rewards}"));
    recipe.replace("[eval]\n", EVAL_REWARDS)
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

/// A verifier outside this process, from its table in a recipe.
fn start(config: &str) -> Retrying {
    let config: OutsideConfig = toml::from_str(config).unwrap();
    config.start(&RetryPolicy::new(Console::silent(), Stop::default())).unwrap()
}

fn train(folder: &Path, recipe: &str) -> anyhow::Result<Ended> {
    Run { recipe, ..Run::new(folder) }.train()
}

fn metrics(folder: &Path) -> Vec<Value> {
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
    assert!(health.contains("verifier_failed"), "{health}");
    let partial = "between 0 and 1 and gives no `outcome` for them";
    assert!(health.contains("partial_rewards") && health.contains(partial), "{health}");
    let groups = evals::run::Run::open(&run).unwrap().samples().unwrap().index;
    let has_error = |group: &evals::run::GroupEntry| group.outcomes.contains(&Outcome::Error);
    assert!(groups.iter().any(|group| group.kept) && groups.iter().any(has_error));
    for group in &groups {
        assert!(!(group.kept && has_error(group)), "no group with an error is learnt from");
    }
    let rows = metrics(&run);
    let failed = rows.iter().filter_map(|row| row.get("reward/outcome/error")?.as_f64());
    assert!(failed.clone().all(|share| share > 0.0 && share < 1.0));
    let dropped = rows.iter().filter_map(|row| row.get("reward/group/dropped")?.as_f64());
    assert_eq!(failed.count(), dropped.filter(|&groups| groups > 0.0).count());
}

#[test]
fn partial_rewards_with_outcomes_need_no_warning() {
    let folder = tempfile::tempdir().unwrap();
    let judge = folder.path().join("judge.sh");
    let answers = script(":").replace("\"reward\": 0.5", "\"reward\": 0.5, \"outcome\": \"wrong\"");
    fs::write(&judge, answers.replace("3) : ;;", "")).unwrap();
    let rewards =
        format!("[{{ kind = \"process\", command = [\"sh\", \"{}\"] }}]", judge.display());
    let run = folder.path().join("run");
    assert_eq!(train(&run, &recipe(&rewards)).unwrap(), Ended::Finished);
    let health = fs::read_to_string(run.join("health.jsonl")).unwrap_or_default();
    assert!(!health.contains("partial_rewards"), "{health}");
    let mean = |row: &Value| row.get("critic/rewards/mean")?.as_f64();
    assert!(metrics(&run).iter().filter_map(mean).any(|mean| mean > 0.0));
}

/// A shell program that gives outcomes to the first attempts of a run, however often it is started.
fn forgetful(folder: &Path) -> String {
    let count = folder.join("count").display().to_string();
    let answers = script(":").replace("3) : ;;", "").replace(
        "case $tokens",
        &format!("echo >> {count}; said=; [ $(wc -l < {count}) -gt 13 ] || said=', \"outcome\": \"wrong\"'\n case $tokens"),
    );
    let answers = answers.replace("\"reward\": 0.5}'", "\"reward\": 0.5'\"$said\"'}'");
    let judge = folder.join("judge.sh");
    fs::write(&judge, answers).unwrap();
    format!("[{{ kind = \"process\", command = [\"sh\", \"{}\"] }}]", judge.display())
}

#[test]
fn a_resumed_run_warns_of_partial_rewards_as_an_unbroken_one() {
    let folder = tempfile::tempdir().unwrap();
    let rewards = forgetful(folder.path());
    // The stage of reinforcement learning alone, so that its first step is the run's.
    let recipe = recipe(&rewards);
    let (start, end) = (recipe.find("[[stage]]").unwrap(), recipe.rfind("[[stage]]").unwrap());
    let recipe = format!("{}{}", &recipe[..start], &recipe[end..]);
    let (whole, parts) = (folder.path().join("whole"), folder.path().join("parts"));
    let run = |root: &Path, resume, one_step| {
        Run { recipe: &recipe, resume, one_step, ..Run::new(root) }.train().unwrap()
    };
    assert_eq!(run(&whole, false, false), Ended::Finished);
    fs::remove_file(folder.path().join("count")).unwrap();
    assert_eq!(run(&parts, false, true), Ended::Interrupted);
    assert_eq!(run(&parts, true, false), Ended::Finished);
    assert_equal(&whole, &parts);
    let health = fs::read_to_string(whole.join("health.jsonl")).unwrap();
    let warned: Vec<Value> = health
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|line| line["name"] == "partial_rewards")
        .map(|line| line["step"].clone())
        .collect();
    assert_eq!(warned, [2, 3, 4], "{health}");
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
    let command = format!("command = [\"sh\", {:?}]", judge.display().to_string());
    let process = start(&format!("kind = \"process\"\n{command}"));
    let rewards: Vec<_> = judged(&process, &completions).iter().map(|said| said.reward).collect();
    assert_eq!(rewards, [1.0, 1.0, 0.0]);

    let address = free();
    serve(address, usize::MAX);
    let http = start(&format!("kind = \"http\"\nurl = \"http://{address}/\""));
    let said = judged(&http, &completions);
    let answers: Vec<_> = said.iter().map(|verdict| verdict.answer.as_deref().unwrap()).collect();
    assert_eq!(answers, completions);
}

/// Programs of the documentation, in their order, where there is a Python to run them.
fn documented() -> Option<Vec<&'static str>> {
    let python = Command::new("python3").arg("--version").output();
    if !python.is_ok_and(|output| output.status.success()) {
        return None;
    }
    let docs = include_str!("../../../docs/verifiers.md");
    let code = docs.split("```python\n").skip(1).map(|after| after.split_once("```").unwrap().0);
    Some(code.collect())
}

fn start_python(folder: &Path, code: &str) -> Retrying {
    let judge = folder.join("judge.py");
    fs::write(&judge, code).unwrap();
    let command = ["python3".to_owned(), judge.display().to_string()];
    start(&format!("kind = \"process\"\ncommand = {command:?}"))
}

#[test]
fn the_example_of_the_documentation_works() {
    let Some(code) = documented() else {
        println!("skipped: there is no python3");
        return;
    };
    assert!(code[0].lines().count() <= 15, "it is short");
    let folder = tempfile::tempdir().unwrap();
    let verdicts = judged(&start_python(folder.path(), code[0]), &["1+1 = 2", "1+1 = 3", "\"", ""]);
    let outcomes: Vec<_> = verdicts.iter().filter_map(|verdict| verdict.outcome).collect();
    assert_eq!(outcomes, [Outcome::Correct, Outcome::Wrong, Outcome::Wrong, Outcome::Wrong]);
    assert_eq!(verdicts[0].answer.as_deref(), Some("2"));
}

#[test]
fn the_example_of_the_documentation_runs_the_test_cases_of_a_row() {
    let Some(code) = documented() else {
        println!("skipped: there is no python3");
        return;
    };
    let (before, after) = code[0].split_once("def grade").unwrap();
    let (_, after) = after.split_once("\n\n").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let judge = start_python(folder.path(), &format!("{before}{}\n\n{after}", code[1]));
    let docs = include_str!("../../../docs/verifiers.md");
    let (_, row) = docs.split_once("### Example").unwrap();
    let (_, row) = row.split_once("```json\n").unwrap();
    let (row, _) = row.split_once("```").unwrap();
    let row: Value = serde_json::from_str(row).unwrap();
    let tests = serde_json::Map::from_iter([("tests".to_owned(), row["tests"].clone())]);
    let problem = &rewards::Problem { columns: tests, ..rewards::Problem::default() };
    let attempt =
        |text| rewards::Attempt { problem, text, num_tokens: 3, max_tokens: 8, truncated: false };
    let texts =
        ["def f(x):\n    return x + 1", "def f(x):\n    return 2", "while True: pass", "no code"];
    let verdicts = judge.verify(&texts.map(attempt)).unwrap();
    let rewards: Vec<_> = verdicts.iter().map(|verdict| verdict.reward).collect();
    assert_eq!(rewards, [1.0, 0.0, 0.0, 0.0]);
    let passed: Vec<_> = verdicts.iter().map(|verdict| verdict.metrics[0].1).collect();
    assert_eq!(passed, [1.0, 0.5, 0.0, 0.0]);
    assert_eq!(verdicts[0].metrics[0].0, "passed");
}

/// A recipe whose verifier answers the attempts with a number below `from`, counted from 1, or
/// above `to` with an error, and each of the others with a reward.
fn refusing(folder: &Path, from: u32, to: u32) -> String {
    let judge = folder.join("judge.sh");
    let script = format!(
        r#"
        echo '{{"ready": true}}'
        n=0
        while read -r line; do
            id=${{line#*'"id":'}}; id=${{id%%,*}}
            n=$((n + 1))
            if [ $n -ge {from} ] && [ $n -le {to} ]; then
                echo '{{"id": '$id', "reward": '$((n % 2))'}}'
            else
                echo '{{"id": '$id', "error": "not mine"}}'
            fi
        done
        "#
    );
    fs::write(&judge, script).unwrap();
    recipe(&format!("[{{ kind = \"process\", command = [\"sh\", \"{}\"] }}]", judge.display()))
}

#[test]
fn a_verifier_that_fails_on_every_completion_ends_the_run_loudly() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = refusing(folder.path(), 1, 1);
    let error = train(&folder.path().join("run"), &recipe).unwrap_err();
    let error = format!("{error:#}");
    assert!(error.contains("no group of step 3 can be judged"), "{error}");
    assert!(error.contains("a verifier failed on each"), "{error}");
    assert!(!error.contains("gold answer"), "{error}");
    let end = "  stearin train small.toml --resume\nif you changed its files for that, add \
               --accept-changed-files";
    assert!(error.ends_with(end), "{error}");
}

#[test]
fn a_verifier_that_answers_every_trial_attempt_with_an_error_ends_the_run_before_it_begins() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let error = train(&run, &refusing(folder.path(), 1, 0)).unwrap_err();
    let error = format!("{error:#}");
    let begin =
        "stage.1.rewards.0: verifier `process` answers each of 4 trial attempts with an error\n";
    assert!(error.starts_with(begin), "{error}");
    let lines: Vec<_> = error.lines().collect();
    assert!(lines[1].starts_with("  the answer of problem `"), "{error}");
    assert_eq!(lines[4], "  a text that is no answer, with an error: not mine");
    assert!(lines[5].starts_with("repair it"), "{error}");
    assert!(!run.exists());
}

#[test]
fn an_error_that_may_be_right_for_a_trial_attempt_is_shown_and_the_run_begins() {
    let folder = tempfile::tempdir().unwrap();
    // The first three attempts are trials: the fourth and last one is judged.
    for (from, said) in [(1, false), (2, true), (4, true)] {
        let run = folder.path().join(format!("run-{from}"));
        train(&run, &refusing(folder.path(), from, u32::MAX)).unwrap();
        let log = fs::read_to_string(run.join("log.txt")).unwrap();
        let warning = "verifier `process` answers a trial attempt, the answer of problem `";
        assert_eq!(log.contains(warning), said, "{log}");
        assert_eq!(log.contains("`, with an error: not mine"), said, "{log}");
    }
}

#[test]
fn a_program_that_fails_on_the_trial_attempt_is_an_error_before_the_run_begins() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let script = "echo '{\\\"ready\\\": true}'; read -r line; echo no such column >&2; exit 5";
    let rewards = format!(r#"[{{ kind = "process", command = ["sh", "-c", "{script}"] }}]"#);
    let error = format!("{:#}", train(&run, &recipe(&rewards)).unwrap_err());
    let begin = "stage.1.rewards.0: verifier `process` failed at the trial attempt, before the run: \
                 it ended (exit status: 5); its standard error ends in\n    no such column\n";
    assert!(error.starts_with(begin), "{error}");
    assert!(error.contains("  its completion was the answer of problem `"), "{error}");
    let by_hand = "  to repeat it: printf '%s\\n' '{\"id\":0,\"problem_id\":\"";
    assert!(error.contains(by_hand) && error.contains(" | sh -c "), "{error}");
    assert!(!run.exists());
}

#[test]
fn what_a_program_wrote_to_standard_error_is_printed_once() {
    let folder = tempfile::tempdir().unwrap();
    let script = "read -r line; echo Traceback >&2; echo KeyError >&2; exit 5";
    let rewards = format!(r#"[{{ kind = "process", command = ["sh", "-c", "{script}"] }}]"#);
    fs::write(folder.path().join("mine.toml"), recipe(&rewards)).unwrap();
    let said = |flags: &[&str]| {
        stderr(&stearin(folder.path(), &[&["train", "mine.toml"], flags].concat()))
    };
    let count = |said: &str, word: &str| said.lines().filter(|line| line.trim() == word).count();
    let loud = said(&[]);
    assert_eq!(
        (count(&loud, "process: Traceback"), count(&loud, "process: KeyError")),
        (1, 1),
        "{loud}"
    );
    assert_eq!((count(&loud, "Traceback"), count(&loud, "KeyError")), (0, 0), "{loud}");
    assert!(loud.contains("its standard error, shown above, ends in `KeyError`\n"), "{loud}");
    // Where it was not shown, the message has it.
    let quiet = said(&["-q"]);
    assert_eq!(count(&quiet, "process: Traceback"), 0, "{quiet}");
    assert_eq!((count(&quiet, "Traceback"), count(&quiet, "KeyError")), (1, 1), "{quiet}");
}

#[test]
fn rows_without_an_answer_are_noted_once_in_a_dry_run_and_in_a_run() {
    let folder = tempfile::tempdir().unwrap();
    let rows = ["1+1", "2+1", "3+1"].map(|sum| json!({ "problem": sum, "label": "1" }).to_string());
    fs::write(folder.path().join("a.jsonl"), rows.join("\n")).unwrap();
    let text = recipe(r#"[{ kind = "process", command = ["sh", "-c", "exit 1"] }]"#);
    let (begin, end) = (text.find("train = ").unwrap(), text.find("held_out = ").unwrap());
    let sft = text.find("[[stage]]").unwrap();
    let rl = text.rfind("[[stage]]").unwrap();
    let head = text[end..sft].replace("count = 6", "count = 1");
    let head = head.replace(EVAL_REWARDS, "[eval]\n");
    let train = "train = { kind = \"jsonl\", path = \"a.jsonl\" }\n";
    let text = format!("{}{train}{head}{}", &text[..begin], &text[rl..]);
    fs::write(folder.path().join("mine.toml"), text).unwrap();
    let note = "data.train: no answer: `gold` is empty in all 3 rows of a.jsonl; columns without a \
                role: `label` ";
    let plan = stearin(folder.path(), &["train", "mine.toml", "--dry-run"]);
    assert_eq!(stdout(&plan).matches(note).count(), 1, "{}", stdout(&plan));
    let run = stderr(&stearin(folder.path(), &["train", "mine.toml"]));
    assert_eq!(run.matches(note).count(), 1, "{run}");
    assert!(run.contains("its completion was made up, since problem `1` has no answer"), "{run}");
}

#[test]
fn stage_and_evaluation_share_a_program_and_its_numbers_are_metrics() {
    let folder = tempfile::tempdir().unwrap();
    let (judge, run) = (folder.path().join("judge.sh"), folder.path().join("run"));
    let script = r#"
        echo start >> "$1"
        echo '{"ready": true}'
        while read -r line; do
            id=${line#*'"id":'}; id=${id%%,*}
            tokens=${line#*'"tokens":'}; tokens=${tokens%%,*}
            echo '{"id": '$id', "reward": '$((tokens % 2))', "metrics": {"tokens": '$tokens'}}'
        done
    "#;
    fs::write(&judge, script).unwrap();
    let starts = folder.path().join("starts");
    let command = ["sh".to_owned(), judge.display().to_string(), starts.display().to_string()];
    let rewards = |weight: f64| {
        format!("[{{ kind = \"process\", command = {command:?}, weight = {weight} }}]")
    };
    let text = recipe(&rewards(0.5))
        .replace(EVAL_REWARDS, &format!("[eval]\nrewards = {}\n", rewards(1.0)));
    assert_eq!(train(&run, &text).unwrap(), Ended::Finished);
    assert_eq!(fs::read_to_string(starts).unwrap().lines().count(), 1);
    let steps: Vec<_> = metrics(&run)
        .into_iter()
        .filter(|row| row.get("reward/process/tokens").is_some())
        .collect();
    assert_eq!(steps.len(), 4);
    for row in steps {
        assert_eq!(row["reward/process/tokens"], row["unfiltered/response_length/mean"]);
    }
}

/// Whether a process runs; one that has ended and is not reaped yet does not.
fn runs(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.is_ok_and(|stat| !stat.contains(") Z "))
}

#[cfg(target_os = "linux")]
#[test]
fn a_program_and_its_children_end_when_the_run_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    // It reads nothing, so the end of its input tells it nothing.
    let script = r#"
        sleep 600 &
        echo $$ > "$1.part"; echo $! >> "$1.part"
        setsid sleep 600 &
        echo $! >> "$1.part"; mv "$1.part" "$1"
        while :; do sleep 1; done
    "#;
    fs::write(file("judge.sh"), script).unwrap();
    let command =
        ["sh", &file("judge.sh").display().to_string(), &file("pids").display().to_string()]
            .map(str::to_owned);
    let rewards = format!("[{{ kind = \"process\", command = {command:?} }}]");
    fs::write(file("mine.toml"), recipe(&rewards)).unwrap();
    let mut stearin = Command::new(env!("CARGO_BIN_EXE_stearin"))
        .args(["train", "mine.toml"])
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let until = |holds: &dyn Fn() -> bool| {
        let began = Instant::now();
        while !holds() && began.elapsed() < Duration::from_mins(1) {
            thread::sleep(Duration::from_millis(10));
        }
        holds()
    };
    assert!(until(&|| file("pids").exists()), "the program was started");
    let pids = fs::read_to_string(file("pids")).unwrap();
    assert!(pids.lines().count() == 3 && pids.lines().all(runs), "{pids}");
    stearin.kill().unwrap();
    stearin.wait().unwrap();
    assert!(until(&|| !pids.lines().any(runs)), "{pids} still run");
}

#[test]
fn a_header_without_its_variable_is_refused_before_the_run_and_in_a_dry_run() {
    let folder = tempfile::tempdir().unwrap();
    let rewards = r#"[{ kind = "http", url = "http://127.0.0.1:9/", headers = { Authorization = "env:NO_SUCH_TOKEN" } }]"#;
    fs::write(folder.path().join("mine.toml"), recipe(rewards)).unwrap();
    for more in [&["--dry-run"][..], &[]] {
        let output = stearin(folder.path(), &[&["train", "mine.toml"], more].concat());
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{said}");
        let expected =
            "stage.1.rewards.0: headers.Authorization: the environment variable `NO_SUCH_TOKEN`";
        assert!(said.contains(expected), "{said}");
    }
    assert!(!folder.path().join("runs").exists());
}

#[test]
fn a_server_that_refuses_is_an_error_before_the_run_begins() {
    let folder = tempfile::tempdir().unwrap();
    let (run, address) = (folder.path().join("run"), free());
    serve_status(address, "401 Unauthorized");
    let rewards = format!("[{{ kind = \"http\", url = \"http://{address}/?key=s3cret\" }}]");
    let error = format!("{:#}", train(&run, &recipe(&rewards)).unwrap_err());
    assert!(error.contains("got 401") && error.contains("set `headers`"), "{error}");
    assert!(!error.contains("s3cret"), "{error}");
    assert!(!run.exists());
}

#[test]
fn a_run_gives_up_on_a_server_after_its_limit() {
    let folder = tempfile::tempdir().unwrap();
    let (run, address) = (folder.path().join("run"), free());
    let rewards =
        format!("[{{ kind = \"http\", url = \"http://{address}/\", give_up_after_s = 1.5 }}]");
    // It is there for the first contact alone.
    serve(address, 1);
    let error = format!("{:#}", train(&run, &recipe(&rewards)).unwrap_err());
    assert!(error.contains("gave up after"), "{error}");
    assert!(run.join("checkpoints/step-000002").exists(), "it began");
    assert!(fs::read_to_string(run.join("status.json")).unwrap().contains("gave up after"));
}

#[test]
fn a_program_that_is_not_there_is_refused_before_the_run_begins() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let error = train(&run, &recipe(r#"[{ kind = "process", command = ["no-such-judge"] }]"#));
    let expected = "stage.1.rewards.0.command: there is no program `no-such-judge`";
    let error = error.unwrap_err().to_string();
    assert!(error.starts_with(expected), "{error}");
    assert!(!run.exists());
}

#[test]
fn a_dry_run_finds_a_script_that_is_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let plan = || stearin(folder.path(), &["train", "mine.toml", "--dry-run"]);
    let rewards = r#"[{ kind = "process", command = ["sh", "judge.sh"] }]"#;
    fs::write(folder.path().join("mine.toml"), recipe(rewards)).unwrap();
    let refused = plan();
    let said = stderr(&refused);
    assert_eq!(refused.status.code(), Some(2), "{said}");
    let expected = "stage.1.rewards.0.command: there is no file `judge.sh` in ";
    assert!(said.contains(expected), "{said}");
    fs::write(folder.path().join("judge.sh"), script(":")).unwrap();
    let passed = plan();
    assert!(passed.status.success(), "{}", stderr(&passed));
}

#[test]
fn a_server_that_keeps_breaking_the_protocol_ends_the_run_with_its_state() {
    let folder = tempfile::tempdir().unwrap();
    let (run, address) = (folder.path().join("run"), free());
    let rewards = format!("[{{ kind = \"http\", url = \"http://{address}/\" }}]");
    // It judges the trial attempt, and has another form from then on.
    let listener = TcpListener::bind(address).unwrap();
    thread::spawn(move || {
        for (at, stream) in listener.incoming().enumerate() {
            let mut stream = BufReader::new(stream.unwrap());
            read_request(&mut stream);
            let verdict = if at == 0 { r#"{"id": 0, "reward": 1}"# } else { r#"{"score": 1}"# };
            let text = format!("{{\"verdicts\": [{verdict}]}}");
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}", text.len());
            let _ = write!(stream.get_mut(), "{head}\r\nconnection: close\r\n\r\n{text}");
        }
    });
    let error = format!("{:#}", train(&run, &recipe(&rewards)).unwrap_err());
    assert!(error.contains("verifier `http` broke the protocol: "), "{error}");
    assert!(error.contains("field `id` is missing: expected {\"id\": N, \"reward\""), "{error}");
    assert!(error.contains("got the field `score`"), "{error}");
    assert!(error.contains("3 times in a row"), "{error}");
    assert!(error.contains("stearin train small.toml --resume"), "{error}");
    assert!(run.join("checkpoints/step-000002").exists(), "the state before the step is saved");
}

/// The body of a request.
fn read_request(stream: &mut BufReader<TcpStream>) -> Value {
    let (mut line, mut length) = (String::new(), 0);
    while stream.read_line(&mut line).is_ok_and(|read| read > 2) {
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        line.clear();
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).unwrap();
    serde_json::from_slice(&body).unwrap()
}

/// Serves so many verdicts at `address`: the share of the allowed tokens that was used, and the
/// completion as the answer.
fn serve(address: SocketAddr, requests: usize) {
    let listener = TcpListener::bind(address).unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().take(requests) {
            let mut stream = BufReader::new(stream.unwrap());
            let request = read_request(&mut stream);
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

/// Serves a status and nothing else at `address`.
fn serve_status(address: SocketAddr, status: &'static str) {
    let listener = TcpListener::bind(address).unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.unwrap());
            read_request(&mut stream);
            let head = "connection: close\r\ncontent-length: 0";
            let _ = write!(stream.get_mut(), "HTTP/1.1 {status}\r\n{head}\r\n\r\n");
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

    // The server ends after the first contact: the run comes to its third step, and waits.
    serve(address, 1);
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
        stop.request();
        run.join().unwrap()
    });
    assert_eq!(ended, Ended::Interrupted);

    // It is resumed before the server is there, and finishes when it is.
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
fn a_verifier_that_gives_up_ends_the_run_and_loses_no_step() {
    let folder = tempfile::tempdir().unwrap();
    let (ended, unbroken) = (folder.path().join("ended"), folder.path().join("unbroken"));
    let address = free();
    let url = format!("url = \"http://{address}/\", give_up_after_s = 0.3");
    let text = recipe(&format!("[{{ kind = \"http\", {url} }}]"))
        .replace("every = 1\nkeep = 2", "every = 100\nkeep = 1\nbest = \"off\"");
    // The server ends after the fourth step; only the stages' ends are saved.
    serve(address, 3);
    let error = train(&ended, &text).unwrap_err().to_string();
    assert!(error.contains("give_up_after_s") && error.contains("--resume"), "{error}");
    assert!(error.contains("the state after step 4 is saved"), "{error}");
    assert!(ended.join("checkpoints/step-000004").exists());
    serve(address, usize::MAX);
    assert_eq!(Run { recipe: &text, ..Run::resumed(&ended) }.train().unwrap(), Ended::Finished);
    assert_eq!(train(&unbroken, &text).unwrap(), Ended::Finished);
    assert_equal(&ended, &unbroken);
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
    serve(address, 3);
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
        stop.request();
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
    // It is there for the first contact alone.
    serve(address, 1);
    let run = Run { recipe: &text, ..Run::new(&root) };
    let stop = run.stop.clone();
    thread::scope(|scope| {
        let run = scope.spawn(|| run.train().unwrap());
        let at = Instant::now();
        while !root.join("status.json").exists() {
            assert!(at.elapsed() < Duration::from_mins(2), "the run does not begin");
            thread::sleep(Duration::from_millis(20));
        }
        stop.request();
        assert_eq!(run.join().unwrap(), Ended::Interrupted);
    });
    serve(address, usize::MAX);
    assert_eq!(Run { recipe: &text, ..Run::resumed(&root) }.train().unwrap(), Ended::Finished);
}

#[test]
fn a_stop_before_the_first_contact_leaves_no_run() {
    let folder = tempfile::tempdir().unwrap();
    let (root, address) = (folder.path().join("run"), free());
    let text = recipe(&format!("[{{ kind = \"http\", url = \"http://{address}/\" }}]"));
    let run = Run { recipe: &text, ..Run::new(&root) };
    run.stop.request();
    assert_eq!(run.train().unwrap(), Ended::Interrupted);
    assert!(!root.exists());
    serve(address, usize::MAX);
    assert_eq!(train(&root, &text).unwrap(), Ended::Finished);
}
