//! Several sources of problems: by weight or as one list, with metrics of each.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;

use recipes::config::Recipe;
use recipes::train::Ended;

use crate::binary::{stderr, stearin};
use crate::runs::{Run, assert_equal};

const RECIPE: &str = r#"
model = { path = "builtin:atom" }
prompt = { template = { kind = "plain", text = "{problem}=" } }
[data]
held_out = { kind = "jsonl", path = "held.jsonl" }
[[data.train]]
name = "sums"
weight = 3
kind = "file"
path = "sums.csv"
[[data.train]]
name = "made/up"
weight = 1
kind = "arithmetic"
count = 20
min_digits = 1
max_digits = 1
operations = ["-"]
[eval.sampling]
max_new_tokens = 4
[[stage]]
kind = "rl"
steps = 4
batch = 16
group_size = 2
rollout = { max_new_tokens = 4 }
schedule = { kind = "constant", lr = 1e-4 }
"#;

fn train(folder: &Path, recipe: &str, arguments: &[&str]) -> String {
    fs::write(folder.join("mine.toml"), recipe).unwrap();
    fs::write(folder.join("sums.csv"), "question,answer,source\n1+1,2,x\n1+2,3,y\n").unwrap();
    fs::write(folder.join("held.jsonl"), r#"{"problem": "2+2", "answer": 4}"#).unwrap();
    let output = stearin(folder, &[&["train", "mine.toml"], arguments].concat());
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    stderr(&output)
}

fn metrics(folder: &Path, run: &str, key: &str) -> Vec<Option<f64>> {
    let lines = fs::read_to_string(folder.join(run).join("metrics.jsonl")).unwrap();
    let rows = lines.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let values = rows.map(|row| {
        let found = row.get(key).or_else(|| row.get("metrics").and_then(|all| all.get(key)));
        found.and_then(serde_json::Value::as_f64)
    });
    values.collect()
}

#[test]
fn sources_are_drawn_by_weight_and_measured_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    train(folder, RECIPE, &["--run-dir", "one"]);
    let total = |key: &str| -> f64 { metrics(folder, "one", key).into_iter().flatten().sum() };
    // 64 draws are one block of the order: each source has its share of them to within one.
    let (sums, made) = (total("reward/source/sums/count"), total("reward/source/made-up/count"));
    assert!((sums + made - 64.0).abs() < 1e-9, "{sums} {made}");
    assert!((sums - 48.0).abs() <= 1.0, "{sums}");
    for key in ["mean", "acc"] {
        let values = metrics(folder, "one", &format!("reward/source/sums/{key}"));
        assert!(values.iter().flatten().count() == 4, "{values:?}");
    }
    // Without weights every problem is drawn once in a pass.
    let plain = RECIPE.replace("weight = 3\n", "").replace("weight = 1\n", "");
    train(folder, &plain, &["--run-dir", "two"]);
    let first: f64 = metrics(folder, "two", "reward/source/sums/count").into_iter().flatten().sum();
    assert!(first < 10.0, "2 of 22 problems: {first}");
}

/// Two sources by weight, in steps that do not divide the blocks of draws.
const WEIGHTED: &str = r#"
seed = 5
model = { path = "builtin:atom" }
prompt = { template = { kind = "plain", text = "{problem}=" } }
[data]
held_out = { kind = "split", count = 4 }
[[data.train]]
name = "sums"
weight = 3
kind = "arithmetic"
count = 12
min_digits = 1
max_digits = 1
operations = ["+"]
[[data.train]]
name = "differences"
weight = 1
kind = "arithmetic"
count = 20
min_digits = 1
max_digits = 1
operations = ["-"]
[eval.sampling]
max_new_tokens = 4
[record]
samples = { every = 1, groups = 13 }
[checkpoint]
every = 1
[[stage]]
kind = "rl"
steps = 6
batch = 13
group_size = 2
rollout = { max_new_tokens = 4 }
schedule = { kind = "constant", lr = 1e-3 }
"#;

/// Text and id of every problem drawn, step by step.
fn drawn(root: &Path) -> Vec<Vec<(String, String)>> {
    let step = |step: usize| {
        let path = root.join(format!("samples/step-{step:06}.jsonl"));
        let lines = fs::read_to_string(path).unwrap();
        let problem = |line: &str| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            let field = |key: &str| line[key].as_str().unwrap().to_owned();
            (field("problem"), field("id"))
        };
        lines.lines().map(problem).collect()
    };
    (1..=6).map(step).collect()
}

#[test]
fn a_run_by_weights_that_is_stopped_after_every_step_draws_what_an_unbroken_one_does() {
    let temp = tempfile::tempdir().unwrap();
    let (whole, broken) = (temp.path().join("whole"), temp.path().join("broken"));
    Run { recipe: WEIGHTED, ..Run::new(&whole) }.train().unwrap();
    let mut stops = 0;
    loop {
        let run = if broken.exists() { Run::resumed(&broken) } else { Run::new(&broken) };
        match (Run { recipe: WEIGHTED, one_step: true, ..run }).train().unwrap() {
            Ended::Interrupted => stops += 1,
            Ended::Finished => break,
        }
    }
    assert_eq!(stops, 5);
    let problems = drawn(&whole);
    assert_eq!(drawn(&broken), problems);
    assert_equal(&whole, &broken);
    // What is compared is not the same in every step, and of both sources.
    assert!(problems.iter().all(|step| step.len() == 13));
    let sums = problems.concat().iter().filter(|(problem, _)| problem.contains('+')).count();
    assert!((50..=66).contains(&sums), "three quarters of 78, by blocks: {sums}");
    assert!(problems.windows(2).all(|steps| steps[0] != steps[1]));
}

#[test]
fn what_is_wrong_with_a_list_is_said_by_its_place() {
    let refused = |from: &str, to: &str, words: &str| {
        let error = Recipe::parse("mine", &RECIPE.replace(from, to)).unwrap_err();
        let error = format!("{error:#}");
        assert!(error.contains(words), "{error}");
    };
    refused("weight = 1\n", "", "data.train: 1 of 2 sources have a weight: expected all or none");
    for weight in ["0", "inf", "1e308"] {
        let got: f64 = weight.parse().unwrap();
        let words = "data.train.1.weight: expected more than 0 and at most 1000000000, got";
        refused("weight = 1\n", &format!("weight = {weight}\n"), &format!("{words} {got}"));
    }
    refused("\"made/up\"", "\"sums\"", "data.train.1.name: `sums` is another source's name");
    refused("name = \"sums\"\n", "", "name");
    refused("path = \"sums.csv\"", "paht = \"sums.csv\"", "paht");
    refused("count = 20", "count = 20000", "data.train.1.count: 20000 problems, but only");
    refused(
        "path = \"sums.csv\"",
        "path = \"sums.csv\"\ncolumns = { source = \"source\" }",
        "data.train.0.columns.source: its name is the source",
    );
    let none = RECIPE.split("[[data.train]]").next().unwrap().to_owned()
        + "train = []\n[[stage]]"
        + RECIPE.split("[[stage]]").nth(1).unwrap();
    let error = format!("{:#}", Recipe::parse("mine", &none).unwrap_err());
    assert!(error.contains("data.train: there is no source"), "{error}");
    // Written and read back.
    let recipe = Recipe::parse("mine", RECIPE).unwrap();
    assert_eq!(Recipe::parse("mine", &recipe.to_toml().unwrap()).unwrap(), recipe);
}

#[test]
fn a_stage_may_train_on_data_of_its_own() {
    const TWO: &str = r#"
        model = { path = "builtin:atom" }
        prompt = { template = { kind = "plain", text = "{problem}=" } }
        [data]
        held_out = { kind = "jsonl", path = "held.jsonl" }
        train = { kind = "arithmetic", count = 20, min_digits = 1, max_digits = 1, operations = ["-"] }
        [eval.sampling]
        max_new_tokens = 4
        [[stage]]
        kind = "sft"
        steps = 1
        batch = 1
        data = { train = { kind = "file", path = "worked.jsonl" } }
        schedule = { kind = "constant", lr = 1e-4 }
        [[stage]]
        kind = "rl"
        steps = 1
        batch = 5
        group_size = 2
        rollout = { max_new_tokens = 4 }
        schedule = { kind = "constant", lr = 1e-4 }
    "#;
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    // No verifier reads the answers of a supervised stage; one of its problems is held out.
    let worked = "{\"prompt\":\"1+1\",\"completion\":\"2\"}\n{\"prompt\":\"1+2\",\"completion\":\"3\"}\n\
                  {\"prompt\":\"2+2\",\"completion\":\"4\"}\n";
    fs::write(folder.join("worked.jsonl"), worked).unwrap();
    let said = train(folder, TWO, &["--run-dir", "one"]);
    assert!(
        said.contains("1 row is not trained on: it has the text of a held-out problem"),
        "{said}"
    );
    let epochs: Vec<_> = metrics(folder, "one", "training/epoch").into_iter().flatten().collect();
    assert_eq!(epochs.len(), 2);
    assert!((epochs[0] - 0.5).abs() < 1e-9 && (epochs[1] - 0.25).abs() < 1e-9, "{epochs:?}");
    let kept = fs::read_to_string(folder.join("one/run.json")).unwrap();
    assert!(kept.contains("\"stage.0.data.train\""), "{kept}");
    // A row of the stage's data is named by the stage's key.
    fs::write(folder.join("worked.jsonl"), "{\"prompt\":\"1+1\"}\n").unwrap();
    for arguments in [&["train", "mine.toml", "--dry-run"][..], &["train", "mine.toml"]] {
        let output = stearin(folder, arguments);
        assert_eq!(output.status.code(), Some(2));
        assert!(stderr(&output).contains("problem 1: no solution to learn"), "{}", stderr(&output));
    }
    let error =
        Recipe::parse("mine", &TWO.replace("batch = 5", "batch = 5\ndata = {}")).unwrap_err();
    assert!(format!("{error:#}").contains("train"), "{error:#}");
    let many = TWO
        .replace("data = { train = {", "data = { train = [{")
        .replace("\"worked.jsonl\" }", "\"worked.jsonl\" }]");
    let error = format!("{:#}", Recipe::parse("mine", &many).unwrap_err());
    assert!(error.contains("name"), "{error}");
}
