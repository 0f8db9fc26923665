//! What a run with an adapter takes of memory, on a real model.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::print_stdout, reason = "a test says why it skips")]

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::binary::{stderr, stdout, stearin, typed};

/// Where `scripts/fetch-smollm2.sh` puts it: 92 MiB of blocks, 513 MiB as f32.
const SMOLLM2: &str = "models/smollm2-135m-instruct.gguf";
/// MiB of addresses that a run may have. One thread and one arena, because every further one
/// reserves addresses that it does not use.
const LIMIT: u32 = 500;

/// The model and a recipe that trains an adapter on it for one short step; `None` without its file.
fn recipe() -> Option<(String, String)> {
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(SMOLLM2);
    if !model.is_file() {
        println!("skipped: there is no {SMOLLM2}; scripts/fetch-smollm2.sh fetches it");
        return None;
    }
    let path = model.canonicalize().unwrap().display().to_string();
    let recipe = format!(
        "threads = 1\n[model]\npath = {path:?}\nadapter = {{ rank = 4 }}\n[data]\n\
         train = {{ kind = \"arithmetic\", count = 9, min_digits = 1, max_digits = 1, \
         operations = [\"+\"] }}\n[[stage]]\nkind = \"rl\"\nsteps = 1\nbatch = 1\ngroup_size = 2\n\
         slots = 2\nrollout = {{ max_new_tokens = 4 }}\n\
         schedule = {{ kind = \"constant\", lr = 1e-5 }}\n"
    );
    Some((path, recipe))
}

#[test]
fn an_adapter_is_trained_without_a_copy_of_its_base_in_f32() {
    let Some((_, recipe)) = recipe() else { return };
    let temp = tempfile::tempdir().unwrap();
    fs::write(temp.path().join("small.toml"), recipe).unwrap();
    let trained = |base: &str| {
        let limited = format!("ulimit -v {}; export MALLOC_ARENA_MAX=1", LIMIT * 1024);
        let command = format!("{limited}; stearin train small.toml --run-dir {base}");
        typed(temp.path(), &format!("{command} --set model.base={base}"))
    };
    let stored = trained("as-stored");
    assert!(stored.status.success(), "{}", stderr(&stored));
    // The limit is one: the weights alone are more.
    let decoded = trained("f32");
    assert!(!decoded.status.success());
    assert!(stderr(&decoded).contains("memory allocation of "), "{}", stderr(&decoded));
}

#[test]
fn the_memory_of_a_step_is_predicted_within_a_tenth() {
    let Some((model, recipe)) = recipe() else { return };
    let temp = tempfile::tempdir().unwrap();
    fs::write(temp.path().join("small.toml"), recipe).unwrap();
    let output = stearin(temp.path(), &["train", "small.toml", "--run-dir", "own"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let step = ["bench", "step", "--model", &model, "--reps", "1", "--prompts", "1"];
    let shape = ["--group", "2", "--new", "8", "--prompt-tokens", "16"];
    for more in [
        &["--adapter", "own"][..],
        &["--adapter", "own", "--base", "f32"],
        &["--adapter", "own", "--dtype", "bf16"],
        &["--activations", "recompute"],
    ] {
        let output = stearin(temp.path(), &[&step[..], &shape, more].concat());
        assert!(output.status.success(), "{}", stderr(&output));
        let report: Value = serde_json::from_str(&stdout(&output)).unwrap();
        let [measured, predicted] =
            ["peak_rss_mib", "predicted_mib"].map(|key| report[key].as_f64().unwrap());
        let ratio = predicted / measured;
        assert!(
            (0.9..1.1).contains(&ratio),
            "{more:?}: {predicted} predicted, {measured} measured"
        );
    }
}
