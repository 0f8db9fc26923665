//! What a dry run says of a run, beside what the run does.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;

use recipes::config::Recipe;
use recipes::data::problems;
use recipes::dry_run::{Plan, ProblemStats, Prompts, Sizes};
use recipes::search_path::SearchPath;

use crate::runs::{RECIPE, Run};

fn plan(recipe: &Recipe) -> Plan {
    let search_path = SearchPath::of_recipe(Path::new(""));
    let found = problems(recipe, &search_path).unwrap();
    let sizes = Sizes::of(recipe, &search_path).unwrap();
    let text = sizes.text.as_ref().unwrap();
    let lengths = found.train.iter().map(|one| recipe.prompt.tokens(text, one).unwrap().len());
    let known = ProblemStats::Problems {
        train: found.train.len(),
        held_out: found.judged_by().map(Vec::len).collect(),
        prompts: Some(Prompts::of(&lengths.collect::<Vec<_>>())),
    };
    Plan::new(recipe, &sizes, known, 1).unwrap()
}

/// Bytes of all files below a folder.
fn bytes(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path());
    entries
        .map(|path| if path.is_dir() { bytes(&path) } else { path.metadata().unwrap().len() })
        .sum()
}

#[test]
fn samples_tokens_and_evaluations_take_no_more_than_it_says() {
    let temp = tempfile::tempdir().unwrap();
    let more = RECIPE.replace("every = 2\n", "every = 1\nsamples = 3\ngreedy = true\n");
    for (name, recipe) in [("small", RECIPE.to_owned()), ("judged", more)] {
        let root = temp.path().join(name);
        Run { recipe: &recipe, ..Run::new(&root) }.train().unwrap();
        let written: u64 =
            ["samples", "tokens", "evals"].iter().map(|part| bytes(&root.join(part))).sum();
        let recipe = Recipe::parse(name, &recipe).unwrap();
        let said = plan(&recipe).recorded;
        assert!(written <= said, "{name}: {written} bytes, said at most {said}");
        assert!(said < 6 * written, "{name}: {written} bytes, said at most {said}");
    }
}

#[test]
fn a_run_without_held_out_sets_says_so() {
    let start = RECIPE.find("held_out =").unwrap();
    let end = start + RECIPE[start..].find('\n').unwrap();
    let none = RECIPE.replace(&RECIPE[start..end], "").replace("every = 2\n", "");
    let recipe = Recipe::parse("none", &none).unwrap();
    let said = plan(&recipe).to_string();
    assert!(said.contains("evaluation  none: there is neither"), "{said}");
    let best = "checkpoints  the newest 2; no best one, for want of a set to choose it by";
    assert!(said.contains(best), "{said}");
    let with = plan(&Recipe::parse("small", RECIPE).unwrap()).to_string();
    assert!(with.contains("checkpoints  the newest 2 and the best by held-out accuracy"), "{with}");
}
