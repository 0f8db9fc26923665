//! The binary, run in a folder of the test's own.

use std::path::Path;
use std::process::{Command, Output};

/// What `stearin` with `arguments` says and returns in `folder`, on one thread and without data,
/// models or a network from outside.
pub(crate) fn stearin(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_stearin"))
        .args(arguments)
        .current_dir(folder)
        .env_remove("STEARIN_DATA")
        .env("HF_HOME", folder.join("no-cache"))
        .env("HF_ENDPOINT", "http://127.0.0.1:9")
        .env("RAYON_NUM_THREADS", "1")
        .output()
        .expect("the binary runs")
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}
