//! Runs on different numbers of threads.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::runs::{RECIPE, assert_equal};

fn train(recipe: &Path, root: &Path, threads: &str) {
    let output = Command::new(env!("CARGO_BIN_EXE_stearin"))
        .arg("train")
        .args([recipe, "--run-dir".as_ref(), root])
        .env("RAYON_NUM_THREADS", threads)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// A model with products that are large enough to be shared among threads.
#[test]
fn a_run_leaves_the_same_bytes_on_any_number_of_threads() {
    for dtype in ["f32", "bf16"] {
        let temp = tempfile::tempdir().unwrap();
        let recipe = temp.path().join("small.toml");
        let model = format!("path = \"builtin:tiny\", dtype = \"{dtype}\"");
        let text =
            RECIPE.replace("path = \"builtin:atom\"", &model).replace("steps = 4", "steps = 2");
        assert!(text.contains("builtin:tiny"));
        fs::write(&recipe, text).unwrap();
        let roots = ["1", "2", "3"].map(|threads| {
            let root = temp.path().join(threads);
            train(&recipe, &root, threads);
            root
        });
        assert_equal(&roots[0], &roots[1]);
        assert_equal(&roots[0], &roots[2]);
    }
}
