//! The binary: what it says to bad input, and that it leaves nothing half-written behind.

use std::fs;
use std::path::Path;

use recipes::config::{DTypeChoice, DeviceChoice};
use recipes::policy::{self, Compute};
use recipes::search_path::SearchPath;

use crate::binary::{stderr, stdout, stearin};

/// A recipe that trains in a second.
const SMALL: &str = r#"
[model]
path = "builtin:atom"
[data]
train = { kind = "arithmetic", count = 60, min_digits = 1, max_digits = 1, operations = ["+", "-"] }
held_out = { kind = "split", count = 8 }
[eval.sampling]
max_new_tokens = 8
[[stage]]
kind = "sft"
steps = 2
batch = 4
schedule = { kind = "constant", lr = 1e-3 }
[[stage]]
kind = "rl"
steps = 2
batch = 2
group_size = 2
rollout = { max_new_tokens = 8 }
schedule = { kind = "constant", lr = 1e-4 }
"#;

/// Trains `recipe` in a folder with `files` and expects a refusal with all of `words`, exit code 2,
/// and no run directory.
#[track_caller]
fn refused(recipe: &str, files: &[(&str, &str)], arguments: &[&str], words: &[&str]) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::write(folder.path().join("mine.toml"), recipe).expect("a writable folder");
    for (name, text) in files {
        fs::write(folder.path().join(name), text).expect("a writable folder");
    }
    let output = stearin(folder.path(), &[&["train", "mine.toml"], arguments].concat());
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(stdout(&output).is_empty(), "stdout is data");
    for word in words {
        assert!(said.contains(word), "expected {word:?} in:\n{said}");
    }
    assert!(!folder.path().join("runs").exists(), "nothing is left behind");
}

#[test]
fn a_typo_names_the_nearest_key() {
    let recipe = SMALL.replace("group_size", "groupsize");
    refused(&recipe, &[], &[], &["mine.toml:18:1", "`groupsize`", "did you mean `group_size`?"]);
    refused(SMALL, &[], &["--set", "stage.rl.step=3"], &["--set stage.rl.step=3", "`steps`?"]);
}

#[test]
fn contradictory_settings_are_listed_at_once() {
    let arguments = ["--set", "stage.rl.group_size=1", "--set", "data.held_out.count=60"];
    let words = ["2 mistakes", "data.held_out.count", "stage.1.group_size"];
    refused(SMALL, &[], &arguments, &words);
}

#[test]
fn a_broken_data_line_is_named_by_its_number() {
    let rows = "{\"id\":\"a\",\"problem\":\"1+1\",\"answer\":\"2\",\"source\":\"x\"}\n{\"id\":\n";
    let arguments = ["--set", "data.train={kind=\"jsonl\",path=\"rows.jsonl\"}"];
    refused(SMALL, &[("rows.jsonl", rows)], &arguments, &["rows.jsonl", "line 2"]);
    refused(SMALL, &[], &arguments, &["no file `rows.jsonl`", "STEARIN_DATA"]);
}

#[test]
fn an_unknown_model_is_refused() {
    let arguments = ["--set", "model.path=builtin:tinny"];
    refused(SMALL, &[], &arguments, &["builtin:tinny", "did you mean `builtin:tiny`?"]);
    let arguments = ["--set", "model.path=nowhere.gguf"];
    refused(SMALL, &[], &arguments, &["there is no model nowhere.gguf"]);
    refused(SMALL, &[("cut.gguf", "GGUF")], &["--set", "model.path=cut.gguf"], &["cut.gguf"]);
}

#[test]
fn a_prompt_longer_than_the_context_is_refused() {
    let long = "1+".repeat(400) + "1";
    let rows = format!(
        "{{\"id\":\"a\",\"problem\":\"{long}\",\"answer\":\"401\",\"source\":\"x\",\"solution\":\"401\"}}\n\
         {{\"id\":\"b\",\"problem\":\"1+1\",\"answer\":\"2\",\"source\":\"x\",\"solution\":\"2\"}}\n"
    );
    let data = ["--set", "data.train={kind=\"jsonl\",path=\"rows.jsonl\"}"];
    let more = ["--set", "data.held_out.count=1", "--set", "data.max_prompt_tokens=9999"];
    let arguments = [data.as_slice(), more.as_slice()].concat();
    refused(SMALL, &[("rows.jsonl", &rows)], &arguments, &["802 tokens", "context"]);
}

#[test]
fn an_unknown_recipe_names_the_nearest_shipped_one() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let output = stearin(folder.path(), &["train", "quikstart"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("did you mean `quickstart`?"), "{}", stderr(&output));
    assert_eq!(stearin(folder.path(), &["trian"]).status.code(), Some(2));
    assert_eq!(stearin(folder.path(), &["--help"]).status.code(), Some(0));
}

#[test]
fn arguments_of_other_commands_are_answered_with_the_key_of_a_recipe() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (argument, setting) in [
        ("--threads=2", "--set threads=N"),
        ("--seed=2", "--set seed=N"),
        ("--model=m", "--set model.path=MODEL"),
        ("--adapter=a", "--set model.adapter.from=ADAPTER"),
        ("--device=cpu", "--set model.device=DEVICE"),
        ("--dtype=bf16", "--set model.dtype=TYPE"),
        ("--base=f32", "--set model.base=FORMAT"),
    ] {
        let output = stearin(folder.path(), &["train", "quickstart", argument]);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(&format!("it is a key of a recipe: {setting}")), "{said}");
    }
    let help = stdout(&stearin(folder.path(), &["train", "--help"]));
    assert!(help.starts_with("Trains a recipe") && !help.contains("--threads"), "{help}");
    let accept = help.split("--accept-changed-files").nth(1).expect("the flag");
    assert!(accept.split("--max-time").next().expect("its text").contains("an adapter"), "{help}");
}

#[test]
fn a_dry_run_computes_and_writes_nothing() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let output = stearin(folder.path(), &["train", "quickstart", "--dry-run"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let said = stdout(&output);
    for word in ["stage 0 sft", "stage 1 rl", "memory", "disk", "updates"] {
        assert!(said.contains(word), "expected {word:?} in:\n{said}");
    }
    assert!(!stderr(&output).contains("of this machine"), "{}", stderr(&output));
    let long = "stage.rl.rollout.max_new_tokens=1000000000";
    let output = stearin(folder.path(), &["train", "quickstart", "--dry-run", "--set", long]);
    let said = stderr(&output);
    assert!(
        said.contains("stage 1 may take about ") && said.contains(", more than the "),
        "{said}"
    );
    assert_eq!(fs::read_dir(folder.path()).expect("the folder").count(), 0);
}

#[test]
fn a_dry_run_shows_settings_files_and_what_is_left_out() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let row = |number: usize| {
        let problem = number % 56;
        format!("{{\"problem\": \"{problem} + 1\", \"answer\": \"{}\"}}\n", problem + 1)
    };
    let rows: String = (0..60).map(row).collect();
    fs::create_dir(folder.path().join("mine")).expect("a writable folder");
    fs::write(folder.path().join("mine/rows.jsonl"), rows).expect("a writable folder");
    let made = SMALL.lines().find(|line| line.starts_with("train =")).expect("it has problems");
    let recipe = SMALL
        .replace(made, "train = { kind = \"jsonl\", path = \"rows.jsonl\", limit = 60 }")
        .replace("count = 8", "count = 50")
        .replace("[[stage]]\nkind = \"sft\"\nsteps = 2\nbatch = 4\nschedule = { kind = \"constant\", lr = 1e-3 }\n", "")
        .replace("group_size = 2", "group_size = 2\nalgorithm = \"dapo\"");
    fs::write(folder.path().join("mine/mine.toml"), recipe).expect("a writable folder");
    let judge = "stage.rl.rewards=[{ kind = 'process', command = ['cat', 'judge.py'] }]";
    let arguments = ["train", "mine/mine.toml", "--dry-run", "--set", judge];
    let output = stearin(folder.path(), &arguments);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let said = stdout(&output);
    let here = folder.path().canonicalize().expect("the folder");
    for line in [
        "    settings  algorithm dapo*, advantage grpo+, epochs 1, updates_per_step 1",
        "    schedule  constant*, lr 1e-4*, optim adamw",
        "     rollout  max_new_tokens 8*, temperature 1, top_p 1, dynamic_sampling accuracy+",
        "clip_low 0.2+, clip_high 0.28+, dual_clip 10+, aggregation token-mean+, kl off",
        "     rewards  process*",
        "* set by the recipe or --set, + by the algorithm",
        &format!(
            "        file  data.train: {}, the first 60 rows",
            here.join("mine/rows.jsonl").display()
        ),
        &format!("`cat judge.py`, started in {}; its paths start there", here.display()),
    ] {
        assert!(said.contains(line), "expected {line:?} in:\n{said}");
    }
    // Of 56 problems 50 are held out, and those that stand twice are not trained on.
    let left_out = said.lines().find(|line| line.contains("not trained on")).unwrap_or_default();
    let count = |line: &str, end: &str| -> usize {
        let (_, number) =
            line.split(end).next().unwrap_or_default().rsplit_once(' ').unwrap_or_default();
        number.parse().unwrap_or_else(|_| panic!("{said}"))
    };
    let problems = said.lines().find(|line| line.contains("problems  ")).unwrap_or_default();
    assert_eq!(count(problems, " to train on") + count(left_out, " row"), 10, "{said}");
}

#[test]
fn every_shipped_recipe_is_planned_without_its_weights_and_problems() {
    for shipped in recipes::shipped::ALL {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let output = stearin(folder.path(), &["train", shipped.name, "--dry-run"]);
        assert_eq!(output.status.code(), Some(0), "{}: {}", shipped.name, stderr(&output));
        let said = stdout(&output);
        if shipped.text.contains("kind = \"jsonl\"") {
            if shipped.name.starts_with("lora-qwen") {
                let line = "\"as-stored\": 935 MiB as stored (q4_k 597 MiB, q6_k 338 MiB, f32 0.6 \
                            MiB, by the name of the file, which is not here), 5889 MiB in f32";
                assert!(said.contains(line), "{said}");
            }
            for word in ["as published for", "unknown: data/", "(unknown epochs)"] {
                assert!(said.contains(word), "{}: expected {word:?} in:\n{said}", shipped.name);
            }
        }
        assert_eq!(fs::read_dir(folder.path()).expect("the folder").count(), 0, "{said}");
    }
}

#[test]
fn an_adapter_that_the_model_cannot_have_is_refused_before_anything_is_read() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::write(folder.path().join("mine.toml"), SMALL).expect("a writable folder");
    for (setting, words) in [
        (
            "model.adapter.rank=256",
            "model.adapter.rank: 256 is more than 32, the smaller side of q_proj",
        ),
        (
            "model.adapter.from=no-such-run",
            "model.adapter.from: there is no adapter no-such-run in",
        ),
        ("model.adapter.from=mine.toml", "model.adapter.from"),
    ] {
        let output = stearin(folder.path(), &["train", "mine.toml", "--dry-run", "--set", setting]);
        assert_eq!(output.status.code(), Some(2), "{setting}: {}", stdout(&output));
        assert!(stderr(&output).contains(words), "{setting}: {}", stderr(&output));
    }
    let fine = ["train", "mine.toml", "--dry-run", "--set", "model.adapter.rank=32"];
    let output = stearin(folder.path(), &fine);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
}

#[test]
fn a_dry_run_says_what_of_the_users_own_is_missing() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::write(folder.path().join("mine.toml"), SMALL).expect("a writable folder");
    let judge = "[{ kind = \"process\", command = [\"no-such-judge\"] }]";
    for (setting, words) in [
        (
            "data.train={kind=\"jsonl\",path=\"rows.jsonl\"}".to_owned(),
            "data.train: there is no file `rows.jsonl`",
        ),
        (
            "data.held_out={kind=\"jsonl\",path=\"held.jsonl\"}".to_owned(),
            "data.held_out: there is no file `held.jsonl`",
        ),
        (
            format!("stage.rl.rewards={judge}"),
            "stage.1.rewards.0.command: there is no program `no-such-judge`",
        ),
        (
            format!("eval.rewards={judge}"),
            "eval.rewards.0.command: there is no program `no-such-judge`",
        ),
    ] {
        let arguments = ["train", "mine.toml", "--dry-run", "--set", &setting];
        let output = stearin(folder.path(), &arguments);
        assert_eq!(output.status.code(), Some(2), "{setting}: {}", stdout(&output));
        assert!(stderr(&output).contains(words), "{setting}: {}", stderr(&output));
    }
}

#[test]
fn no_message_has_the_names_of_types() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::write(folder.path().join("mine.toml"), SMALL).expect("a writable folder");
    for (setting, words) in [
        ("data.train=5", "expected a table with `kind` or a list of tables, got 5"),
        ("data.train.count=0", "expected a whole number, 1 or more, got 0"),
        ("model=5", "expected a table, got 5"),
        ("model.dtype=5", "expected `\"f32\"` or `\"bf16\"`"),
        ("seed=-1", "expected a whole number, 0 or more, got -1"),
        ("eval.rewards=5", "expected a list, got 5"),
        ("eval.rewards=[{kind=\"length\",weight=\"x\"}]", "expected a number, got \"x\""),
        ("eval.rewards=[{kind=5}]", ""),
        ("stage.sft.schedule=5", "expected a name or a table with `kind`, got 5"),
        ("stage.sft.schedule={kind=\"x\"}", "unknown value `x`"),
        ("stage.sft.schedule={kind=5}", "expected a name in quotation marks, got 5"),
        ("prompt.template=5", "expected a name or a table with `kind`, got 5"),
        ("prompt.bos=5", ""),
        ("checkpoint.best=5", "expected a table or \"off\", got 5"),
    ] {
        let output = stearin(folder.path(), &["train", "mine.toml", "--dry-run", "--set", setting]);
        assert_eq!(output.status.code(), Some(2), "{setting}: {}", stdout(&output));
        let said = stderr(&output);
        assert!(said.contains(words), "{setting}: {said}");
        for type_name in
            ["enum", "struct", "usize", "u64", "f64", "variant", "integer", "identifier"]
        {
            assert!(!said.contains(type_name), "{setting}: {said}");
        }
    }
    let none = stearin(folder.path(), &["sample", "--model", "builtin:atom", "-n", "0", "1+1"]);
    assert_eq!(none.status.code(), Some(2));
    assert!(stderr(&none).contains("expected a whole number, 1 or more"), "{}", stderr(&none));
    let unknown = stearin(folder.path(), &["sample", "--model", "builtin:atom", "1\u{20ac}"]);
    assert_eq!(unknown.status.code(), Some(2));
    let words = "the tokenizer has no token for what ends \"1\u{20ac}\"";
    assert!(stderr(&unknown).contains(words), "{}", stderr(&unknown));
}

#[test]
fn a_dry_run_takes_sizes_from_a_config_alone_and_refuses_to_guess() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::write(folder.path().join("mine.toml"), SMALL).expect("a writable folder");
    let arguments = ["train", "mine.toml", "--dry-run", "--set", "model.path=mine"];
    let unknown = stearin(folder.path(), &arguments);
    assert_eq!(unknown.status.code(), Some(2));
    assert!(stderr(&unknown).contains("there is no model mine"), "{}", stderr(&unknown));

    let config = r#"{"model_type": "llama", "vocab_size": 10, "hidden_size": 8,
        "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
        "tie_word_embeddings": true}"#;
    fs::create_dir(folder.path().join("mine")).expect("a writable folder");
    fs::write(folder.path().join("mine/config.json"), config).expect("a writable folder");
    let output = stearin(folder.path(), &arguments);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let said = stdout(&output);
    // 10 * 8 + 4 * 8 * 8 + 3 * 8 * 16 + 3 * 8
    for word in
        ["744 parameters", "config.json; as a model", "52 to train on", "there is no tokenizer"]
    {
        assert!(said.contains(word), "expected {word:?} in:\n{said}");
    }

    let hub = [&arguments[..4], &["model.path=hf://some/thing"]].concat();
    let unknown = stearin(folder.path(), &hub);
    assert_eq!(unknown.status.code(), Some(2));
    assert!(stderr(&unknown).contains("a dry run fetches nothing"), "{}", stderr(&unknown));
}

#[test]
fn a_run_trains_and_its_folder_is_a_model_and_is_not_overwritten() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::write(folder.path().join("mine.toml"), SMALL).expect("a writable folder");
    let output = stearin(folder.path(), &["train", "mine.toml"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(folder.path().join("runs/mine/metrics.jsonl").is_file());

    let again = stearin(folder.path(), &["train", "mine.toml"]);
    assert_eq!(again.status.code(), Some(2));
    assert!(stderr(&again).contains("--resume"), "{}", stderr(&again));

    let sampled = stearin(
        folder.path(),
        &["sample", "--model", "runs/mine", "-n", "2", "--max-new-tokens", "4", "1+1"],
    );
    assert_eq!(sampled.status.code(), Some(0), "{}", stderr(&sampled));
    assert!(stdout(&sampled).contains("---\n"), "two completions with a rule between");
}

#[test]
fn a_run_that_reaches_its_time_limit_saves_and_goes_on_later() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let endless = SMALL.replacen("steps = 2", "steps = 1000000", 1);
    fs::write(folder.path().join("mine.toml"), endless).expect("a writable folder");
    let long = stearin(folder.path(), &["train", "mine.toml", "--max-time", "1.5h"]);
    assert_eq!(long.status.code(), Some(2));
    assert!(stderr(&long).contains("such as 90s or 3h30m"), "{}", stderr(&long));
    for more in [&[][..], &["--resume"]] {
        let train = [&["train", "mine.toml", "--max-time", "1s"], more].concat();
        let output = stearin(folder.path(), &train);
        assert_eq!(output.status.code(), Some(130), "{}", stderr(&output));
        assert!(stderr(&output).contains("the time limit is reached"), "{}", stderr(&output));
    }
    let saved = fs::read_dir(folder.path().join("runs/mine/checkpoints"));
    assert!(saved.expect("checkpoints").count() > 0);
}

#[test]
fn a_sample_takes_the_settings_of_a_rollout() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let sample = |more: &[&str]| {
        let common = ["sample", "--model", "builtin:atom", "-n", "8", "--max-new-tokens", "6"];
        stearin(folder.path(), &[&common, more, &["1+1"][..]].concat())
    };
    let said = |more: &[&str]| {
        let output = sample(more);
        assert_eq!(output.status.code(), Some(0), "{more:?}: {}", stderr(&output));
        stdout(&output)
    };
    // The likeliest token alone, at any temperature, is what a greedy completion takes.
    let greedy = said(&["--temperature", "0"]);
    assert_eq!(said(&["--top-k", "1", "--temperature", "5"]), greedy);
    assert_ne!(said(&["--temperature", "5"]), greedy, "eight draws differ");
    // A text that is in the greedy completion ends it there.
    let first = greedy.split("---").next().expect("a completion").trim_end();
    let end: String = first.chars().skip(1).take(1).collect();
    let cut = said(&["--temperature", "0", "--stop", "never there", "--stop", &end]);
    assert!(cut.len() < greedy.len(), "{cut:?} of {greedy:?} at {end:?}");
    assert!(!said(&["--dtype", "bf16", "--device", "cpu"]).is_empty());
    assert!(!said(&["--system", "2+2"]).is_empty());
    let system = sample(&["--plain", "--system", "2+2"]);
    assert_eq!(system.status.code(), Some(2), "a plain prompt has no place for it");
    assert!(stderr(&system).contains("`system` needs"), "{}", stderr(&system));
    let device = sample(&["--device", "tpu"]);
    assert_eq!(device.status.code(), Some(2));
    assert!(stderr(&device).contains("[possible values: cpu, cuda]"), "{}", stderr(&device));
}

#[test]
fn notes_of_loading_are_told_by_every_command_that_loads() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let model = folder.path().join("model");
    let compute = Compute::new(DeviceChoice::Cpu, DTypeChoice::F32).expect("a CPU");
    let builtin = policy::locate("builtin:atom", &SearchPath::of_recipe(Path::new("")));
    let (atom, text) =
        builtin.and_then(|it| it.open("atom", 1, &compute)).expect("a builtin policy");
    engine::save(&atom, &text, &model).expect("a writable folder");
    let path = model.join("config.json");
    let config = fs::read_to_string(&path).expect("a saved configuration");
    fs::write(&path, config.replacen('{', r#"{"sliding_window": 8,"#, 1)).expect("writable");
    fs::write(folder.path().join("mine.toml"), SMALL).expect("a writable folder");

    let note = "note: model: config.json has sliding_window 8";
    let set = ["mine.toml", "--set", "model.path=model"];
    let train = stearin(folder.path(), &[&["train"], &set[..]].concat());
    let sample = ["sample", "--model", "model", "--plain", "--max-new-tokens", "2", "1+1"];
    let sample = stearin(folder.path(), &sample);
    for output in [train, sample] {
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        assert_eq!(stderr(&output).matches(note).count(), 1, "{}", stderr(&output));
    }
    let dry = stearin(folder.path(), &[&["train", "--dry-run"], &set[..]].concat());
    assert!(stdout(&dry).contains("note  config.json has sliding_window 8"), "{}", stdout(&dry));
}

#[test]
fn more_threads_than_any_machine_has_are_refused() {
    const MOST: &str = "threads: expected a whole number up to 1024, got 9223372036854775807";
    let folder = tempfile::tempdir().expect("a temporary folder");
    let threads = ["--threads", "9223372036854775807"];
    for command in [
        &["doctor"][..],
        &["bench", "decode", "--model", "builtin:atom"],
        &["sample", "hello", "--model", "builtin:atom"],
    ] {
        let output = stearin(folder.path(), &[command, threads.as_slice()].concat());
        assert_eq!(output.status.code(), Some(2), "{command:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(MOST), "{command:?}: {}", stderr(&output));
    }
    refused(&format!("threads = 9223372036854775807\n{SMALL}"), &[], &[], &[MOST]);
}

#[test]
fn an_empty_file_is_no_held_out_set() {
    let held_out = "data.held_out={kind=\"jsonl\",path=\"none.jsonl\"}";
    let words = ["data.held_out: reading ", "none.jsonl: no rows"];
    refused(SMALL, &[("none.jsonl", "")], &["--set", held_out], &words);
}

#[test]
fn how_much_is_said_is_a_choice_and_the_log_has_all_of_it() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::write(folder.path().join("mine.toml"), SMALL).expect("a writable folder");
    let said = |run: &str, flags: &[&str]| {
        let train = ["train", "mine.toml", "--run-dir", run];
        let output = stearin(folder.path(), &[&train, flags].concat());
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        assert!(stdout(&output).is_empty(), "stdout is data");
        let log = fs::read_to_string(folder.path().join(run).join("log.txt")).expect("a log");
        (stderr(&output), log)
    };
    let (normal, kept) = said("normal", &[]);
    assert!(normal.contains("sft step 1/4") && normal.contains("held-out accuracy"), "{normal}");
    assert_eq!(normal, kept);
    assert!(!normal.contains("update_actor"), "{normal}");
    let (verbose, kept) = said("verbose", &["-v"]);
    assert!(verbose.contains("rl step 3/4") && verbose.contains("\n  gen "), "{verbose}");
    assert!(verbose.contains("update_actor "), "{verbose}");
    assert_eq!(verbose, kept);
    let (quiet, kept) = said("quiet", &["--quiet"]);
    let is_warning = |line: &&str| line.starts_with("warning: ") || line.starts_with("  ");
    let rest: Vec<_> = quiet.lines().filter(|line| !is_warning(line)).collect();
    assert_eq!(rest.len(), 1, "{quiet}");
    assert!(rest[0].starts_with("quiet finished: 4 of 4 steps, held-out accuracy "), "{quiet}");
    assert!(kept.contains("sft step 1/4") && kept.contains("sample --model"), "{kept}");
    let both = stearin(folder.path(), &["train", "mine.toml", "-q", "-v"]);
    assert_eq!(both.status.code(), Some(2));
}

#[test]
fn counts_beyond_any_memory_are_refused_by_their_names() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let model = ["--model", "builtin:atom"];
    for (command, words) in [
        (
            &["sample", "1+1", "-n", "1099511627776"][..],
            "'-n <N>': expected a whole number, 1 or more",
        ),
        (&["bench", "step", "--group", "1099511627776"], "'--group <N>': expected a whole number"),
        (&["bench", "train", "--batch", "16777217"], "'--batch <N>': expected a whole number"),
        (&["bench", "decode", "--reps", "1099511627776"], "'--reps <N>': expected a whole number"),
        (
            &["bench", "decode", "--prompts", "16777216", "--group", "2"],
            "at most 16777216 sequences",
        ),
        (&["bench", "train", "--batch", "16777216", "--seq", "65"], "at most 1073741824 tokens"),
    ] {
        let output = stearin(folder.path(), &[command, model.as_slice()].concat());
        assert_eq!(output.status.code(), Some(2), "{command:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(words), "{command:?}: {}", stderr(&output));
    }
    for (setting, words) in [
        (
            "eval.samples=1099511627776",
            "eval.samples: expected at most 16777216 completions, got 1099511627776",
        ),
        ("eval.samples=16777216", "eval.samples: expected at most 16777216 completions in an"),
        (
            "stage.rl.probe={every=1,problems=1099511627776,group_size=2}",
            "stage.1.probe.group_size: expected problems * group_size of at most 16777216",
        ),
        (
            "stage.rl.dynamic_sampling={gen_batch=1099511627776}",
            "stage.1.dynamic_sampling.gen_batch: expected gen_batch * group_size of at most",
        ),
        (
            "stage.rl.rewards=[{kind=\"process\",command=[\"sh\"],workers=1099511627776}]",
            "workers: expected at most 1024, got 1099511627776",
        ),
        (
            "stage.rl.rewards=[{kind=\"http\",url=\"http://a\",concurrency=1025}]",
            "concurrency: expected at most 1024, got 1025",
        ),
        (
            "data.train={kind=\"countdown\",count=1099511627776}",
            "count: expected 1 to 4194304, got 1099511627776",
        ),
    ] {
        refused(SMALL, &[], &["--set", setting], &[words]);
    }
}

#[test]
fn bench_prints_one_line_of_json() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for what in ["decode", "train", "step"] {
        let shape = ["--group", "2", "--new", "3", "--prompt-tokens", "4", "--batch", "2"];
        let rest = ["--seq", "8", "--threads", "1", "--reps", "1", "--model", "builtin:atom"];
        let arguments = [&["bench", what], shape.as_slice(), rest.as_slice()].concat();
        let output = stearin(folder.path(), &arguments);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        let line: serde_json::Value = serde_json::from_str(&stdout(&output)).expect("one object");
        for key in ["what", "model", "dtype", "threads", "s_per_step", "tok_per_s"] {
            assert!(!line[key].is_null(), "{key} in {line}");
        }
        assert_eq!(line["what"], what);
        // A step samples and trains: on a CPU the two agree exactly.
        let gap = (what == "step").then_some(0.0);
        assert_eq!(line["log_prob_gap_mean"].as_f64(), gap, "{line}");
        assert_eq!(line["log_prob_gap_max"].as_f64(), gap, "{line}");
    }
}

#[test]
fn small_commands_say_what_they_are_asked() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let schema = stearin(folder.path(), &["schema"]);
    fs::write(folder.path().join("schema.json"), &schema.stdout).expect("a writable folder");
    let check = |text: &str| {
        fs::write(folder.path().join("other.json"), text).expect("a writable folder");
        stearin(folder.path(), &["schema", "--check", "other.json"]).status.code()
    };
    assert_eq!(check(&stdout(&schema)), Some(0));
    assert_eq!(check("{}"), Some(2));
    assert!(stdout(&stearin(folder.path(), &["recipes"])).starts_with("quickstart "));
    let printed = stdout(&stearin(folder.path(), &["recipes", "quickstart"]));
    assert!(printed.starts_with("#:schema"), "{printed}");
    let doctor = stearin(folder.path(), &["doctor"]);
    assert_eq!(doctor.status.code(), Some(0), "{}", stdout(&doctor));
    assert!(stdout(&doctor).contains("finite differences"));
}

/// Grades rows and returns the output and what was said besides.
fn graded(rows: &str, arguments: &[&str]) -> (Option<i32>, String, String) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::write(folder.path().join("rows.jsonl"), rows).expect("a writable folder");
    let output = stearin(folder.path(), &[&["grade", "rows.jsonl"], arguments].concat());
    (output.status.code(), stdout(&output), stderr(&output))
}

#[test]
fn grading_has_one_line_a_row_in_order_and_totals_besides() {
    let rows = concat!(
        r#"{"id":"x","gold":"1/2","prediction":"so \\boxed{0.5}","as":"response","level":1}"#,
        "\n\n",
        r#"{"gold":"204","prediction":"205","as":"answer"}"#,
        "\n",
        r#"{"id":9,"gold":"204","prediction":"Answer: 204","as":"response"}"#,
    );
    let (code, out, said) = graded(rows, &[]);
    assert_eq!(code, Some(0), "{said}");
    let lines: Vec<serde_json::Value> =
        out.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect();
    let field = |name: &str| lines.iter().map(|line| line[name].clone()).collect::<Vec<_>>();
    assert_eq!(field("id"), ["x".into(), 3.into(), serde_json::Value::from(9)]);
    assert_eq!(field("verdict"), ["correct", "wrong", "no-answer"]);
    assert_eq!((lines[0]["answer"].as_str(), lines[1].get("answer")), (Some("0.5"), None));
    assert!(lines[0].get("why").is_none() && lines[2]["why"].is_string());
    assert!(
        said.starts_with("math, strictness rl, marker boxed: 3 rows: 1 correct (33.3 %), 1 wrong"),
        "{said}"
    );
    // `--mode` is the former name.
    for arguments in
        [&["--marker", "answer-line"][..], &["--strictness", "eval"], &["--mode", "eval"]]
    {
        let (_, out, said) = graded(rows, arguments);
        assert_eq!(out.lines().last(), Some(r#"{"id":9,"verdict":"correct","answer":"204"}"#));
        assert!(said.contains("correct"), "{said}");
    }
}

#[test]
fn a_bad_row_is_named_and_nothing_is_graded() {
    let good = r#"{"gold":"1","prediction":"1","as":"answer"}"#;
    for (row, words) in [
        ("{\"gold\":", ["line 2", "not closed"]),
        (r#"{"gold":"1","as":"answer"}"#, ["line 2", "`prediction`"]),
        (r#"{"gold":"1","prediction":"1","as":"x"}"#, ["line 2", "`as`"]),
    ] {
        let (code, out, said) = graded(&format!("{good}\n{row}\n"), &[]);
        assert_eq!((code, out.as_str()), (Some(2), ""));
        assert!(
            said.contains("rows.jsonl") && words.iter().all(|word| said.contains(word)),
            "{said}"
        );
    }
    assert_eq!(graded("", &[]).0, Some(2));
    assert_eq!(graded(good, &["--mode", "lax"]).0, Some(2));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let output = stearin(folder.path(), &["grade", "none.jsonl"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("none.jsonl"));
}

#[test]
fn one_pair_is_explained() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let explained = |arguments: &[&str]| {
        let output = stearin(folder.path(), &[&["grade", "--explain"], arguments].concat());
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        stdout(&output)
    };
    let said = explained(&["-1/2", r"so \boxed{-0.5}"]);
    for word in ["a response", "`-0.5`", "gold", "verdict   correct"] {
        assert!(said.contains(word), "{said}");
    }
    let said = explained(&["204", "203, 204", "--strictness", "eval"]);
    for word in ["a response", "several values", "verdict   wrong"] {
        assert!(said.contains(word), "{said}");
    }
    // as a row with `as` "response" is judged
    let said = explained(&["204", "the answer is 204", "--strictness", "eval"]);
    assert!(said.contains("`204`") && said.contains("verdict   correct"), "{said}");
    // what is marked nowhere is a bare answer, unless it is said to be a response
    let said = explained(&["204", "204"]);
    assert!(said.contains("a bare answer") && said.contains("verdict   correct"), "{said}");
    let said = explained(&["204", "204", "--as", "response"]);
    assert!(said.contains("a response\n") && said.contains("verdict   no-answer"), "{said}");
    let said = explained(&["204", "the answer is 204", "--strictness", "eval", "--as", "answer"]);
    assert!(said.contains("verdict   wrong"), "{said}");
    let output = stearin(folder.path(), &["grade", "--explain", "204"]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(stearin(folder.path(), &["grade"]).status.code(), Some(2));
}

#[test]
fn grading_is_measured() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let row = r#"{"id":"a","gold":"1","prediction":"1","as":"answer"}"#;
    fs::write(folder.path().join("rows.jsonl"), row).expect("a writable folder");
    let output = stearin(folder.path(), &["bench", "grade", "rows.jsonl", "--reps", "1"]);
    let report: serde_json::Value =
        serde_json::from_str(&stdout(&output)).expect("one line of JSON");
    assert_eq!((&report["what"], &report["worst"]), (&"grade".into(), &"a".into()));
    for key in ["median_us", "p99_us", "worst_us", "integer_pairs_per_min"] {
        assert!(report[key].as_f64().is_some_and(|value| value > 0.0), "{key}");
    }
}

/// A run's last checkpoint, with another chat template.
fn model_with(folder: &Path, template: &str) -> String {
    let checkpoints = folder.join("runs/mine/checkpoints");
    if !checkpoints.exists() {
        fs::write(folder.join("mine.toml"), SMALL).expect("a writable folder");
        let output = stearin(folder, &["train", "mine.toml"]);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    }
    let entries = fs::read_dir(&checkpoints).expect("the run has checkpoints");
    let paths = entries.map(|entry| entry.expect("a readable folder").path());
    let model = paths.max().expect("the run has a checkpoint");
    fs::write(model.join("chat_template.jinja"), template).expect("a writable folder");
    model.display().to_string()
}

#[test]
fn template_args_reach_the_template_in_every_command() {
    let temp = tempfile::tempdir().expect("a temporary folder");
    let folder = temp.path();
    // The template tells what it was given by refusing it.
    let model = model_with(folder, "{{ raise_exception('got ' ~ effort|default('nothing')) }}");
    let recipe = SMALL.replace("builtin:atom", &model);
    assert_ne!(recipe, SMALL);
    fs::write(folder.join("own.toml"), recipe).expect("a writable folder");
    let set = ["--set", "prompt.template_args.effort=\"high\""];
    for command in [
        [&["train", "own.toml"][..], &set].concat(),
        [&["train", "own.toml", "--dry-run"][..], &set].concat(),
        vec!["sample", "--model", &model, "--template-args", "{\"effort\": \"high\"}", "1+1"],
    ] {
        let output = stearin(folder, &command);
        assert_eq!(output.status.code(), Some(2), "{command:?}");
        assert!(stderr(&output).contains("got high"), "{}", stderr(&output));
    }
    let without = stearin(folder, &["sample", "--model", &model, "1+1"]);
    assert!(stderr(&without).contains("got nothing"), "{}", stderr(&without));
    // An argument that no template reads is said, not refused.
    let model = model_with(folder, "{{ messages[0].content }}");
    let args = ["--template-args", "{\"effort\": 1}", "--max-new-tokens", "2", "1+1"];
    let unread = stearin(folder, &[&["sample", "--model", &model][..], &args].concat());
    assert_eq!(unread.status.code(), Some(0), "{}", stderr(&unread));
    let note = "note: the chat template does not read `effort` of prompt.template_args";
    assert!(stderr(&unread).contains(note), "{}", stderr(&unread));
    for (json, words) in
        [("[1]", "expected a JSON object"), ("{\"messages\": 1}", "is the conversation")]
    {
        let output =
            stearin(folder, &["sample", "--model", &model, "--template-args", json, "1+1"]);
        assert_eq!(output.status.code(), Some(2), "{json}");
        assert!(stderr(&output).contains(words), "{}", stderr(&output));
    }
}

#[test]
fn a_broken_template_stops_only_those_who_use_it() {
    let temp = tempfile::tempdir().expect("a temporary folder");
    let folder = temp.path();
    let model = model_with(folder, "fine\n{% if %}");
    let sample = ["sample", "--model", &model, "--max-new-tokens", "2"];
    let plain = stearin(folder, &[&sample[..], &["--plain", "1+1"]].concat());
    assert_eq!(plain.status.code(), Some(0), "{}", stderr(&plain));
    let chat = stearin(folder, &[&sample[..], &["1+1"]].concat());
    assert_eq!(chat.status.code(), Some(2));
    let place = format!("chat template in {model}/chat_template.jinja line 2: ");
    assert!(stderr(&chat).contains(&place), "{}", stderr(&chat));
}
