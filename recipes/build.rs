//! Tells the program what it was built from and by, for `run.json`.

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".into());
    set("STEARIN_RUSTC", &run(&rustc, &["--version"]));
    set("STEARIN_CANDLE", &candle_version());
    let branch = run("git", &["symbolic-ref", "-q", "HEAD"]);
    for name in ["HEAD", &branch].into_iter().filter(|name| !name.is_empty()) {
        let path = run("git", &["rev-parse", "--git-path", name]);
        if Path::new(&path).is_file() {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    set("STEARIN_COMMIT", &run("git", &["rev-parse", "HEAD"]));
    // Whatever is changed in the sources is seen: the names of the files, or nothing.
    for room in ["kernels", "settings", "engine", "rollout", "rewards", "optim", "evals", "recipes"]
    {
        println!("cargo::rerun-if-changed=../{room}/src");
    }
    let changed = run("git", &["status", "--porcelain", "--untracked-files=no", "--", ".."]);
    set("STEARIN_DIRTY", changed.lines().next().unwrap_or_default());
}

fn set(name: &str, value: &str) {
    println!("cargo::rustc-env={name}={value}");
}

/// What a program prints, or nothing where it is not there or fails.
fn run(program: &str, arguments: &[&str]) -> String {
    match Command::new(program).args(arguments).output() {
        Ok(output) if output.status.success() => {
            String::from_utf8_lossy(&output.stdout).trim().to_owned()
        }
        _ => String::new(),
    }
}

fn candle_version() -> String {
    println!("cargo::rerun-if-changed=../Cargo.lock");
    let lock = std::fs::read_to_string("../Cargo.lock").unwrap_or_default();
    let mut lines = lock.lines().skip_while(|line| *line != "name = \"candle-core\"");
    lines.nth(1).and_then(|line| line.split('"').nth(1)).unwrap_or_default().to_owned()
}
