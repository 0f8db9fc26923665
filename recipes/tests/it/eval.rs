//! `stearin eval`: what it leaves and prints, and that it goes on after any end.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use evals::run::State;
use rand_philox::Philox;
use recipes::run_dir::status;
use serde_json::Value;

use crate::binary::{stderr, stdout, stearin};

/// Long enough to be caught on its way.
const LONG: [&str; 12] = [
    "eval",
    "--model",
    "builtin:tiny",
    "--bench",
    "arithmetic:count=60,countdown:count=30",
    "--samples",
    "4",
    "--greedy",
    "--max-new-tokens",
    "24",
    "--seed",
    "3",
];

/// Short.
const SHORT: [&str; 10] = [
    "eval",
    "--model",
    "builtin:atom",
    "--bench",
    "arithmetic:count=12,min_digits=1,max_digits=1",
    "--samples",
    "2",
    "--max-new-tokens",
    "8",
    "--out",
];

fn with<'a>(arguments: &[&'a str], more: &[&'a str]) -> Vec<&'a str> {
    [arguments, more].concat()
}

/// The files of an evaluation below `root`.
fn results(root: &Path) -> BTreeMap<String, String> {
    let folder = root.join("evals/step-000000");
    let read = |entry: fs::DirEntry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        (name, fs::read_to_string(entry.path()).unwrap())
    };
    fs::read_dir(folder).unwrap().map(|entry| read(entry.unwrap())).collect()
}

#[test]
fn killed_at_random_moments_it_ends_as_if_it_had_not_been() {
    let temp = tempfile::tempdir().unwrap();
    let began = Instant::now();
    let whole = stearin(temp.path(), &with(&LONG, &["--out", "whole"]));
    assert!(whole.status.success(), "{}", stderr(&whole));
    let lasts = began.elapsed().as_micros() as u32;
    let mut moments = Philox::from_u64_seed(5);
    let root = temp.path().join("killed");
    let (mut kills, mut on_the_way) = (0, false);
    while kills < 8 {
        let mut child = Command::new(env!("CARGO_BIN_EXE_stearin"))
            .args(with(&LONG, &["--out", "killed"]))
            .current_dir(temp.path())
            .env("RAYON_NUM_THREADS", "1")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        sleep(Duration::from_micros(u64::from(moments.bounded(lasts / 2))));
        child.kill().unwrap();
        child.wait().unwrap();
        kills += 1;
        let lines = fs::read_to_string(root.join("evals/step-000000/arithmetic.jsonl"));
        let lines = lines.unwrap_or_default().lines().count();
        on_the_way |= (1..60).contains(&lines);
    }
    assert!(on_the_way, "it was caught within a set");
    // Other slots, since they change nothing.
    let resumed = stearin(temp.path(), &with(&LONG, &["--out", "killed", "--slots", "5"]));
    assert!(resumed.status.success(), "{}", stderr(&resumed));
    assert_eq!(stdout(&resumed), stdout(&whole));
    assert_eq!(results(&root), results(&temp.path().join("whole")));
    assert_eq!(status(&root).unwrap().state, State::Finished);
}

#[test]
#[cfg(unix)]
fn ctrl_c_keeps_what_was_judged() {
    let temp = tempfile::tempdir().unwrap();
    let arguments = with(&LONG, &["--out", "run"]);
    let mut child = Command::new(env!("CARGO_BIN_EXE_stearin"))
        .args(&arguments)
        .current_dir(temp.path())
        .env("RAYON_NUM_THREADS", "1")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let file = temp.path().join("run/evals/step-000000/arithmetic.jsonl");
    let began = Instant::now();
    while fs::read_to_string(&file).unwrap_or_default().lines().count() < 3 {
        assert!(child.try_wait().unwrap().is_none(), "it ended too soon");
        assert!(began.elapsed() < Duration::from_mins(5), "nothing was judged");
        sleep(Duration::from_millis(2));
    }
    let id = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", stderr(&output));
    assert!(stderr(&output).contains("the same command continues"), "{}", stderr(&output));
    let judged = fs::read_to_string(&file).unwrap().lines().count();
    assert!(stdout(&output).contains(&format!("| {judged} of 60 ")), "{}", stdout(&output));
    assert_eq!(status(&temp.path().join("run")).unwrap().state, State::Interrupted);
    let resumed = stearin(temp.path(), &arguments);
    assert!(resumed.status.success(), "{}", stderr(&resumed));
    let said = stderr(&resumed);
    assert!(said.contains("continuing: ") && said.contains(" of 90 problems are judged"), "{said}");
    let again = stderr(&stearin(temp.path(), &arguments));
    assert!(again.contains("nothing is left to judge: 90 of 90 problems are judged"), "{again}");
    let whole = stearin(temp.path(), &with(&LONG, &["--out", "whole"]));
    assert_eq!(stdout(&resumed), stdout(&whole));
}

#[test]
fn other_settings_are_refused_with_the_keys_that_differ() {
    let temp = tempfile::tempdir().unwrap();
    let first = stearin(temp.path(), &with(&SHORT, &["run"]));
    assert!(first.status.success(), "{}", stderr(&first));
    let before = results(&temp.path().join("run"));
    for (more, expected) in [
        (vec!["--seed", "2"], "seed: 1 then, 2 now"),
        (vec!["--temperature", "0.5"], "sampling.temperature: 1.0 then, 0.5 now"),
        (vec!["--greedy"], "greedy: false then, true now"),
        (vec!["--limit", "3"], "set.arithmetic.problems: 12 then, 3 now"),
    ] {
        let refused = stearin(temp.path(), &with(&SHORT, &with(&["run"], &more)));
        assert_eq!(refused.status.code(), Some(2), "{}", stderr(&refused));
        assert!(stderr(&refused).contains(expected), "{}", stderr(&refused));
    }
    // The same go on, and there is nothing to do.
    let again = stearin(temp.path(), &with(&SHORT, &["run"]));
    assert_eq!(stdout(&again), stdout(&first));
    assert_eq!(results(&temp.path().join("run")), before);
    fs::write(temp.path().join("taken"), "x").unwrap();
    let refused = stearin(temp.path(), &with(&SHORT, &["taken"]));
    assert_eq!(refused.status.code(), Some(2));
    assert!(stderr(&refused).contains("is no evaluation"), "{}", stderr(&refused));
}

#[test]
fn the_table_is_shown_again_without_a_model() {
    let temp = tempfile::tempdir().unwrap();
    let first = stearin(temp.path(), &with(&SHORT, &["run"]));
    let again = stearin(temp.path(), &["eval", "--table", "run"]);
    assert!(again.status.success(), "{}", stderr(&again));
    assert_eq!(stdout(&again), stdout(&first));
    assert!(stdout(&again).starts_with("| set        | problems | avg@2 |"), "{}", stdout(&again));
    let json = stearin(temp.path(), &["eval", "--table", "run", "--json"]);
    let json: Value = serde_json::from_slice(&json.stdout).unwrap();
    let set = &json["runs"][0]["sets"][0];
    assert_eq!((&set["set"], &set["problems"]), (&"arithmetic".into(), &12.into()));
    assert_eq!(set["protocol"], "paper");
    let file: Value =
        serde_json::from_str(&results(&temp.path().join("run"))["arithmetic.json"]).unwrap();
    assert_eq!(*set, file);
    let none = stearin(temp.path(), &["eval", "--table", "."]);
    assert_eq!(none.status.code(), Some(2));
    assert!(stderr(&none).contains("is no directory of an evaluation"), "{}", stderr(&none));
}

#[test]
fn answers_are_judged_as_strictly_as_is_asked() {
    let temp = tempfile::tempdir().unwrap();
    // Its completions have no box: their last number is an answer of a score, and no reward.
    let share = |out: &str, more: &[&str]| {
        let output = stearin(temp.path(), &with(&SHORT, &with(&[out, "--json"], more)));
        assert!(output.status.success(), "{}", stderr(&output));
        let json: Value = serde_json::from_slice(&output.stdout).unwrap();
        let set = &json["runs"][0]["sets"][0];
        let unanswered =
            set["outcomes"].as_array().unwrap().iter().find(|one| one[0] == "no-answer");
        let unanswered = unanswered.map_or(0.0, |one| one[1].as_f64().unwrap());
        (set["criterion"].as_str().unwrap().to_owned(), unanswered)
    };
    let (score, lenient) = share("score", &[]);
    let (reward, strict) = share("reward", &["--strictness", "rl"]);
    assert_eq!(score, "math, strictness eval, marker boxed");
    assert_eq!(reward, "math, strictness rl, marker boxed");
    assert!((strict - 1.0).abs() < 1e-12 && lenient < 1.0, "{lenient} and {strict}");
    // The settings of the directory have it.
    let refused = stearin(temp.path(), &with(&SHORT, &["score", "--strictness", "rl"]));
    let said = stderr(&refused);
    assert_eq!(refused.status.code(), Some(2), "{said}");
    let expected = "set.arithmetic.criterion: \"math, strictness eval, marker boxed\" then, ";
    assert!(said.contains(expected), "{said}");
    let against = ["eval", "--table", "reward", "--against", "score"];
    let said = stdout(&stearin(temp.path(), &against));
    assert!(said.contains("grading of arithmetic: math, strictness eval"), "{said}");
    let wrong = stearin(temp.path(), &with(&SHORT, &["other", "--strictness", "paper"]));
    assert_eq!(wrong.status.code(), Some(2));
    assert!(stderr(&wrong).contains("possible values: rl, eval"), "{}", stderr(&wrong));
}

#[test]
fn two_evaluations_are_compared_problem_by_problem() {
    let temp = tempfile::tempdir().unwrap();
    stearin(temp.path(), &with(&SHORT, &["base"]));
    let other = with(&SHORT, &["other", "--seed", "2", "--against", "base"]);
    let output = stearin(temp.path(), &other);
    assert!(output.status.success(), "{}", stderr(&output));
    let said = stdout(&output);
    assert!(said.contains("| against") && said.contains("better,"), "{said}");
    assert!(
        said.contains("settings that differ besides the model: seed: 1 there, 2 here"),
        "{said}"
    );
    // Against itself nothing differs.
    let itself = stearin(temp.path(), &["eval", "--table", "base", "--against", "base", "--json"]);
    let json: Value = serde_json::from_slice(&itself.stdout).unwrap();
    let against = &json["runs"][0]["against"];
    let paired = &against["sets"]["arithmetic"]["avg"];
    assert_eq!(
        (&paired["mean"], &paired["p"], &paired["equal"]),
        (&0.0.into(), &1.0.into(), &12.into())
    );
    // 12 equal problems are no proof that others are: Wilson's upper end of 0 in 12.
    let high = paired["interval"][1].as_f64().unwrap();
    assert!((high - 0.2425).abs() < 5e-5, "{paired}");
    assert_eq!(against["problems"]["arithmetic"]["better"], Value::Array(Vec::new()));
    // Every evaluation of a table is compared.
    let both = stearin(temp.path(), &["eval", "--table", "other", "base", "--against", "base"]);
    let said = stdout(&both);
    assert_eq!(said.matches(" worse").count(), 2, "{said}");
    assert!(said.contains("| +0.0 (-24.2 to 24.2), p 1.000, 0 better, 0 worse |"), "{said}");
    // Other rows are refused before anything is sampled.
    let mut rows = with(&SHORT, &["rows", "--against", "base"]);
    rows[4] = "arithmetic:count=11,min_digits=1,max_digits=1";
    let refused = stearin(temp.path(), &rows);
    assert_eq!(refused.status.code(), Some(2), "{}", stderr(&refused));
    assert!(stderr(&refused).contains("are others than here"), "{}", stderr(&refused));
    assert!(!temp.path().join("rows").exists());
}

#[test]
fn files_have_levels_and_may_be_in_the_training_data() {
    let temp = tempfile::tempdir().unwrap();
    let rows: Vec<_> = (1..9)
        .map(|i| {
            format!(
                "{{\"id\":\"p{i}\",\"problem\":\"{i}+1\",\"answer\":\"{}\",\"level\":{}}}\n",
                i + 1,
                i % 2 + 1
            )
        })
        .collect();
    fs::write(temp.path().join("mine.jsonl"), rows.concat()).unwrap();
    fs::write(temp.path().join("train.jsonl"), "{\"problem\":\" 3 + 1 \",\"answer\":\"4\"}\n")
        .unwrap();
    let mut arguments = with(&SHORT, &["run", "--train-data", "train.jsonl"]);
    arguments[4] = "mine.jsonl";
    let output = stearin(temp.path(), &arguments);
    assert!(output.status.success(), "{}", stderr(&output));
    let said = stdout(&output);
    assert!(said.contains("mine by level:\n"), "{said}");
    assert!(said.contains("mine: 1 of 8 problems is in the training data: p3\n"), "{said}");
    let line = results(&temp.path().join("run"))["mine.jsonl"].lines().next().unwrap().to_owned();
    let line: Value = serde_json::from_str(&line).unwrap();
    assert_eq!((&line["id"], &line["gold"], &line["n"]), (&"p1".into(), &"2".into(), &2.into()));
    assert_eq!(line["texts"].as_array().unwrap().len(), 2);
    assert_eq!(line["level"], "2");
}

#[test]
fn what_cannot_be_begun_is_bad_input_and_leaves_nothing() {
    let temp = tempfile::tempdir().unwrap();
    for (more, expected) in [
        (vec!["run", "--protocol", "papers"], "did you mean `paper`?"),
        (vec!["run", "--prompt", "box"], "there is no style `box`"),
        (vec!["run", "--prompt", "minerva-4shot"], "leaves no room in the model's context"),
        (vec!["run", "--temperature", "0"], "2 completions at temperature 0 are all the same"),
        (vec!["run", "--temperature", "0"], "or --protocol greedy"),
        (vec!["run", "--top-p", "0"], "top_p is 0, expected above 0"),
        (vec!["run", "--bench", "math"], "there is no benchmark, task or file"),
        (vec!["run", "--against", "none"], "none is no directory of an evaluation"),
        (vec!["run", "--train-data", "none.jsonl"], "there is no file `none.jsonl`"),
        (vec!["run", "--bench", "none.toml"], "none.toml"),
        (vec!["run", "--prompt", "none.toml"], "none.toml"),
        (vec!["run", "--temperature", "-1"], "temperature is -1, expected"),
    ] {
        let output = stearin(temp.path(), &with(&SHORT, &more));
        assert_eq!(output.status.code(), Some(2), "{more:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(expected), "{more:?}: {}", stderr(&output));
    }
    for (at, value, expected) in [
        (6, "99999999999", "expected at most 16777216 completions, got 12 problems times"),
        (2, "http://localhost:8000", "the model of a server is not supported yet"),
    ] {
        let mut arguments = with(&SHORT, &["run"]);
        arguments[at] = value;
        let output = stearin(temp.path(), &arguments);
        assert_eq!(output.status.code(), Some(2), "{value}: {}", stderr(&output));
        assert!(stderr(&output).contains(expected), "{value}: {}", stderr(&output));
    }
    assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 0);
    let list = stearin(temp.path(), &["eval", "--list"]);
    assert!(list.status.success() && stdout(&list).contains("| math500"), "{}", stdout(&list));
    let none = stearin(temp.path(), &["eval"]);
    assert_eq!(none.status.code(), Some(2), "a model is asked for");
}

/// Asserts that the directory of an evaluation is read, or refused in words that name the file.
#[track_caller]
fn read_or_refused(root: &Path, file: &str, what: &str) -> bool {
    let found = recipes::eval::read(root);
    if let Err(error) = &found {
        let said = format!("{error:#}");
        let name = file.rsplit('/').next().unwrap();
        assert!(said.contains(name) && said.contains("is damaged"), "{file}, {what}: {said}");
    }
    found.is_ok()
}

#[test]
fn a_damaged_directory_is_explained() {
    let temp = tempfile::tempdir().unwrap();
    let output = stearin(temp.path(), &with(&SHORT, &["run", "--greedy"]));
    assert!(output.status.success(), "{}", stderr(&output));
    let root = temp.path().join("run");
    let results = "evals/step-000000/arithmetic.jsonl";
    for file in ["eval.toml", results] {
        let path = root.join(file);
        let whole = fs::read(&path).unwrap();
        let places = (0..whole.len()).filter(|at| b"\n{}[]\",:=".contains(&whole[*at]));
        let places: Vec<_> = places.flat_map(|at| [at, at + 1]).collect();
        // Within the first lines and the last ones, where there are many alike.
        let few = places.iter().take(300).chain(places.iter().rev().take(300));
        for &at in few {
            fs::write(&path, &whole[..at]).unwrap();
            let is_read = read_or_refused(&root, file, &format!("cut at {at}"));
            let is_all = at == whole.len();
            assert!(
                file == "eval.toml" || is_read == is_all,
                "{at}: the figures are of every line"
            );
        }
        for bytes in [&b"\xff\xfe"[..], b"\0\0\n", b"{}\n", b"[1]\n"] {
            fs::write(&path, [bytes, &whole].concat()).unwrap();
            assert!(!read_or_refused(&root, file, "other bytes before it"));
        }
        fs::write(&path, [&whole[..], &whole].concat()).unwrap();
        assert!(!read_or_refused(&root, file, "twice"));
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(recipes::eval::read(&root).is_err(), "{file} is a folder");
        fs::remove_dir(&path).unwrap();
        fs::write(&path, &whole).unwrap();
        assert!(read_or_refused(&root, file, "whole again"));
    }
}

#[test]
#[cfg(unix)]
fn the_figures_of_a_set_are_read_with_care() {
    let temp = tempfile::tempdir().unwrap();
    let arguments = with(&SHORT, &["run"]);
    assert!(stearin(temp.path(), &arguments).status.success());
    let folder = temp.path().join("run/evals/step-000000");
    let (figures, lines) = (folder.join("arithmetic.json"), folder.join("arithmetic.jsonl"));
    let (whole, problems) = (fs::read(&figures).unwrap(), fs::read(&lines).unwrap());
    let table = ["eval", "--table", "run"];
    let refused = |expected: &str| {
        for arguments in [&table[..], &arguments] {
            let output = stearin(temp.path(), arguments);
            let said = stderr(&output);
            assert_eq!(output.status.code(), Some(2), "{said}");
            assert!(said.contains("arithmetic.json") && said.contains(expected), "{said}");
        }
    };
    fs::remove_file(&figures).unwrap();
    assert!(Command::new("mkfifo").arg(&figures).status().unwrap().success());
    refused("expected a file, got a pipe or a device");
    fs::remove_file(&figures).unwrap();
    fs::write(&figures, &whole[..whole.len() / 2]).unwrap();
    refused("not JSON");
    // The figures are there, and the problems that they are of are not.
    fs::write(&figures, &whole).unwrap();
    let expected =
        "arithmetic.jsonl: expected the 12 problems whose figures are in arithmetic.json";
    let (first, _) =
        problems.split_at(problems.iter().position(|byte| *byte == b'\n').unwrap() + 1);
    for (left, got) in [("".as_bytes(), "got 0"), (first, "got 1")] {
        fs::write(&lines, left).unwrap();
        refused(&format!("{expected}, {got}"));
        assert_eq!(fs::read(&lines).unwrap(), left);
    }
    fs::remove_file(&lines).unwrap();
    refused(&format!("{expected}, got no file"));
    // What the message advises works.
    fs::remove_file(&figures).unwrap();
    assert!(stearin(temp.path(), &arguments).status.success());
    assert_eq!((fs::read(&figures).unwrap(), fs::read(&lines).unwrap()), (whole, problems));
    assert!(stearin(temp.path(), &table).status.success());
}

#[test]
fn a_broken_set_does_not_keep_others_from_the_table() {
    let temp = tempfile::tempdir().unwrap();
    let two = ["countdown:count=4,numbers=2", "arithmetic:count=4"];
    let two = two.map(|set| ["--bench", set]).concat();
    let arguments = ["--samples", "1", "--max-new-tokens", "4", "--out", "run"];
    let model = ["eval", "--model", "builtin:atom"];
    let first = stearin(temp.path(), &[&model[..], &two, &arguments].concat());
    assert!(first.status.success(), "{}", stderr(&first));
    let folder = temp.path().join("run/evals/step-000000");
    fs::write(folder.join("arithmetic.jsonl"), "{}\n").unwrap();
    let table = stearin(temp.path(), &["eval", "--table", "run"]);
    let (shown, said) = (stdout(&table), stderr(&table));
    assert_eq!(table.status.code(), Some(1), "{said}");
    assert!(shown.contains("| countdown") && !shown.contains("arithmetic"), "{shown}");
    assert!(said.starts_with("error: not in the table: "), "{said}");
    assert!(said.contains("arithmetic.jsonl") && !said.contains("countdown"), "{said}");
    // So of whole evaluations; but nothing is no table.
    let both = stearin(temp.path(), &["eval", "--table", "none", "run", "--json"]);
    assert_eq!(both.status.code(), Some(1));
    assert!(stderr(&both).contains("none is no directory of an evaluation"), "{}", stderr(&both));
    let json: Value = serde_json::from_slice(&both.stdout).unwrap();
    assert_eq!(json["runs"][0]["sets"].as_array().unwrap().len(), 1);
    fs::write(folder.join("countdown.jsonl"), "{}\n").unwrap();
    let neither = stearin(temp.path(), &["eval", "--table", "run"]);
    assert_eq!((neither.status.code(), stdout(&neither)), (Some(2), String::new()));
}

#[test]
fn a_line_that_contradicts_itself_or_the_settings_is_refused() {
    let temp = tempfile::tempdir().unwrap();
    let arguments = with(&SHORT, &["run"]);
    let output = stearin(temp.path(), &arguments);
    assert!(output.status.success(), "{}", stderr(&output));
    let path = temp.path().join("run/evals/step-000000/arithmetic.jsonl");
    let whole = fs::read_to_string(&path).unwrap();
    let (first, rest) = whole.split_once('\n').unwrap();
    let changed = |key: &str, value: Value, expected: &str| {
        let mut line: Value = serde_json::from_str(first).unwrap();
        assert!(line.get(key).is_some(), "{key}");
        line[key] = value;
        fs::write(&path, format!("{line}\n{rest}")).unwrap();
        let output = stearin(temp.path(), &arguments);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{key}: {said}");
        assert!(said.contains(expected) && said.contains("arithmetic.jsonl"), "{key}: {said}");
        assert!(said.contains("the file is damaged"), "{key}: {said}");
    };
    changed("correct", 9.into(), "correct is 9");
    changed("distinct_correct", 9.into(), "distinct_correct 9");
    changed("n", 0.into(), "n is 0");
    changed("n", 3.into(), "rewards has 2 values, expected n = 3");
    changed("outcomes", Value::Array(Vec::new()), "outcomes has 0 values");
    changed("votes", serde_json::json!([70, 70]), "a vote is for class 70");
    changed("votes", serde_json::json!([null]), "votes has 1 values");
    changed("number", 1.into(), "problem number 1 has line 1, too");
    changed("number", 99.into(), "is not what this evaluation asks for");
    changed("id", "another".into(), "is not what this evaluation asks for");
    fs::write(&path, &whole).unwrap();
    let again = stearin(temp.path(), &arguments);
    assert_eq!(stdout(&again), stdout(&output));
}

#[test]
fn settings_in_files_may_have_their_kind_anywhere() {
    let temp = tempfile::tempdir().unwrap();
    let folder = temp.path().join("mine");
    fs::create_dir(&folder).unwrap();
    // Beside the file that names it, not in the working directory.
    fs::write(folder.join("rows.csv"), "frage,loesung\n1+1,2\n2+2,4\n").unwrap();
    let source = "path = \"rows.csv\"\ncolumns = { problem = \"frage\", answer = \"loesung\" }\n";
    fs::write(folder.join("sums.toml"), format!("{source}kind = \"file\"\n")).unwrap();
    let style = "suffix = \"off\"\n[template]\ntext = \"{problem}=\"\nkind = \"plain\"\n";
    fs::write(folder.join("style.toml"), style).unwrap();
    let run = |name: &str| {
        let mut arguments = with(&SHORT, &[name, "--prompt", "mine/style.toml"]);
        arguments[4] = "mine/sums.toml";
        stearin(temp.path(), &arguments)
    };
    let output = run("run");
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stdout(&output).contains("| sums | 2 "), "{}", stdout(&output));
    fs::write(folder.join("style.toml"), style.replace("text", "txet")).unwrap();
    let refused = run("other");
    assert_eq!(refused.status.code(), Some(2));
    let said = stderr(&refused);
    assert!(said.contains("mine/style.toml:3:1: ") && said.contains("`txet`"), "{said}");
}

#[test]
fn settings_in_files_are_refused_with_their_key() {
    let temp = tempfile::tempdir().unwrap();
    for (flag, text, expected) in [
        ("--bench", "path = 5\nkind = \"file\"", "mine.toml:1:8: path: expected text in quotation"),
        (
            "--bench",
            "path = \"a\"\nkind = \"file\"\ncolumns.id = true",
            "mine.toml:3:14: columns.id: expected text in quotation marks, got true",
        ),
        (
            "--bench",
            "kind = \"file\"\npath = \"a\"\ncolumns = [\"x\"]",
            "mine.toml:3:11: columns: expected a table, got a list",
        ),
        ("--bench", "kind = \"file\"\npath = \"a\"\nlimt = 1", "mine.toml:3:1: unknown key `limt`"),
        ("--bench", "path = \"a\"", "mine.toml:1:1: missing key `kind`"),
        ("--prompt", "stop = 5", "mine.toml:1:8: stop: expected a list, got 5"),
        (
            "--prompt",
            "stop = [5]",
            "mine.toml:1:9: stop.0: expected text in quotation marks, got 5",
        ),
    ] {
        fs::write(temp.path().join("mine.toml"), text).unwrap();
        let given = [flag, "mine.toml"];
        let rows: &[&str] = if flag == "--bench" { &[] } else { &["--bench", "countdown:count=2"] };
        let output = stearin(
            temp.path(),
            &[&["eval", "--model", "builtin:atom", "--dry-run"], &given[..], rows].concat(),
        );
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(flag) && said.contains(expected), "{text}: {said}");
    }
}
