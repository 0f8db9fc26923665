//! What the KL terms of a stage look back at: the kinds of references, in runs, plans and messages.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;

use candle::{DType, Device};
use engine::Adapter;
use evals::run::read_log;
use recipes::builtin::Builtin;
use recipes::config::Recipe;
use recipes::console::Console;
use recipes::dry_run::{Plan, ProblemStats, Sizes};
use recipes::policy::Policies;
use recipes::search_path::SearchPath;
use recipes::train::Ended;

use crate::adapters::{folder, json, on, recipe as adapted, refused, trained};
use crate::config::{PLAIN, read, told};
use crate::going_back::{begin, steps};
use crate::runs::{RECIPE, Run, assert_equal};

pub(crate) const EMA: &str = "{ kind = \"ema\", decay = 0.75, every = 1 }";

/// A small recipe whose stage of reinforcement learning looks back at this.
pub(crate) fn looking_at(recipe: &str, reference: &str) -> String {
    let kl = "loss = { kl = { kind = \"k3\" } }";
    assert!(recipe.contains(kl));
    recipe.replace(kl, &format!("reference = {reference}\n{kl}"))
}

/// [`looking_at`] an adapter that the recipe names.
pub(crate) fn naming(from: &Path) -> String {
    let own = "adapter = { kind = \"lora\", rank = 4, alpha = 8.0 }";
    let from = from.display().to_string();
    let named = format!("{own}, adapters = {{ earlier = {{ from = {from:?} }} }}");
    let text = looking_at(&adapted(), "{ kind = \"adapter\", name = \"earlier\" }");
    assert!(text.contains(own));
    text.replace(own, &named)
}

fn values(root: &Path, key: &str) -> Vec<f64> {
    let lines = read_log(&root.join("metrics.jsonl")).unwrap();
    lines.iter().filter_map(|line| line.number(key)).collect()
}

fn kl(root: &Path) -> Vec<f64> {
    values(root, "actor/kl_loss")
}

#[test]
fn the_divergence_of_the_first_step_is_zero_from_the_start_and_from_an_average_only() {
    let temp = tempfile::tempdir().unwrap();
    let first = temp.path().join("first");
    trained(&first, &adapted());
    let run = |name: &str, recipe: &str| {
        let root = temp.path().join(name);
        trained(&root, recipe);
        let kl = kl(&root);
        assert_eq!(kl.len(), 4);
        assert!(kl[1..].iter().all(|kl| *kl > 0.0), "{name}: {kl:?}");
        kl
    };
    // One update a step, so that the loss of the first step is that of its start.
    let full = RECIPE.replace("updates_per_step = 2\n", "");
    for (name, recipe) in [("adapter", adapted()), ("full", full)] {
        let of = |kind: &str, reference: &str| {
            run(&format!("{name}-{kind}"), &looking_at(&recipe, reference))
        };
        let start = of("start", "\"start\"");
        let ema = of("ema", EMA);
        assert_eq!((start[0], ema[0]), (0.0, 0.0));
        // The average follows, the start stays.
        assert!(ema[3] < start[3], "{ema:?}, {start:?}");
        let frozen = of("slow", "{ kind = \"ema\", every = 1000 }");
        assert_eq!(frozen, start, "an average that has not moved yet is the start");
        let base = of("base", "\"base\"");
        assert!(base[0] > 0.0, "a supervised stage came before: {base:?}");
    }
    assert!(run("named", &naming(&first.join("checkpoints/step-000006")))[0] > 0.0);
}

#[test]
fn without_an_adapter_the_base_is_the_model_that_the_run_began_with() {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path().join("run");
    let recipe = looking_at(RECIPE, "\"base\"");
    begin(&root, &recipe, 1);
    // The base is that of the first seed, whatever the seed is when the stage begins.
    let other = recipe.replace("seed = 3", "seed = 4");
    let run = Run { recipe: &other, changed: true, ..Run::resumed(&root) };
    assert_eq!(run.train().unwrap(), Ended::Finished);
    let (model, text) = Builtin::find("atom").unwrap().make(3, DType::F32, &Device::Cpu).unwrap();
    let expected = temp.path().join("expected");
    engine::save(&model, &text, &expected).unwrap();
    let [kept, expected] = [root.join("reference/stage-1"), expected]
        .map(|folder| fs::read(folder.join("model.safetensors")).unwrap());
    assert_eq!(kept, expected);
}

/// Stops a run after every step, resumes it, and compares it with an unbroken one; then takes away
/// its last checkpoint, as a kill does.
#[track_caller]
fn broken_equals_whole(recipe: &str) {
    let temp = tempfile::tempdir().unwrap();
    let (whole, broken) = (temp.path().join("whole"), temp.path().join("broken"));
    trained(&whole, recipe);
    let mut ended = Ended::Interrupted;
    while ended == Ended::Interrupted {
        let run = if broken.exists() { Run::resumed(&broken) } else { Run::new(&broken) };
        ended = Run { one_step: true, recipe, ..run }.train().unwrap();
    }
    assert_equal(&whole, &broken);
    fs::remove_dir_all(broken.join("checkpoints/step-000006")).unwrap();
    assert!(!steps(&broken).is_empty());
    trained(&broken, recipe);
    assert_equal(&whole, &broken);
}

#[test]
fn a_run_with_an_average_of_an_adapter_resumes_to_the_byte() {
    broken_equals_whole(&looking_at(&adapted(), EMA));
}

#[test]
fn a_run_that_looks_back_at_its_base_resumes_to_the_byte() {
    broken_equals_whole(&looking_at(&adapted(), "\"base\""));
}

#[test]
fn a_kl_in_the_reward_looks_back_at_an_average_that_follows() {
    let temp = tempfile::tempdir().unwrap();
    let penalties = |name: &str, reference: &str| {
        let recipe = looking_at(&adapted(), reference);
        let in_reward = "reward_kl = { kind = \"k2\", coefficient = 0.1 }";
        let recipe = recipe.replace("loss = { kl = { kind = \"k3\" } }", in_reward);
        assert!(recipe.contains(in_reward));
        let root = temp.path().join(name);
        trained(&root, &recipe);
        values(&root, "actor/reward_kl_penalty")
    };
    let (ema, start) = (penalties("ema", EMA), penalties("start", "\"start\""));
    assert_eq!((ema.len(), ema[0], start[0]), (4, 0.0, 0.0));
    assert!(ema[1..].iter().all(|kl| *kl > 0.0), "{ema:?}");
    // The second step has the same policy in both runs: no penalty came before.
    assert!(ema[1] < start[1], "{ema:?}, {start:?}");
}

#[test]
fn a_run_with_an_average_of_all_weights_resumes_to_the_byte() {
    let every = "{ kind = \"ema\", decay = 0.5, every = 3 }";
    broken_equals_whole(&looking_at(RECIPE, every));
}

#[test]
fn a_run_with_a_named_adapter_resumes_to_the_byte_and_refuses_changed_files() {
    let temp = tempfile::tempdir().unwrap();
    let first = temp.path().join("first");
    trained(&first, &adapted());
    let from = temp.path().join("earlier");
    fs::rename(first.join("checkpoints/step-000006"), &from).unwrap();
    let recipe = naming(&from);
    broken_equals_whole(&recipe);
    let root = temp.path().join("run");
    begin(&root, &recipe, 4);
    let facts = fs::read_to_string(root.join("run.json")).unwrap();
    assert!(facts.contains("model.adapters.earlier/adapter_model.safetensors"), "{facts}");
    let other = first.join("checkpoints/step-000005");
    let file = "adapter_model.safetensors";
    let own = fs::read(from.join(file)).unwrap();
    fs::copy(other.join(file), from.join(file)).unwrap();
    let error = refused(&root, &recipe);
    assert!(error.contains("model.adapters.earlier/adapter_model.safetensors: "), "{error}");
    assert!(error.contains("has other contents, sha256 "), "{error}");
    assert!(error.contains("--accept-changed-files"), "{error}");
    // The same files elsewhere are the same.
    fs::write(from.join(file), own).unwrap();
    let moved = temp.path().join("moved");
    fs::rename(&from, &moved).unwrap();
    // Another file beside them is no part of the adapter.
    fs::write(moved.join("tokenizer.json"), "{}").unwrap();
    trained(&root, &naming(&moved));
}

/// Gives a checkpoint the score by which it is the best, or is not.
fn score(run: &Path, step: u64, value: f64) {
    let path = run.join(format!("checkpoints/step-{step:06}/trainer.json"));
    let mut state = json(&path);
    state["score"] = serde_json::json!({ "set": "a", "figure": "avg", "value": value });
    fs::write(path, state.to_string()).unwrap();
}

/// The run that is named may go on and save a better checkpoint, and the base is hashed once.
#[test]
fn a_named_adapter_is_the_one_whose_files_are_recorded() {
    let temp = tempfile::tempdir().unwrap();
    let (base, first) = (folder(temp.path(), "base", 3), temp.path().join("first"));
    begin(&first, &on(base.to_str().unwrap()), 2);
    score(&first, 1, 0.9);
    score(&first, 2, 0.1);
    let text = naming(&first).replace("builtin:atom", base.to_str().unwrap());
    let (recipe, search_path) =
        (Recipe::parse("small", &text).unwrap(), SearchPath::of_recipe(Path::new("")));
    let policies = || Policies::of(&recipe, &search_path, Console::silent()).unwrap();
    let own = policies();
    own.check_adapter().unwrap();
    let (model, _) = own.first().unwrap();
    own.start_files().unwrap().unwrap();
    score(&first, 2, 1.0);
    let paths = |policies: &Policies<'_>| -> Vec<String> {
        let files = policies.named_files().unwrap();
        files.0.into_values().map(|file| file.path).collect()
    };
    assert!(paths(&policies()).iter().all(|path| path.contains("step-000002")), "found now");
    // A second reading of the base would fail.
    fs::remove_dir_all(&base).unwrap();
    let named = own.named(&model, recipe.seed).unwrap().remove("earlier").unwrap();
    let found = paths(&own);
    assert_eq!(found.len(), 2);
    assert!(found.iter().all(|path| path.contains("step-000001")), "{found:?}");
    let saved = first.join("checkpoints/step-000001");
    let expected = Adapter::open(&saved, model.config(), DType::F32, &Device::Cpu).unwrap();
    let numbers = |adapter: &Adapter| -> Vec<f32> {
        let all = adapter.parameters().into_iter();
        all.flat_map(|(_, one)| one.flatten_all().unwrap().to_vec1::<f32>().unwrap()).collect()
    };
    assert_eq!(numbers(&named), numbers(&expected));
}

#[test]
fn an_adapter_of_another_model_is_refused_before_the_run_begins() {
    let temp = tempfile::tempdir().unwrap();
    let other = temp.path().join("other");
    trained(&other, &adapted().replace("builtin:atom", "builtin:tiny"));
    let root = temp.path().join("run");
    for (from, expected) in [
        (other.as_path(), "was trained on another model"),
        (Path::new("none"), "there is no adapter none"),
    ] {
        let recipe = naming(from);
        let error = Run { recipe: &recipe, ..Run::new(&root) }.train().unwrap_err();
        let error = format!("{error:#}");
        assert!(error.starts_with("model.adapters.earlier.from: "), "{error}");
        assert!(error.contains(expected), "{error}");
        assert!(!root.exists());
    }
}

#[test]
fn a_reference_stays_in_a_stage_that_has_begun_and_its_settings_may_change() {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path().join("run");
    let recipe = looking_at(&adapted(), EMA);
    begin(&root, &recipe, 4);
    for other in ["\"start\"", "\"base\""] {
        let error = refused(&root, &looking_at(&adapted(), other));
        assert!(
            error.contains("impossible  stage.1.reference.kind: \"ema\" in the run"),
            "{error}"
        );
        assert!(error.contains("(the stage has begun with the other reference)"), "{error}");
    }
    let slower = recipe.replace("0.75", "0.5");
    let error = refused(&root, &slower);
    assert!(error.contains("changing    stage.1.reference.decay: 0.75 in the run, 0.5"), "{error}");
    let run = Run { recipe: &slower, changed: true, ..Run::resumed(&root) };
    assert_eq!(run.train().unwrap(), Ended::Finished);
    // Before the stage has begun, any other will do.
    let root = temp.path().join("other");
    begin(&root, &recipe, 2);
    let base = looking_at(&adapted(), "\"base\"");
    let run = Run { recipe: &base, changed: true, ..Run::resumed(&root) };
    assert_eq!(run.train().unwrap(), Ended::Finished);
}

#[test]
fn the_norm_of_the_update_is_recorded_with_an_adapter_only() {
    let temp = tempfile::tempdir().unwrap();
    let [root, full] = ["run", "full"].map(|name| temp.path().join(name));
    trained(&root, &adapted());
    trained(&full, RECIPE);
    let norms = values(&root, "adapter/update_norm");
    assert_eq!(norms.len(), 6, "every step of both stages");
    assert!(norms.iter().all(|norm| *norm > 0.0), "{norms:?}");
    assert_eq!(values(&full, "adapter/update_norm"), [0.0; 0]);
}

fn plan(recipe: &str) -> Plan {
    let recipe = Recipe::parse("small", recipe).unwrap();
    let sizes = Sizes::of(&recipe, &SearchPath::of_recipe(Path::new("")), None).unwrap();
    Plan::new(&recipe, &sizes, ProblemStats::Nothing { missing: "data".into() }, 2).unwrap()
}

#[test]
fn a_plan_names_the_reference_and_counts_its_bytes() {
    // Sides of the maps of a block of width 32: four of 32 + 32, three of 32 + 96; two blocks.
    let parameters = 4 * 2 * (4 * 64 + 3 * 128);
    let temp = tempfile::tempdir().unwrap();
    let first = temp.path().join("first");
    trained(&first, &adapted());
    let of = |recipe: &str| {
        let plan = plan(recipe);
        let text = plan.to_string();
        let line = text.lines().find_map(|line| line.trim_start().strip_prefix("reference  "));
        (line.unwrap().to_owned(), plan.stages[1].memory.reference, plan.checkpoint)
    };
    let small = |said: &str, reference, checkpoint| (said.to_owned(), reference, checkpoint);
    for (reference, expected) in [
        ("\"start\"", small("the policy at the start of stage 1", 4 * parameters, 12 * parameters)),
        ("\"base\"", small("the model without its adapter", 0, 12 * parameters)),
        (
            EMA,
            small(
                "a moving average of the policy from the start of stage 1 on, with decay 0.75, moved \
                 after every update",
                4 * parameters,
                16 * parameters,
            ),
        ),
    ] {
        assert_eq!(of(&looking_at(&adapted(), reference)), expected);
    }
    let named = naming(&first);
    assert_eq!(of(&named), small("the adapter earlier", 4 * parameters, 12 * parameters));
    let text = plan(&named).to_string();
    let line = "adapter  earlier: 5,120 parameters that do not change, rank 4, from ";
    assert!(text.contains(line), "{text}");
    // As the run prints it.
    let noted = "was trained on builtin:atom with another seed: ";
    assert!(!text.contains(noted), "{text}");
    let text = plan(&named.replace("seed = 3", "seed = 4")).to_string();
    assert!(text.contains(noted), "{text}");
    let weights = plan(RECIPE).stages[1].memory.weights;
    let full = of(&looking_at(RECIPE, "\"base\""));
    assert_eq!(full, small("the model that the run begins with", weights, 3 * weights));
    let full = of(&looking_at(RECIPE, "{ kind = \"ema\", every = 8 }"));
    assert!(full.0.ends_with("with decay 0.99, moved after every 8 updates"), "{full:?}");
    assert_eq!((full.1, full.2), (weights, 4 * weights));
    let none = RECIPE.replace("loss = { kl = { kind = \"k3\" } }\n", "");
    assert!(!plan(&none).to_string().contains("reference"), "none looks back");
}

#[test]
fn every_mistake_of_a_reference_is_told_at_once() {
    let lines = told(
        "[model]\nadapter = \"lora\"\n\
         [model.adapters.judge]\nfrom = \"\"\n\
         [model.adapters.\"a b\"]\nfrom = \"x\"\n\
         [model.adapters.other]\nform = \"y\"\n\
         [stage.rl]\nreference = { kind = \"adapter\", name = \"juge\" }\n",
        &[],
    );
    for start in [
        "4 mistakes in the recipe",
        "layer1.toml:4:8: model.adapters.judge.from: expected a folder, a .gguf file or a run",
        "layer1.toml:",
        "layer1.toml:8:1: unknown key `form` in `model.adapters.other`",
        "layer1.toml:10:",
        "did you mean `judge`?",
    ] {
        assert!(lines.iter().any(|line| line.starts_with(start)), "{start}: {lines:#?}");
    }
    for part in [
        "model.adapters: `a b` is no name of an adapter: expected letters, digits, `-` and `_` only",
        "stage.1.reference.name: there is no adapter `juge` in [model.adapters]; there are: ",
    ] {
        assert!(lines.iter().any(|line| line.contains(part)), "{part}: {lines:#?}");
    }
}

#[test]
fn each_mistake_of_a_reference_says_what_to_write() {
    let all = |overlay: &str| told(overlay, &[]).join("\n");
    for (overlay, expected) in [
        (
            "[stage.rl]\nreference = { kind = \"ema\", decay = 1.0 }\n",
            "stage.1.reference.decay: expected a number above 0 and below 1, got 1",
        ),
        (
            "[stage.rl]\nreference = { kind = \"ema\", decay = nan }\n",
            "stage.1.reference.decay: expected a number above 0 and below 1, got NaN",
        ),
        (
            "[stage.rl]\nreference = { kind = \"ema\", every = 0 }\n",
            "stage.1.reference.every: expected a whole number, 1 or more, got 0",
        ),
        (
            "[stage.rl]\nreference = { kind = \"adapter\", name = \"judge\" }\n",
            "stage.1.reference.name: there are no [model.adapters]; add `[model.adapters.judge]`",
        ),
        (
            "[model.adapters.judge]\nfrom = \"x\"\n",
            "model.adapters: they are added to weights that do not change, and here all weights are \
             trained; add [model.adapter], or remove `adapters`",
        ),
        ("[stage.rl]\nreference = \"emaa\"\n", "did you mean `ema`?"),
        ("[stage.rl]\nreference = 3\n", "expected a name or a table with `kind`"),
        (
            "[stage.rl]\nsync_ref_model = true\nref_model_mixup_alpha = 0.6\n",
            "`sync_ref_model` (TRL) is the kind \"ema\" of `stage.rl.reference` here",
        ),
        (
            "[stage.rl]\nref_model_mixup_alpha = 0.6\n",
            "here `stage.rl.reference.decay` is that of the average, 1 - ref_model_mixup_alpha",
        ),
        ("[stage.rl]\nref_model_sync_steps = 64\n", "`stage.rl.reference.every`"),
    ] {
        let said = all(overlay);
        assert!(said.contains(expected), "{expected}: {said}");
    }
}

#[test]
fn what_nothing_looks_back_at_is_remarked_on() {
    let remarks = |overlay: &str| read(&[PLAIN, overlay], &[]).unwrap().remarks(&[0, 0]);
    let of_reference = |overlay: &str| {
        let all = remarks(overlay);
        all.into_iter().filter(|one| one.contains("look")).collect::<Vec<_>>()
    };
    assert_eq!(
        of_reference("[stage.rl]\nreference = \"ema\"\nloss.kl = \"off\"\n"),
        ["stage.1.reference changes nothing: no KL term looks back at it; set stage.1.loss.kl or \
             reward_kl, or remove it"]
    );
    let named = "[model]\nadapter = \"lora\"\n[model.adapters.judge]\nfrom = \"x\"\n[stage.rl]\n";
    let unused = of_reference(&format!("{named}loss.kl = \"k3\"\n"));
    assert_eq!(unused.len(), 1, "{unused:?}");
    assert!(unused[0].starts_with("model.adapters.judge is not read: "), "{unused:?}");
    let used = "loss.kl = \"k3\"\nreference = { kind = \"adapter\", name = \"judge\" }\n";
    assert_eq!(of_reference(&format!("{named}{used}")), [""; 0]);
    assert_eq!(of_reference(""), [""; 0]);
}
