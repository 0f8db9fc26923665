//! What is held out: its problems, when it is evaluated, and what is kept of that.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;

use evals::run::Summary;
use evals::run::results::read;
use recipes::config::Recipe;
use recipes::run_dir::checkpoints;
use serde_json::{Value, json};

use crate::binary::{stderr, stearin};
use crate::runs::{RECIPE, Run, assert_equal};

/// One step on two files, without a verifier that reads columns.
const FILES: &str = r#"
model = { path = "builtin:atom" }
prompt = { template = { kind = "none" } }
[data]
train = { kind = "jsonl", path = "rows.jsonl" }
held_out = { kind = "jsonl", path = "held.jsonl" }
[eval]
sampling = { max_new_tokens = 4 }
[[stage]]
kind = "sft"
steps = 1
batch = 1
schedule = { kind = "constant", lr = 1e-3 }
"#;

fn write(folder: &Path, name: &str, rows: &[Value]) {
    let lines: Vec<_> = rows.iter().map(|row| format!("{row}\n")).collect();
    fs::write(folder.join(name), lines.concat()).unwrap();
}

fn row(id: &str, problem: &str) -> Value {
    json!({"id": id, "problem": problem, "answer": "1", "source": "x", "solution": "1"})
}

/// A folder with a recipe, rows to train on, and rows held out.
fn place(rows: &[Value], held_out: &[Value]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("mine.toml"), FILES).unwrap();
    write(folder.path(), "rows.jsonl", rows);
    write(folder.path(), "held.jsonl", held_out);
    folder
}

fn summary(path: &Path) -> Summary {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

#[test]
fn near_copies_of_held_out_problems_are_not_trained_on() {
    let rows = ["What is 2 + 3?", "what is $2+3$", "WHAT IS 23", "Find 1,000 + 1.", "Find 5"];
    let rows: Vec<_> = rows.iter().map(|text| row(text, text)).collect();
    let folder = place(&rows, &[row("h", "What is  2+3"), row("i", "find 1000+1")]);
    let output = stearin(folder.path(), &["train", "mine.toml"]);
    let said = stderr(&output);
    assert!(output.status.success(), "{said}");
    assert!(
        said.contains("3 rows are not trained on: they ask what held-out problems do"),
        "{said}"
    );
    // A named set counts as well, and so does data of a stage.
    let named = FILES
        .replace("held_out = {", "held_out = { kind = \"jsonl\", path = \"x.jsonl\" }\n#")
        + "data.train = { kind = \"jsonl\", path = \"rows.jsonl\" }\n"
        + "[[eval.set]]\nname = \"a\"\ndata = { kind = \"jsonl\", path = \"held.jsonl\" }\n";
    fs::write(folder.path().join("named.toml"), named).unwrap();
    write(folder.path(), "x.jsonl", &[row("x", "Another")]);
    let output = stearin(folder.path(), &["train", "named.toml"]);
    let said = stderr(&output);
    assert!(output.status.success(), "{said}");
    assert!(
        said.contains("6 rows are not trained on: they ask what held-out problems do"),
        "{said}"
    );
}

#[test]
fn the_limit_of_training_prompts_takes_no_held_out_problem() {
    let (short, long) = (row("s", "1+1"), row("l", "1+2+3+4+5"));
    let folder = place(&[short.clone(), row("t", "9+9+9+9+9+9")], &[row("h", "2+3"), long]);
    let output =
        stearin(folder.path(), &["train", "mine.toml", "--set", "data.max_prompt_tokens=4"]);
    let said = stderr(&output);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("data.train: dropped 1 of 2 problems"), "{said}");
    assert!(!said.contains("data.held_out: dropped"), "{said}");
    let found = summary(&folder.path().join("runs/mine/evals/step-000001/held-out.json"));
    assert_eq!((found.asked, found.problems + found.unjudged), (2, 2));
    // One beyond the context is named, in a dry run too.
    write(folder.path(), "held.jsonl", &[row("h", "2+3"), row("beyond", &"1".repeat(512))]);
    for arguments in [&["--dry-run"][..], &["--run-dir", "other"]] {
        let output = stearin(folder.path(), &[&["train", "mine.toml"], arguments].concat());
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{said}");
        let expected =
            "data.held_out: prompts do not fit the model's context of 512 tokens: beyond";
        assert!(said.contains(expected) && said.contains("remove these problems"), "{said}");
    }
    // Of a split it is dropped, since nobody chose it.
    write(folder.path(), "rows.jsonl", &[short, row("a", "2+2"), row("beyond", &"1".repeat(512))]);
    let split = ["--set", "data.held_out={ kind = \"split\", count = 2 }", "--set", "data.seed=2"];
    let said = |seed: &str| {
        let mut split = split;
        split[3] = seed;
        let arguments = [&["train", "mine.toml", "--run-dir", seed], &split[..]].concat();
        stderr(&stearin(folder.path(), &arguments))
    };
    let dropped = "data.held_out: dropped 1 of 2 problems with prompts longer than the model's";
    let all: Vec<_> = (1..9).map(|seed| said(&format!("data.seed={seed}"))).collect();
    assert!(all.iter().any(|said| said.contains(dropped)), "{all:?}");
}

#[test]
fn levels_are_known_whether_or_not_a_verifier_reads_columns() {
    let mut held_out = vec![row("a", "2+3"), row("b", "3+3"), row("c", "4+3")];
    for (row, level) in held_out.iter_mut().zip([json!(1), json!(2), json!(1)]) {
        row["level"] = level;
        row["unused"] = json!({"much": "more"});
    }
    let folder = place(&[row("t", "1+1")], &held_out);
    let output = stearin(folder.path(), &["train", "mine.toml"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let root = folder.path().join("runs/mine/evals/step-000001");
    let found = summary(&root.join("held-out.json"));
    let counts: Vec<_> =
        found.by_level.iter().map(|(k, part)| (k.as_str(), part.problems)).collect();
    assert_eq!(counts, [("1", 2), ("2", 1)]);
    let lines = read(&root.join("held-out.jsonl")).unwrap().0;
    assert_eq!(lines[1].level.as_deref(), Some("2"));
}

/// The small recipe with a second set, whose greedy completions are judged as well.
fn with_greedy(best: &str) -> String {
    let set = "[[eval.set]]\nname = \"sums\"\nsamples = 2\ngreedy = true\n\
               data = { kind = \"arithmetic\", count = 5, min_digits = 1, max_digits = 2, \
               operations = [\"+\"] }\n";
    assert!(RECIPE.contains("keep = 2\n"));
    RECIPE
        .replace("[record]", &format!("{set}[record]"))
        .replace("keep = 2\n", &format!("keep = 2\nbest = {best}\n"))
}

#[test]
fn greedy_completions_may_decide_which_checkpoint_is_best() {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path().join("run");
    let recipe = with_greedy("{ set = \"sums-greedy\", figure = \"reward\" }");
    Run { recipe: &recipe, ..Run::new(&root) }.train().unwrap();
    let last = checkpoints(&root).unwrap().pop().unwrap().state;
    let found = summary(&root.join("evals/step-000006/sums-greedy.json"));
    let score = last.score.unwrap();
    assert_eq!((score.set.as_str(), score.figure.as_str()), ("sums-greedy", "reward"));
    assert!((score.value - found.reward).abs() < 1e-12);
    // A set that is there is not passed over for the first one.
    let by = |best: &str| Recipe::parse("r", &with_greedy(best)).map(|recipe| recipe.best_by());
    assert_eq!(by("{ set = \"sums-greedy\" }").unwrap().unwrap().set, "sums-greedy");
    assert_eq!(by("{}").unwrap().unwrap().set, "held-out");
    for (best, words) in [
        ("{ set = \"sums-greedy\", figure = \"pass@2\" }", "the set `sums-greedy` has no pass@2"),
        ("{ set = \"sums-greedy\", figure = \"greedy\" }", "there are `avg` and `reward`"),
        ("{ set = \"held-out-greedy\" }", "checkpoint.best.set: there is no set `held-out-greedy`"),
    ] {
        let error = by(best).unwrap_err().to_string();
        assert!(error.contains(words), "{best}: {error}");
    }
}

#[test]
fn without_samples_no_text_of_an_evaluation_is_kept() {
    let temp = tempfile::tempdir().unwrap();
    for (groups, kept) in [("\"off\"", false), ("2", true)] {
        let root = temp.path().join(kept.to_string());
        let recipe = with_greedy("\"off\"").replace("groups = 2", &format!("groups = {groups}"));
        Run { recipe: &recipe, ..Run::new(&root) }.train().unwrap();
        for set in ["held-out", "sums", "sums-greedy"] {
            let path = root.join(format!("evals/step-000006/{set}.json"));
            assert_eq!(!summary(&path).shown.is_empty(), kept, "{set}");
            let lines = read(&path.with_extension("jsonl")).unwrap().0;
            assert!(lines.iter().all(|line| line.texts.is_empty() != kept), "{set}");
        }
    }
}

/// The steps after which a set was evaluated.
fn evaluated(root: &Path, set: &str) -> Vec<u64> {
    let mut steps: Vec<u64> = (0..=6).collect();
    steps.retain(|step| root.join(format!("evals/step-{step:06}/{set}.json")).exists());
    steps
}

#[test]
fn every_set_is_evaluated_at_its_own_steps() {
    let temp = tempfile::tempdir().unwrap();
    let with = |eval: &str, set: &str| {
        let recipe = with_greedy("{ set = \"sums\" }").replace("keep = 2", "keep = 9");
        recipe
            .replace("every = 2\n", &format!("{eval}\n"))
            .replace("samples = 2\n", &format!("samples = 2\n{set}\n"))
    };
    let cases: [(&str, &str, &[u64], &[u64]); 5] = [
        ("every = 2", "every = 3", &[0, 2, 4, 6], &[0, 2, 3, 6]),
        ("every = 2\nat_start = false", "every = 3", &[2, 4, 6], &[2, 3, 6]),
        ("every = 4\nat_end = false", "every = 3", &[0, 4], &[0, 3, 6]),
        ("every = 4", "every = \"off\"", &[0, 2, 4, 6], &[0, 2, 6]),
        ("every = 4\nat_start = false\nat_end = false", "", &[4], &[4]),
    ];
    for (at, (eval, set, held_out, sums)) in cases.into_iter().enumerate() {
        let (root, broken) =
            (temp.path().join(format!("{at}")), temp.path().join(format!("b{at}")));
        let text = with(eval, set);
        Run { recipe: &text, ..Run::new(&root) }.train().unwrap();
        assert_eq!(evaluated(&root, "held-out"), held_out, "{eval}");
        assert_eq!(evaluated(&root, "sums"), sums, "{eval}");
        assert_eq!(evaluated(&root, "sums-greedy"), sums, "{eval}");
        let recipe = Recipe::parse("r", &text).unwrap();
        let counts: Vec<_> = recipe.held_out_sets().iter().map(|s| recipe.evaluations(s)).collect();
        assert_eq!(counts, [held_out.len() as u64, sums.len() as u64], "{eval}");
        // Only what was evaluated on the set is compared.
        let saved = checkpoints(&root).unwrap();
        let scored = saved.iter().filter(|saved| saved.state.score.is_some());
        let scored: Vec<_> = scored.map(|saved| saved.state.step).collect();
        let after: Vec<_> = sums.iter().copied().filter(|step| *step > 0).collect();
        assert_eq!((scored, saved.len()), (after, 6), "{eval}");
        Run { recipe: &text, one_step: true, ..Run::new(&broken) }.train().unwrap();
        Run { recipe: &text, ..Run::resumed(&broken) }.train().unwrap();
        assert_equal(&root, &broken);
    }
    // Nothing decides where the set is evaluated after no step.
    let never = "every = 4\nat_end = false";
    let error = Recipe::parse("r", &with(never, "every = \"off\"")).unwrap_err().to_string();
    assert!(error.contains("the set `sums` is evaluated after no step: give it"), "{error}");
    let by_default = with("at_end = false", "every = 1").replace("best = { set = \"sums\" }\n", "");
    assert_eq!(Recipe::parse("r", &by_default).unwrap().best_by(), None);
}

#[test]
fn the_best_checkpoint_is_the_best_of_those_that_its_set_was_evaluated_at() {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path().join("run");
    let best = "{ set = \"sums\", figure = \"reward\" }";
    let recipe = with_greedy(best)
        .replace("every = 2\n", "every = 1\n")
        .replace("samples = 2\n", "samples = 2\nevery = 2\n")
        .replace("every = 1\nkeep = 2", "every = 5\nkeep = 1");
    Run { recipe: &recipe, ..Run::new(&root) }.train().unwrap();
    assert_eq!(evaluated(&root, "held-out"), [0, 1, 2, 3, 4, 5, 6]);
    let steps = evaluated(&root, "sums");
    assert_eq!(steps, [0, 2, 4, 6]);
    let reward = |step: u64| summary(&root.join(format!("evals/step-{step:06}/sums.json"))).reward;
    let of = |a: u64, b: u64| if reward(b) > reward(a) { b } else { a };
    let best = steps[1..].iter().copied().reduce(of).unwrap();
    let kept: Vec<_> = checkpoints(&root).unwrap().iter().map(|saved| saved.state.step).collect();
    assert_eq!(kept, if best == 6 { vec![6] } else { vec![best, 6] });
}

#[test]
fn as_many_texts_are_kept_as_the_recipe_says() {
    let temp = tempfile::tempdir().unwrap();
    let mut figures = Vec::new();
    for (texts, kept) in [("4", 4), ("\"all\"", 6), ("\"off\"", 0)] {
        let root = temp.path().join(kept.to_string());
        let more = if kept == 4 { String::new() } else { format!("texts = {texts}\n") };
        let recipe = with_greedy("\"off\"")
            .replace("every = 2\n", &format!("every = 2\n{more}"))
            .replace("samples = 2\n", "samples = 6\n");
        assert_eq!(Recipe::parse("r", &recipe).unwrap().texts().min(6), kept);
        Run { recipe: &recipe, ..Run::new(&root) }.train().unwrap();
        let folder = root.join("evals/step-000006");
        let drawn = read(&folder.join("sums.jsonl")).unwrap().0;
        assert!(drawn.iter().all(|line| line.n == 6 && line.texts.len() == kept), "{texts}");
        // The greedy text is in one of the two files.
        assert!(drawn.iter().all(|line| line.greedy.as_ref().unwrap().text.is_none()));
        let greedy = read(&folder.join("sums-greedy.jsonl")).unwrap().0;
        assert!(greedy.iter().all(|line| line.texts.len() == kept.min(1)), "{texts}");
        let mut found = summary(&folder.join("sums.json"));
        assert_eq!(found.shown.is_empty(), kept == 0, "{texts}");
        found.shown.clear();
        figures.push(found);
    }
    assert!(figures.iter().all(|found| *found == figures[0]), "figures need no texts");
    for wrong in ["0", "\"some\"", "true"] {
        let recipe = RECIPE.replace("every = 2\n", &format!("every = 2\ntexts = {wrong}\n"));
        let error = Recipe::parse("r", &recipe).unwrap_err().to_string();
        assert!(error.contains("expected \"all\", \"off\" or a number of texts"), "{error}");
    }
}
