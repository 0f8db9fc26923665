//! Runs that train an adapter: what they leave, how they go on, and what opens their checkpoints.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::float_cmp, reason = "a divergence from itself is exactly zero")]

use std::fs;
use std::path::{Path, PathBuf};

use candle::{DType, Device};
use evals::run::{State, read_log};
use recipes::builtin::Builtin;
use recipes::run_dir::status;
use recipes::train::Ended;
use serde_json::Value;

use crate::binary::{stderr, stdout, stearin};
use crate::going_back::{begin, halve, steps};
use crate::runs::{RECIPE, Run, assert_equal, contents};

/// [`RECIPE`] with an adapter on `model`.
pub(crate) fn on(model: &str) -> String {
    let own = "adapter = { kind = \"lora\", rank = 4, alpha = 8.0 }";
    let text = RECIPE
        .replace("path = \"builtin:atom\"", &format!("path = {model:?}, {own}"))
        .replace("updates_per_step = 2\n", "");
    assert_ne!(text, RECIPE);
    text
}

pub(crate) fn recipe() -> String {
    on("builtin:atom")
}

/// Trains to the end.
#[track_caller]
pub(crate) fn trained(root: &Path, recipe: &str) {
    let run = if root.exists() { Run::resumed(root) } else { Run::new(root) };
    assert_eq!(Run { recipe, ..run }.train().unwrap(), Ended::Finished);
}

/// Why it does not go on.
#[track_caller]
pub(crate) fn refused(root: &Path, recipe: &str) -> String {
    let before = contents(root);
    let error = Run { recipe, ..Run::resumed(root) }.train().unwrap_err();
    assert_eq!(contents(root), before, "nothing changes");
    format!("{error:#}")
}

pub(crate) fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// The atom of a seed as a folder in Hugging Face layout.
pub(crate) fn folder(temp: &Path, name: &str, seed: u64) -> PathBuf {
    let path = temp.join(name);
    let (model, text) =
        Builtin::find("atom").unwrap().make(seed, DType::F32, &Device::Cpu).unwrap();
    engine::save(&model, &text, &path).unwrap();
    path
}

#[test]
fn a_checkpoint_is_an_adapter_and_the_name_of_its_base() {
    let temp = tempfile::tempdir().unwrap();
    let base = folder(temp.path(), "atom-of-9", 9);
    let root = temp.path().join("run");
    trained(&root, &on(base.to_str().unwrap()));
    let saved = root.join("checkpoints/step-000006");
    assert_eq!(
        names(&saved),
        [
            "adapter_config.json",
            "adapter_model.safetensors",
            "optimizer.safetensors",
            "trainer.json"
        ]
    );
    let config = json(&saved.join("adapter_config.json"));
    assert_eq!(config["base_model_name_or_path"], "atom-of-9", "not where it is");
    assert_eq!((&config["r"], &config["lora_alpha"]), (&4.into(), &8.into()));
    let named = &json(&saved.join("trainer.json"))["base"];
    assert_eq!(named["name"], base.to_str().unwrap());
    let bytes: u64 = ["config.json", "chat_template.jinja", "model.safetensors"]
        .into_iter()
        .chain(["tokenizer.json", "tokenizer_config.json", "generation_config.json"])
        .filter_map(|name| Some(fs::metadata(base.join(name)).ok()?.len()))
        .sum();
    assert_eq!(named["bytes"], bytes);
    assert_eq!(named["sha256"].as_str().unwrap().len(), 64);
    assert_eq!(names(&root.join("reference/stage-1")), names(&saved)[..2], "a copy of the adapter");
    let facts = json(&root.join("run.json"));
    let (model, adapter) = (&facts["model"], &facts["model"]["adapter"]);
    // Of rank 4 on 2 blocks of width 32 with 96 in the feed-forward layer.
    let numbers = 2 * 4 * (4 * (32 + 32) + 3 * (32 + 96));
    assert_eq!((&adapter["rank"], &adapter["parameters"]), (&4.into(), &numbers.into()));
    let of_base = Builtin::find("atom").unwrap().make(9, DType::F32, &Device::Cpu).unwrap().0;
    let of_base: usize = of_base.parameters().iter().map(|one| one.tensor.elem_count()).sum();
    assert_eq!(model["parameters"], of_base);
    assert!(facts["files"]["model/model.safetensors"]["sha256"].is_string());
}

#[test]
fn the_divergence_is_zero_until_the_first_update_of_a_stage() {
    let temp = tempfile::tempdir().unwrap();
    let kl = |root: &Path| -> Vec<f64> {
        let lines = read_log(&root.join("metrics.jsonl")).unwrap();
        lines.iter().filter_map(|line| line.number("actor/kl_loss")).collect()
    };
    // After a supervised stage, against a copy of what that has learnt.
    let root = temp.path().join("after");
    trained(&root, &recipe());
    let after = kl(&root);
    assert_eq!((after.len(), after[0]), (4, 0.0));
    assert!(after.iter().any(|kl| *kl > 0.0), "{after:?}");
    // Afresh, against the base.
    let root = temp.path().join("fresh");
    let (begin, end) = (recipe().find("[[stage]]").unwrap(), recipe().rfind("[[stage]]").unwrap());
    trained(&root, &format!("{}{}", &recipe()[..begin], &recipe()[end..]));
    let fresh = kl(&root);
    assert_eq!((fresh.len(), fresh[0]), (4, 0.0));
    assert!(fresh.iter().any(|kl| *kl > 0.0), "{fresh:?}");
    assert_eq!(names(&root.join("reference/stage-0")), ["base.json"]);
    // A run that starts from the first one's adapter looks back at that.
    let from = temp.path().join("after").display().to_string();
    let own = format!("adapter = {{ kind = \"lora\", from = {from:?} }}");
    let text = recipe().replace("adapter = { kind = \"lora\", rank = 4, alpha = 8.0 }", &own);
    let root = temp.path().join("from");
    trained(
        &root,
        &format!(
            "{}{}",
            &text[..text.find("[[stage]]").unwrap()],
            &text[text.rfind("[[stage]]").unwrap()..]
        ),
    );
    assert_eq!(kl(&root)[0], 0.0);
    assert_eq!(names(&root.join("reference/stage-0")).len(), 2);
    let facts = json(&root.join("run.json"));
    assert!(facts["files"]["adapter/adapter_model.safetensors"]["sha256"].is_string(), "{facts}");
    assert!(facts["model"]["adapter"]["path"].as_str().unwrap().starts_with(&from));
}

#[test]
fn stopped_after_any_step_and_resumed_it_equals_an_unbroken_run() {
    let temp = tempfile::tempdir().unwrap();
    let (whole, broken) = (temp.path().join("whole"), temp.path().join("broken"));
    trained(&whole, &recipe());
    let mut ended = Ended::Interrupted;
    while ended == Ended::Interrupted {
        let run = if broken.exists() { Run::resumed(&broken) } else { Run::new(&broken) };
        ended = Run { one_step: true, recipe: &recipe(), ..run }.train().unwrap();
    }
    assert_equal(&whole, &broken);
    assert_eq!(steps(&whole).last(), Some(&6));
    let error = refused(&whole, &recipe());
    assert!(error.starts_with("nothing to resume: all 6 steps of "), "{error}");
    // Torn away after the fourth step.
    fs::remove_dir_all(broken.join("checkpoints/step-000006")).unwrap();
    let left = steps(&broken);
    trained(&broken, &recipe());
    assert!(!left.is_empty());
    assert_equal(&whole, &broken);
    assert_eq!(status(&broken).unwrap().state, State::Finished);
}

#[test]
fn with_rounded_products_it_goes_on_as_well() {
    let temp = tempfile::tempdir().unwrap();
    let (whole, broken) = (temp.path().join("whole"), temp.path().join("broken"));
    let rounded = recipe().replace("builtin:atom\"", "builtin:atom\", dtype = \"bf16\"");
    trained(&whole, &rounded);
    begin(&broken, &rounded, 4);
    trained(&broken, &rounded);
    assert_equal(&whole, &broken);
    let lines = read_log(&whole.join("metrics.jsonl")).unwrap();
    let gaps: Vec<_> =
        lines.iter().filter_map(|line| line.number("rollout_corr/log_prob_gap_max")).collect();
    assert_eq!(gaps, [0.0; 4], "rollout and training agree to the bit");
}

#[test]
fn another_base_of_the_same_shape_is_refused() {
    let temp = tempfile::tempdir().unwrap();
    let base = folder(temp.path(), "base", 1);
    let root = temp.path().join("run");
    let recipe = on(base.to_str().unwrap());
    begin(&root, &recipe, 3);
    let [whole, accepted] = ["whole", "accepted"].map(|name| temp.path().join(name));
    trained(&whole, &recipe);
    begin(&accepted, &recipe, 3);
    let weights = base.join("model.safetensors");
    let own = fs::read(&weights).unwrap();
    let other = folder(temp.path(), "other", 2);
    fs::copy(other.join("model.safetensors"), &weights).unwrap();
    let error = refused(&root, &recipe);
    assert!(error.contains("model/model.safetensors: "), "{error}");
    assert!(error.contains("has other contents, sha256 "), "{error}");
    // Without the comparison it runs, which is what the flag asks for.
    let run = Run { recipe: &recipe, accept_changed_files: true, ..Run::resumed(&accepted) };
    assert_eq!(run.train().unwrap(), Ended::Finished);
    let named = |step: &str| {
        let path = accepted.join("checkpoints").join(step).join("trainer.json");
        json(&path)["base"]["sha256"].clone()
    };
    let own_base =
        json(&whole.join("checkpoints/step-000006/trainer.json"))["base"]["sha256"].clone();
    assert_ne!(named("step-000006"), own_base);
    // What only opens the run refuses it, too, unless it is asked for.
    let (run, base_name) = (root.to_str().unwrap(), base.to_str().unwrap());
    let output = stearin(temp.path(), &["sample", "--model", run, "1+1"]);
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("is not the base that "), "{said}");
    let output = stearin(temp.path(), &["sample", "--model", base_name, "--adapter", run, "1+1"]);
    let said = stderr(&output);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("note: ") && said.contains("which has other weights since"), "{said}");
    // Back in its place it is the same, wherever it is now.
    fs::write(&weights, own).unwrap();
    trained(&root, &recipe);
    assert_equal(&whole, &root);
    fs::rename(&base, temp.path().join("elsewhere")).unwrap();
    let output = stearin(temp.path(), &["sample", "--model", run, "1+1"]);
    let said = stderr(&output);
    assert!(said.contains("its base is not here") && said.contains("--adapter"), "{said}");
}

#[test]
fn settings_of_the_adapter_are_those_of_the_run() {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path().join("run");
    begin(&root, &recipe(), 3);
    for (old, new, key) in [
        ("rank = 4", "rank = 2", "model.adapter.rank: 4 in the run, 2 now"),
        ("alpha = 8.0", "alpha = 4.0", "model.adapter.alpha: 8.0 in the run, 4.0 now"),
        ("rank = 4", "rank = 4, targets = [\"q_proj\"]", "model.adapter.targets: "),
        ("rank = 4", "rank = 4, scaling = \"sqrt-rank\"", "model.adapter.scaling: "),
        (", adapter = { kind = \"lora\", rank = 4, alpha = 8.0 }", "", "model.adapter"),
    ] {
        let text = recipe().replace(old, new);
        assert_ne!(text, recipe());
        let error = refused(&root, &text);
        assert!(error.contains("impossible  ") && error.contains(key), "{new}: {error}");
    }
    let stored = recipe().replace("adapter = {", "base = \"f32\", adapter = {");
    trained(&root, &stored);
}

#[test]
fn how_the_base_is_held_changes_no_bit() {
    let temp = tempfile::tempdir().unwrap();
    let base = temp.path().join("base");
    let (model, text) = Builtin::find("atom").unwrap().make(1, DType::BF16, &Device::Cpu).unwrap();
    engine::save(&model, &text, &base).unwrap();
    let stored = on(base.to_str().unwrap());
    let full = stored.replace("adapter = {", "base = \"f32\", adapter = {");
    assert_ne!(stored, full);
    let root = |name: &str| temp.path().join(name);
    trained(&root("stored"), &stored);
    trained(&root("full"), &full);
    begin(&root("both"), &stored, 3);
    trained(&root("both"), &full);
    let of = |name: &str| {
        let files = ["metrics.jsonl", "checkpoints/step-000006/adapter_model.safetensors"];
        files.map(|file| fs::read(root(name).join(file)).unwrap())
    };
    assert_eq!(of("stored"), of("full"));
    assert_eq!(of("stored"), of("both"));
    let sample = |more: &[&str]| sampled(temp.path(), &[&["--model", "stored"], more].concat());
    assert_eq!(sample(&[]), sample(&["--threads", "1"]));
}

#[test]
fn a_damaged_adapter_names_the_checkpoint_to_go_back_to() {
    type Damage = fn(&Path);
    let temp = tempfile::tempdir().unwrap();
    let whole = temp.path().join("whole");
    trained(&whole, &recipe());
    let remove: Damage = |path| fs::remove_file(path).unwrap();
    for (number, (file, damage)) in [
        ("adapter_model.safetensors", halve as Damage),
        ("adapter_model.safetensors", remove),
        ("adapter_config.json", halve),
        ("adapter_config.json", remove),
    ]
    .into_iter()
    .enumerate()
    {
        let root = temp.path().join(number.to_string());
        begin(&root, &recipe(), 4);
        let folder = root.join("checkpoints/step-000004");
        damage(&folder.join(file));
        let error =
            format!("{:#}", Run { recipe: &recipe(), ..Run::resumed(&root) }.train().unwrap_err());
        assert!(error.contains("the checkpoint after step 3 is whole"), "{number}: {error}");
        assert!(error.contains(&format!("rm -r {}", folder.display())), "{number}: {error}");
        fs::remove_dir_all(&folder).unwrap();
        trained(&root, &recipe());
        assert_equal(&whole, &root);
    }
}

#[test]
fn a_damaged_base_is_not_the_checkpoints_fault() {
    let temp = tempfile::tempdir().unwrap();
    let base = folder(temp.path(), "base", 1);
    let root = temp.path().join("run");
    let recipe = on(base.to_str().unwrap());
    begin(&root, &recipe, 3);
    halve(&base.join("model.safetensors"));
    let run = Run { recipe: &recipe, accept_changed_files: true, ..Run::resumed(&root) };
    let error = format!("{:#}", run.train().unwrap_err());
    assert!(error.contains("model.safetensors") && !error.contains("rm -r"), "{error}");
    assert_eq!(steps(&root).last(), Some(&3));
}

/// What `sample` prints of a model by these arguments.
#[track_caller]
fn sampled(temp: &Path, arguments: &[&str]) -> String {
    let fixed = ["--temperature", "1", "-n", "4", "--max-new-tokens", "12", "--seed", "3", "1+1="];
    let output = stearin(temp, &[&["sample"], arguments, &fixed].concat());
    assert!(output.status.success(), "{}", stderr(&output));
    stdout(&output)
}

#[test]
fn runs_checkpoints_and_adapters_are_sampled_from() {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path().join("run");
    trained(&root, &recipe());
    let of_run = sampled(temp.path(), &["--model", "run"]);
    let best = format!("run/checkpoints/{}", names(&root.join("checkpoints"))[0]);
    let last = "run/checkpoints/step-000006";
    let of_last = sampled(temp.path(), &["--model", last]);
    assert!([last, &best].iter().any(|one| sampled(temp.path(), &["--model", one]) == of_run));
    let model = ["--model", "builtin:atom", "--plain", "--adapter"];
    let plain = sampled(temp.path(), &["--model", last, "--plain"]);
    let given = sampled(temp.path(), &[&model[..], &[last]].concat());
    assert_eq!(given, plain, "the seed is the run's");
    assert_ne!(sampled(temp.path(), &model[..3]), plain, "the base is another policy");
    // A copy without the files of the trainer is a folder of PEFT.
    let copy = temp.path().join("copy");
    fs::create_dir(&copy).unwrap();
    for name in ["adapter_config.json", "adapter_model.safetensors"] {
        fs::copy(root.join("checkpoints/step-000006").join(name), copy.join(name)).unwrap();
    }
    assert_eq!(sampled(temp.path(), &[&model[..], &["copy"]].concat()), plain);
    assert!(!of_last.is_empty());
    let gguf =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../engine/testdata/lora/llama/adapter.gguf");
    for (arguments, expected) in [
        (vec!["--model", "run", "--adapter", "copy"], "has an adapter of its own"),
        (vec!["--model", "copy"], "is an adapter, not a model"),
        (vec!["--model", "builtin:atom", "--adapter", "none"], "there is no adapter none in"),
        (vec!["--model", "builtin:atom", "--adapter", "run/samples"], "is no adapter"),
        (
            vec!["--model", "builtin:tiny", "--adapter", "copy"],
            "error: --adapter: opening the adapter copy/adapter_model.safetensors: has tensors of 2 \
             blocks, and the base has 4: the adapter was trained on another model; name that",
        ),
        (
            vec!["--model", gguf.to_str().unwrap()],
            "adapter.gguf: is an adapter, not a model\nname its base as the model, and this by --adapter",
        ),
        (
            vec!["--model", "copy"],
            "name its base, builtin:atom, as the model, and this by --adapter",
        ),
    ] {
        let output = stearin(temp.path(), &[&["sample"][..], &arguments, &["1+1"]].concat());
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.contains(expected), "{arguments:?}: {said}");
    }
    let bench = ["bench", "step", "--model", "builtin:atom", "--adapter", "copy", "--reps", "1"];
    let output =
        stearin(temp.path(), &[&bench[..], &["--new", "4", "--prompt-tokens", "4"]].concat());
    let said = stdout(&output);
    assert!(said.contains("\"adapter\":\"copy\""), "{said}{}", stderr(&output));
}

#[test]
fn evaluations_of_different_adapters_are_kept_apart() {
    let temp = tempfile::tempdir().unwrap();
    trained(&temp.path().join("run"), &recipe());
    let checkpoints = names(&temp.path().join("run/checkpoints"));
    let [one, other] = [0, 1].map(|at| format!("run/checkpoints/{}", checkpoints[at]));
    let bench = "arithmetic:count=4,min_digits=1,max_digits=1";
    let eval = |more: &[&str]| {
        let own = ["eval", "--bench", bench, "--max-new-tokens", "6", "--samples", "1"];
        stearin(temp.path(), &[&own[..], more].concat())
    };
    let base = ["--model", "builtin:atom", "--seed", "3"];
    for (adapter, out) in [(&one, "a"), (&other, "b")] {
        let output = eval(&[&base[..], &["--adapter", adapter, "--out", out]].concat());
        assert!(output.status.success(), "{}", stderr(&output));
        assert!(stdout(&output).contains(&format!("model: builtin:atom with {adapter}")));
    }
    let output = eval(&[&base[..], &["--adapter", &other, "--out", "a"]].concat());
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("holds an evaluation of other settings"), "{said}");
    assert!(said.contains("files.adapter/adapter_model.safetensors: "), "{said}");
    let output = eval(&[&base[..], &["--adapter", &one, "--out", "a"]].concat());
    assert!(stderr(&output).contains("nothing is left to judge"), "{}", stderr(&output));
    let facts = json(&temp.path().join("a/run.json"));
    assert_eq!(facts["model"]["adapter"]["path"], one);
    assert_eq!(facts["model"]["adapter"]["rank"], 4);
    // By the run itself, whose prompts and base are known.
    let output = eval(&["--model", &one, "--out", "c"]);
    assert!(output.status.success(), "{}", stderr(&output));
}

#[test]
fn a_run_is_told_how_to_go_on_from_an_adapter() {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path().join("run");
    trained(&root, &recipe());
    let path = root.to_str().unwrap();
    for text in [on(path), RECIPE.replace("builtin:atom", path)] {
        let error = Run { recipe: &text, ..Run::new(&temp.path().join("next")) }.train();
        let error = format!("{:#}", error.unwrap_err());
        let act = format!("set model.path to builtin:atom and model.adapter.from to {path}");
        assert!(error.contains("is an adapter on builtin:atom") && error.contains(&act), "{error}");
    }
}
