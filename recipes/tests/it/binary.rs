//! The binary, run in a folder of the test's own.

use std::path::Path;
use std::process::{Command, Output};

const STEARIN: &str = env!("CARGO_BIN_EXE_stearin");

/// What `stearin` with `arguments` says and returns in `folder`, on one thread and without data,
/// models or a network from outside.
pub(crate) fn stearin(folder: &Path, arguments: &[&str]) -> Output {
    run(Command::new(STEARIN).args(arguments), folder)
}

/// The same of commands as a person types them.
#[cfg(unix)]
pub(crate) fn typed(folder: &Path, commands: &str) -> Output {
    let own = Path::new(STEARIN).parent().expect("it is in a folder");
    let path = std::env::var("PATH").unwrap_or_default();
    let path = format!("{}:{path}", own.display());
    run(Command::new("sh").args(["-e", "-c", commands]).env("PATH", path), folder)
}

/// The commands that a message prints: its indented lines from the one that has `start` on.
#[cfg(unix)]
pub(crate) fn printed(said: &str, start: &str) -> String {
    let lines = said.lines().skip_while(|line| !line.contains(start)).skip(1);
    let commands: Vec<_> = lines.map_while(|line| line.strip_prefix("  ")).collect();
    assert!(!commands.is_empty(), "no commands after {start}: {said}");
    commands.join("\n")
}

fn run(command: &mut Command, folder: &Path) -> Output {
    command
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
