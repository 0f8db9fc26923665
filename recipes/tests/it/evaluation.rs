//! Held-out sets, the best checkpoint, and what an evaluation leaves.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::io;
use std::path::Path;

use evals::run::results::read;
use evals::run::{Folder, Sink, Summary, read_log};
use recipes::config::Recipe;
use recipes::policy::{self, ModelRef};
use recipes::run_dir::checkpoints;
use recipes::search_path::SearchPath;

use crate::runs::{RECIPE, Run, assert_equal, contents};

/// Summarys after a step, in the order of the steps.
fn evaluations(root: &Path, set: &str) -> Vec<Summary> {
    let mut folders: Vec<_> =
        fs::read_dir(root.join("evals")).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.sort();
    let read = |folder: &std::path::PathBuf| {
        let text = fs::read(folder.join(format!("{set}.json"))).unwrap();
        serde_json::from_slice::<Summary>(&text).unwrap()
    };
    folders.iter().map(read).filter(|evaluation| evaluation.step > 0).collect()
}

fn steps(root: &Path) -> Vec<u64> {
    checkpoints(root).unwrap().iter().map(|saved| saved.state.step).collect()
}

/// One stage of ten steps, judged and saved at steps that never meet before its end.
fn never_meeting(best: &str) -> String {
    let rl = RECIPE.find("[[stage]]\nkind = \"rl\"").unwrap();
    RECIPE[..rl]
        .replace("steps = 2", "steps = 10")
        .replace("every = 2\n", "every = 3\nsamples = 2\n")
        .replace("every = 1\nkeep = 2", &format!("every = 7\nkeep = 1\nbest = {best}"))
        .replace("lr = 3e-2", "lr = 1e-1")
        .replace(
            "[record]",
            "rewards = [{ kind = \"math\" }, { kind = \"length\", aim = { target = 3 } }]\n[record]",
        )
}

#[test]
fn the_best_checkpoint_is_saved_where_it_is_found() {
    let temp = tempfile::tempdir().unwrap();
    let mut on_the_way = false;
    for (best, metric) in [("{}", "avg"), ("{ figure = \"reward\" }", "reward")] {
        let root = temp.path().join(metric);
        Run { recipe: &never_meeting(best), ..Run::new(&root) }.train().unwrap();
        let found = evaluations(&root, "held-out");
        let of = |one: &Summary| if metric == "reward" { one.reward } else { one.accuracy };
        let judged: Vec<_> = found.iter().map(|one| one.step).collect();
        assert_eq!(judged, [3, 6, 9, 10]);
        let best = found.iter().reduce(|best, one| if of(one) > of(best) { one } else { best });
        let best = best.unwrap().step;
        let kept: Vec<u64> = if best == 10 { vec![10] } else { vec![best, 10] };
        assert_eq!(steps(&root), kept, "{metric}: {:?}", found.iter().map(of).collect::<Vec<_>>());
        let model_ref =
            policy::locate(&root.display().to_string(), &SearchPath::of_recipe(Path::new("")));
        let ModelRef::Path(path) = model_ref.unwrap() else { panic!("a run is a path") };
        assert!(path.ends_with(format!("checkpoints/step-{best:06}")), "{}", path.display());
        on_the_way |= best < 9;
    }
    assert!(on_the_way, "a best at no checkpoint's step was tried");
    // Negative control: without it nothing of those steps stays.
    let root = temp.path().join("off");
    Run { recipe: &never_meeting("\"off\""), ..Run::new(&root) }.train().unwrap();
    assert_eq!(steps(&root), [10]);
}

#[test]
fn another_set_may_decide_which_checkpoint_is_best() {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path().join("run");
    let best = "{ set = \"short\", figure = \"reward\" }";
    let recipe = with_sets(&never_meeting(best));
    Run { recipe: &recipe, ..Run::new(&root) }.train().unwrap();
    let found = evaluations(&root, "short");
    let best = found.iter().reduce(|a, b| if b.reward > a.reward { b } else { a }).unwrap().step;
    let saved = checkpoints(&root).unwrap();
    let kept = saved.iter().find(|saved| saved.state.step == best).unwrap();
    assert_eq!(kept.state.score.as_ref().unwrap().set, "short");
    let error =
        Recipe::parse("r", &recipe.replace("set = \"short\"", "set = \"shor\"")).unwrap_err();
    assert!(
        error.to_string().contains(
            "checkpoint.best.set: there is no set `shor`; there are held-out, short, short-greedy, \
             other"
        ),
        "{error}"
    );
}

fn with_sets(recipe: &str) -> String {
    let sets = r#"
        [[eval.set]]
        name = "short"
        data = { kind = "arithmetic", count = 4, min_digits = 2, max_digits = 2, operations = ["+"] }
        samples = 3
        greedy = true
        sampling = { temperature = 0.5 }
        rewards = [{ kind = "math" }, { kind = "length", aim = "short" }]

        [[eval.set]]
        name = "other"
        data = { kind = "arithmetic", count = 5, min_digits = 2, max_digits = 2, operations = ["-"] }
        prompt = { template = { kind = "plain", text = "{problem}" } }

        [record]"#;
    recipe.replace("[record]", sets)
}

#[test]
fn named_sets_are_judged_by_their_own_settings_and_change_nothing_else() {
    let temp = tempfile::tempdir().unwrap();
    let (plain, root) = (temp.path().join("plain"), temp.path().join("sets"));
    Run::new(&plain).train().unwrap();
    Run { recipe: &with_sets(RECIPE), ..Run::new(&root) }.train().unwrap();
    let lines = read_log(&root.join("metrics.jsonl")).unwrap();
    for line in &lines {
        for key in ["short/acc/mean@3", "short-greedy/acc/mean@1", "other/acc/mean@1"] {
            let judged = line.step.is_multiple_of(2);
            assert_eq!(line.number(&format!("val-core/{key}")).is_some(), judged, "{key}");
        }
    }
    for (set, problems, samples) in [("short", 4, 3), ("short-greedy", 4, 1), ("other", 5, 1)] {
        for step in [0, 2, 4, 6] {
            let path = root.join(format!("evals/step-{step:06}/{set}.jsonl"));
            let results = read(&path).unwrap().0;
            assert_eq!(results.len(), problems, "{set}");
            assert!(results.iter().all(|one| one.n == samples && one.texts.len() == samples));
        }
    }
    let [short, other] = ["short", "other"].map(|set| evaluations(&root, set).pop().unwrap());
    let last = lines.last().unwrap();
    assert_eq!(last.number("val-aux/short/maj@2"), Some(short.maj[&2].mean));
    let greedy = short.greedy.unwrap().mean;
    assert_eq!(last.number("val-aux/short/greedy"), Some(greedy));
    assert_eq!(last.number("val-core/short-greedy/acc/mean@1"), Some(greedy));
    assert_eq!((other.maj.len(), other.greedy), (0, None));
    assert_eq!((short.sampling.temperature, other.sampling.temperature), (0.5, 1.0));
    assert!(short.reward < short.accuracy, "length is judged, too");
    // What is trained, and what `held-out` says, is what it was without them.
    let (plain, sets) = (contents(&plain), contents(&root));
    let same =
        |file: &&String| file.ends_with("held-out.json") || file.ends_with("model.safetensors");
    let files: Vec<_> = plain.keys().filter(same).collect();
    assert!(files.len() > 6);
    assert!(files.iter().all(|file| plain[*file] == sets[*file]));
}

/// The small recipe without `data.held_out`, and `more` in place of what it says of evaluations.
fn without_held_out(more: &str) -> String {
    let held_out = "held_out = { kind = \"split\", count = 6 }\n";
    assert!(RECIPE.contains(held_out));
    RECIPE.replace(held_out, "").replace("every = 2\n", more)
}

#[test]
fn a_run_may_have_no_held_out_set() {
    let temp = tempfile::tempdir().unwrap();
    let (whole, broken) = (temp.path().join("whole"), temp.path().join("broken"));
    let recipe = without_held_out("");
    Run { recipe: &recipe, ..Run::new(&whole) }.train().unwrap();
    assert!(!whole.join("evals").exists());
    let metrics = fs::read_to_string(whole.join("metrics.jsonl")).unwrap();
    assert_eq!(metrics.lines().count(), 6, "one a step");
    assert!(!metrics.contains("val-"), "{metrics}");
    assert_eq!(steps(&whole), [5, 6], "the newest, and no best");
    Run { recipe: &recipe, one_step: true, ..Run::new(&broken) }.train().unwrap();
    Run { recipe: &recipe, ..Run::resumed(&broken) }.train().unwrap();
    assert_equal(&whole, &broken);
    let best = recipe.replace("[checkpoint]\n", "[checkpoint]\nbest = { set = \"other\" }\n");
    for (recipe, words) in [
        (without_held_out("every = 2\n"), "eval.every: there is nothing to evaluate every 2 steps"),
        (best, "checkpoint.best.set: there is no set `other`; add `data.held_out` or an"),
    ] {
        let error = Recipe::parse("r", &recipe).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn without_held_out_the_first_named_set_says_which_checkpoint_is_best() {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path().join("run");
    let recipe = with_sets(&without_held_out("every = 2\n"));
    Run { recipe: &recipe, ..Run::new(&root) }.train().unwrap();
    assert!(!root.join("evals/step-000002/held-out.json").exists());
    assert_eq!(evaluations(&root, "short").len(), 3);
    let saved = checkpoints(&root).unwrap();
    let last = saved.last().unwrap().state.score.clone().unwrap();
    assert_eq!((last.set.as_str(), last.figure.as_str()), ("short", "avg"));
}

#[test]
fn a_set_of_several_sources_has_the_accuracy_of_each() {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path().join("run");
    let source = "{ kind = \"arithmetic\", count = 60, min_digits = 1, max_digits = 1, \
                  operations = [\"+\"] }";
    assert!(RECIPE.contains(source));
    let own = |name: &str, sign: &str| {
        let source = source.replace("{ kind", &format!("{{ name = \"{name}\", kind"));
        source.replace("\"+\"", &format!("\"{sign}\"")).replace("60", "30")
    };
    let both = format!("[{}, {}]", own("sums", "+"), own("the rest", "-"));
    let recipe = RECIPE.replace(source, &both).replace("count = 6 }", "count = 20 }");
    Run { recipe: &recipe, ..Run::new(&root) }.train().unwrap();
    let found = evaluations(&root, "held-out").pop().unwrap();
    let names: Vec<_> = found.by_source.keys().map(String::as_str).collect();
    assert_eq!(names, ["sums", "the rest"]);
    let problems: usize = found.by_source.values().map(|one| one.problems).sum();
    assert_eq!(problems, found.problems);
    let each = found.by_source.values().map(|one| one.accuracy.mean * one.problems as f64);
    assert!((each.sum::<f64>() - found.accuracy * 20.0).abs() < 1e-9);
    let last = read_log(&root.join("metrics.jsonl")).unwrap().pop().unwrap();
    for (one, key) in found.by_source.values().zip(["sums", "the-rest"]) {
        let key = format!("val-core/held-out/{key}/acc/mean@1");
        assert_eq!(last.number(&key), Some(one.accuracy.mean), "{key}");
    }
    let log = fs::read_to_string(root.join("log.txt")).unwrap();
    assert!(log.contains("\n  by source: sums "), "{log}");
}

/// A disk that is full once a file has been appended to so often.
#[derive(Debug)]
struct Stops {
    file: String,
    left: usize,
    folder: Folder,
}

impl Sink for Stops {
    fn append(&mut self, file: &str, bytes: &[u8]) -> io::Result<()> {
        if file == self.file {
            self.left = self.left.checked_sub(1).ok_or(io::ErrorKind::StorageFull)?;
        }
        self.folder.append(file, bytes)
    }

    fn replace(&mut self, file: &str, bytes: &[u8]) -> io::Result<()> {
        self.folder.replace(file, bytes)
    }

    fn remove(&mut self, file: &str) -> io::Result<()> {
        self.folder.remove(file)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.folder.sync()
    }
}

#[test]
fn an_evaluation_that_was_cut_off_leaves_its_problems_and_is_done_again() {
    let temp = tempfile::tempdir().unwrap();
    let whole = temp.path().join("whole");
    Run::new(&whole).train().unwrap();
    for step in [0, 4] {
        let root = temp.path().join(format!("cut-{step}"));
        let file = format!("evals/step-{step:06}/held-out.jsonl");
        let sink = Stops { file: file.clone(), left: 4, folder: Folder::new(&root) };
        let sink: Option<Box<dyn Sink>> = Some(Box::new(sink));
        let error = Run { sink, ..Run::new(&root) }.train().unwrap_err();
        assert!(format!("{error:#}").contains(&file), "{error:#}");
        assert_eq!(read(&root.join(&file)).unwrap().0.len(), 4, "what was judged is there");
        // A kill may tear the last line.
        let torn = fs::OpenOptions::new().append(true).open(root.join(&file));
        io::Write::write_all(&mut torn.unwrap(), b"{\"number\":4,\"id").unwrap();
        assert_eq!(read(&root.join(&file)).unwrap().0.len(), 4);
        Run::resumed(&root).train().unwrap();
        assert_equal(&whole, &root);
    }
}

const CHAT: &str = r#"
model = { path = "hf://org/name" }
[data]
train = { kind = "file", path = "train.jsonl" }
held_out = { kind = "split", count = 5 }
[[stage]]
kind = "rl"
steps = 1
batch = 2
group_size = 2
rollout = { max_new_tokens = 33, temperature = 0.7 }
schedule = { kind = "constant", lr = 1e-4 }
"#;

#[test]
fn a_prompt_asks_for_what_the_verifier_reads_unless_it_says_something_of_its_own() {
    let suffix = |more: &str| {
        let recipe = Recipe::parse("r", &format!("{more}\n{CHAT}")).unwrap();
        let again = Recipe::parse("r", &recipe.to_toml().unwrap()).unwrap();
        assert_eq!(again, recipe, "what is resolved reads back");
        recipe.prompt.suffix.unwrap()
    };
    assert_eq!(suffix(""), "\nPut your final answer within \\boxed{}.");
    assert_eq!(suffix("prompt.suffix = \"off\""), "");
    assert_eq!(suffix("prompt.suffix = \" Go.\""), " Go.");
    assert_eq!(suffix("prompt.system = \"Box it.\""), "");
    assert_eq!(suffix("prompt.template = { kind = \"none\" }"), "");
    let with = |from: &str, to: &str| {
        let recipe = Recipe::parse("r", &CHAT.replace(from, to)).unwrap();
        recipe.prompt.suffix.unwrap()
    };
    assert_eq!(with("hf://org/name", "builtin:atom"), "", "it reads no words");
    let rewards = |rewards: &str| with("[[stage]]\n", &format!("[[stage]]\nrewards = {rewards}\n"));
    assert!(rewards("[{ kind = \"gsm8k\" }]").contains("####"));
    assert_eq!(rewards("[{ kind = \"process\", command = [\"x\"] }]"), "");
}

#[test]
fn evaluation_takes_what_it_leaves_out_from_the_last_stage_that_samples() {
    let rewards = "rewards = [{ kind = \"gsm8k\" }, { kind = \"length\", aim = \"short\" }]\n";
    let text = CHAT.replace("[[stage]]\n", &format!("[[stage]]\n{rewards}"));
    let recipe = Recipe::parse("r", &text).unwrap();
    let sampling = &recipe.eval.sampling;
    assert_eq!((sampling.max_new_tokens.get(), sampling.temperature), (33, 0.7));
    assert_eq!(recipe.eval.rewards.0.len(), 2);
    let own = format!("eval.sampling.top_p = 0.5\neval.rewards = [{{ kind = \"math\" }}]\n{text}");
    let recipe = Recipe::parse("r", &own).unwrap();
    let sampling = &recipe.eval.sampling;
    assert_eq!((sampling.max_new_tokens.get(), sampling.top_p), (33, 0.5));
    assert_eq!(recipe.eval.rewards.0.len(), 1);
    let toml = recipe.to_toml().unwrap();
    assert!(
        toml.contains("[eval.sampling]\ntemperature = 0.7"),
        "the resolved recipe says so: {toml}"
    );
    // Sets take it from `[eval]`; the last of several stages counts, and one that learns does not.
    let sets = "[[eval.set]]\nname = \"a\"\ndata = { kind = \"file\", path = \"a.jsonl\" }\n\
                sampling = { max_new_tokens = 44 }\nprompt = { system = \"Box it.\" }\n";
    let stages = "[[stage]]\nkind = \"rl\"\nsteps = 1\nbatch = 2\ngroup_size = 2\n\
                  rollout = { max_new_tokens = 9 }\nschedule = { kind = \"constant\", lr = 1e-4 }\n\
                  [[stage]]\nkind = \"sft\"\nsteps = 1\nbatch = 2\n\
                  schedule = { kind = \"constant\", lr = 1e-4 }\n";
    let recipe = Recipe::parse("r", &format!("{text}{stages}{sets}")).unwrap();
    assert_eq!(recipe.eval.sampling.max_new_tokens.get(), 9);
    let set = &recipe.eval.sets[0];
    assert_eq!((set.sampling.max_new_tokens.get(), set.rewards.0.len()), (44, 1));
    assert_eq!(set.prompt.suffix.as_deref(), Some(""), "its own system prompt asks");
    assert_eq!(Recipe::parse("r", &recipe.to_toml().unwrap()).unwrap(), recipe);
}

#[test]
fn sets_that_cannot_be_told_apart_are_refused() {
    let set = |name: &str| {
        format!(
            "[[eval.set]]\nname = \"{name}\"\ndata = {{ kind = \"file\", path = \"a.jsonl\" }}\n"
        )
    };
    for (sets, words) in [
        (set("held-out"), "eval.set.0.name: `held-out` is another set's name, too"),
        (set("a") + &set("a"), "eval.set.1.name: `a` is another set's name, too"),
        (set("a/b"), "eval.set.0.name: `a/b` becomes a file"),
        (set(&"x".repeat(201)), "eval.set.0.name: expected at most 200 bytes"),
        (
            set("a") + "samples = 2\nsampling = { temperature = 0 }\n",
            "eval.set.0.samples: 2 greedy",
        ),
        (set("a") + "smaples = 2\n", "unknown key `smaples`"),
        (set("a") + "bench = \"aime24\"\n", "eval.set.0: expected `bench` or `data`, got both"),
        ("[[eval.set]]\nname = \"a\"\n".into(), "expected `bench` or `data`, got neither"),
        ("[[eval.set]]\nbench = \"aime42\"\n".into(), "did you mean `aime24`?"),
    ] {
        let error = Recipe::parse("r", &format!("{CHAT}{sets}")).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
    let best = |best: &str, set: &str| {
        let set = format!(
            "[[eval.set]]\nname = \"a\"\ndata = {{ kind = \"file\", path = \"a\" }}\n{set}"
        );
        let text = format!("checkpoint.best = {{ set = \"a\", {best} }}\n{CHAT}{set}");
        Recipe::parse("r", &text).map_err(|error| error.to_string())
    };
    for (figure, set, words) in [
        (
            "figure = \"maj@4\"",
            "samples = 2",
            "has no maj@4: of `samples = 2` the values of K are 2",
        ),
        ("figure = \"pass@3\"", "samples = 4", "the values of K are 2, 4"),
        ("figure = \"greedy\"", "", "has no greedy: it needs `greedy = true`"),
        ("figure = \"accuracy\"", "", "expected \"avg\", \"pass@K\""),
        (
            "metric = \"avg\"",
            "",
            "unknown key `metric` in `checkpoint.best`, expected `set` or `figure`",
        ),
    ] {
        let error = best(figure, set).unwrap_err();
        assert!(error.contains(words), "{figure}: {error}");
    }
    let fine = best("figure = \"maj@4\"", "samples = 4").unwrap();
    assert_eq!(Recipe::parse("r", &fine.to_toml().unwrap()).unwrap(), fine);
    let error = Recipe::parse("r", &format!("checkpoint.best = {{ stet = 1 }}\n{CHAT}"));
    let error = error.unwrap_err().to_string();
    assert!(error.contains("unknown key `stet`") && error.contains("`set`"), "{error}");
}

#[test]
fn a_benchmark_is_a_set_by_its_name() {
    let bench = "[[eval.set]]\nbench = \"aime24\"\nlimit = 3\nprompt = { suffix = \" Go.\" }\n";
    let recipe = Recipe::parse("r", &format!("{CHAT}{bench}")).unwrap();
    let set = &recipe.eval.sets[0];
    assert_eq!((set.name.as_str(), set.bench.as_deref()), ("aime24", Some("aime24")));
    assert_eq!(Recipe::parse("r", &recipe.to_toml().unwrap()).unwrap(), recipe);
    let Some(folder) = std::env::var_os("STEARIN_DATA").map(std::path::PathBuf::from) else {
        println!("skipped: set STEARIN_DATA to a folder with aime24.jsonl");
        return;
    };
    if !folder.join("aime24.jsonl").is_file() {
        println!("skipped: STEARIN_DATA has no aime24.jsonl");
        return;
    }
    let text = RECIPE.replace("[record]", &format!("{bench}[record]"));
    let recipe = Recipe::parse("r", &text).unwrap();
    let search_path = SearchPath::of_recipe(Path::new(""));
    let found = recipes::data::problems(&recipe, &search_path).unwrap();
    assert_eq!(found.sets[0].len(), 3);
    assert!(found.files.0.keys().any(|key| key.contains("aime24")), "{:?}", found.files);
}
