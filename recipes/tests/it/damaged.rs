//! A run whose files are damaged: every reader says what and where, and reads the rest.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use evals::run::results::read as read_results;
use evals::run::{Problem, Run as Record, TokenFile};
use recipes::run_dir::RunDir;
use recipes::summary::summary;
use serde_json::{Value, json};

use crate::runs::{RECIPE, Run, contents};

/// A small run: its folder, and the files of its record.
fn small() -> (tempfile::TempDir, BTreeMap<String, Vec<u8>>) {
    let temp = tempfile::tempdir().unwrap();
    let recipe = RECIPE.replace("name = \"small\"", "name = \"größer\"");
    Run { recipe: &recipe, ..Run::new(&temp.path().join("run")) }.train().unwrap();
    let root = temp.path().join("run");
    let mut files = contents(&root);
    for name in ["run.json", "status.json", "timings.jsonl"] {
        files.insert(name.to_owned(), fs::read(root.join(name)).unwrap());
    }
    let is_record = |name: &str| name.contains(".json") || name.ends_with(".safetensors");
    let is_model = |name: &str| name.starts_with("checkpoints/") || name.starts_with("reference/");
    files.retain(|name, _| is_record(name) && !is_model(name));
    // A warning in another script, and settings that were changed.
    let warning = json!({"step": 3, "name": "a", "level": "alarm", "cause": "é€𝄞", "act": "b"});
    let change = json!({"format": 2, "step": 3, "changes": []});
    files.insert("health.jsonl".into(), format!("{warning}\n{warning}\n").into_bytes());
    files.insert("changes.jsonl".into(), format!("{change}\n").into_bytes());
    for (name, bytes) in &files {
        fs::write(root.join(name), bytes).unwrap();
    }
    (temp, files)
}

/// Whether a file has a value a line.
fn is_log(name: &str) -> bool {
    name.rsplit('.').next() == Some("jsonl")
}

/// Reads everything that readers read, and returns what they say is wrong.
fn read_all(root: &Path) -> Vec<Problem> {
    let run = match Record::open(root) {
        Ok(run) => run,
        Err(problem) => return vec![problem],
    };
    let mut said = run.problems.clone();
    for table in [run.metrics(), run.timings()] {
        match table {
            Ok(table) => said.extend(table.problems()),
            Err(problem) => said.push(problem),
        }
    }
    match run.health() {
        Ok(lines) => said.extend(lines.problems),
        Err(problem) => said.push(problem),
    }
    match run.changes() {
        Ok(lines) => said.extend(lines.problems),
        Err(problem) => said.push(problem),
    }
    said.extend(run.evaluations().1);
    // The problems of evaluations have a reader of their own, whose errors name file and line.
    for name in contents(root).keys().filter(|name| name.starts_with("evals/")) {
        if let (true, Err(error)) = (is_log(name), read_results(&root.join(name))) {
            assert!(error.to_string().contains(name.as_str()), "{error}");
        }
    }
    match run.samples() {
        Err(problem) => said.push(problem),
        Ok(samples) => {
            said.extend(samples.problems.clone());
            said.extend(samples.index.iter().filter_map(|entry| samples.group(entry).err()));
            let tokens = |step: &u64| samples.tokens(*step).and_then(|mut file| file.read()).err();
            said.extend(samples.steps().keys().filter_map(tokens));
        }
    }
    said
}

/// Checks that readers survive the damage and say what and where: a problem of this file with an
/// act. Where `torn` is set, the damage may also be a line that is still being written.
fn check(root: &Path, name: &str, what: &str, torn: bool) {
    let said = read_all(root);
    for problem in &said {
        let whole = !problem.reason.is_empty() && !problem.act.is_empty();
        assert!(whole && !problem.file.is_empty(), "{name}, {what}: {problem:?}");
    }
    let of_file = |problem: &Problem| Path::new(&problem.file) == root.join(name);
    // The texts and tokens of a step are looked for by the index, and a run by its first files.
    let is_named = said.iter().any(of_file);
    assert!(is_named || torn, "{name}, {what}: {said:?}");
    // The closing summary of such a run is written or fails with a reason.
    if let Ok(run) = RunDir::open(root)
        && let Err(error) = summary(&run)
    {
        assert!(!format!("{error:#}").is_empty());
    }
}

/// The places at which a file is cut: around each line's end and its middle, around structure, and
/// inside of characters.
fn places(bytes: &[u8]) -> Vec<usize> {
    let mut places: Vec<usize> = vec![0, 1, bytes.len() / 2, bytes.len().saturating_sub(1)];
    let mut from = 0;
    for (at, byte) in bytes.iter().enumerate() {
        if *byte == b'\n' {
            places.extend([at, at + 1, usize::midpoint(from, at)]);
            from = at + 1;
        }
        if !byte.is_ascii() && bytes.len() < 10_000 {
            places.push(at);
        }
    }
    let structure = (0..bytes.len()).filter(|at| b"{}[],:\"".contains(&bytes[*at]));
    places.extend(structure.step_by((bytes.len() / 600).max(1)));
    places.retain(|at| *at < bytes.len());
    places.sort_unstable();
    places.dedup();
    places
}

/// Puts the file back, whatever stands at its place.
fn restore(path: &Path, bytes: &[u8]) {
    if path.is_dir() {
        fs::remove_dir_all(path).unwrap();
    }
    fs::write(path, bytes).unwrap();
}

#[test]
#[ignore = "run in little memory by the test below"]
fn every_damage_to_every_file() {
    let (temp, files) = small();
    let root = temp.path().join("run");
    assert_eq!(read_all(&root), [], "nothing is wrong with it yet");
    let mut damages = 0;
    for (name, bytes) in &files {
        let path = root.join(name);
        let lines = is_log(name);
        for at in places(bytes) {
            // A log whose last line is not whole is being written.
            fs::write(&path, &bytes[..at]).unwrap();
            check(&root, name, &format!("cut at {at}"), lines);
            damages += 1;
        }
        let read_by_line = lines && !name.starts_with("tokens/") && !name.contains("/step-");
        for (what, garbage) in garbage(bytes) {
            fs::write(&path, garbage).unwrap();
            check(&root, name, what, !read_by_line);
            damages += 1;
        }
        fs::remove_file(&path).unwrap();
        let is_needed = name == "run.json" || name.starts_with("samples/step-");
        check(&root, name, "no such file", !is_needed);
        fs::create_dir(&path).unwrap();
        let is_read = !name.starts_with("tokens/") && !name.starts_with("evals/");
        check(&root, name, "a folder", !is_read);
        restore(&path, bytes);
        damages += 2;
    }
    assert_eq!(read_all(&root), [], "all is put back");
    assert!(damages > 500, "{damages}");
}

/// Other contents of a file, each with its name.
fn garbage(bytes: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let noise: Vec<u8> =
        (0..4096_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let line = bytes.iter().position(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let within = |middle: &[u8]| [&bytes[..line], middle, b"\n", &bytes[line..]].concat();
    vec![
        ("noise", [&noise[..], b"\n"].concat()),
        ("NUL bytes", [vec![0; 4096], b"\n".to_vec()].concat()),
        ("noise in a line", within(&noise)),
        ("a broken line", within(b"{\"step\":")),
        ("a list", within(b"[1,2,3]")),
        ("no UTF-8", within(b"{\"step\":\"\xff\xfe\"}")),
        ("numbers out of range", within(b"{\"step\":1e999,\"group\":-1}")),
        ("depth", within(&b"[".repeat(100_000))),
        ("format 1", within(b"{\"format\":1,\"step\":true}")),
        ("format 3", within(b"{\"format\":3,\"step\":true}")),
    ]
}

/// Runs the test above in a process of bounded memory: a reader that believes a damaged length
/// ends it.
#[test]
#[cfg(unix)]
fn damaged_files_are_named_and_the_rest_is_read_in_little_memory() {
    let own = std::env::current_exe().unwrap();
    let inner =
        "ulimit -v 4000000 && exec \"$0\" --exact --ignored damaged::every_damage_to_every_file";
    let output = Command::new("sh")
        .args(["-c", inner, own.to_str().unwrap()])
        .env("RAYON_NUM_THREADS", "1")
        .env("RUST_TEST_THREADS", "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

/// The file with this change of its header.
fn with_header(bytes: &[u8], change: &dyn Fn(&mut serde_json::Map<String, Value>)) -> Vec<u8> {
    let size = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let mut header: serde_json::Map<_, _> = serde_json::from_slice(&bytes[8..8 + size]).unwrap();
    change(&mut header);
    let text = Value::Object(header).to_string();
    [&(text.len() as u64).to_le_bytes()[..], text.as_bytes(), &bytes[8 + size..]].concat()
}

#[test]
fn a_safetensors_header_that_lies_is_a_problem() {
    let (temp, files) = small();
    let root = temp.path().join("run");
    let name = files.keys().find(|name| name.starts_with("samples/") && name.ends_with("tensors"));
    let (name, bytes) = files.get_key_value(name.unwrap()).unwrap();
    let path: PathBuf = root.join(name);
    let columns: Vec<String> = TokenFile::open(&path).unwrap().names();
    assert!(columns.len() > 12, "{columns:?}");
    let mut damages: Vec<(String, Vec<u8>)> = Vec::new();
    for length in [0, 1, 1 << 20, 1 << 40, 1 << 60, u64::MAX - 7, u64::MAX] {
        let mut other = bytes.clone();
        other[..8].copy_from_slice(&length.to_le_bytes());
        damages.push((format!("a header of {length} bytes"), other));
    }
    for column in &columns {
        for (what, change) in [
            ("dtype", json!({"dtype": "F64"})),
            ("unknown dtype", json!({"dtype": "NONE"})),
            ("shape", json!({"shape": [u64::MAX, u64::MAX]})),
            ("no shape", json!({"shape": []})),
            ("offsets", json!({"data_offsets": [0, u64::MAX]})),
            ("backwards", json!({"data_offsets": [8, 0]})),
            ("beyond", json!({"data_offsets": [1 << 30, (1 << 30) + 8]})),
            ("text", json!({"data_offsets": "0"})),
        ] {
            let other = with_header(bytes, &|header| {
                let own = header[column].as_object_mut().unwrap();
                own.extend(change.as_object().unwrap().clone());
            });
            damages.push((format!("{what} of {column}"), other));
        }
        let without = with_header(bytes, &|header| drop(header.remove(column)));
        damages.push((format!("no {column}"), without));
    }
    for (field, value) in [("format", "1"), ("format", "3"), ("step", "x"), ("temperature", "")] {
        let other = with_header(bytes, &|header| header["__metadata__"][field] = value.into());
        damages.push((format!("{field} {value:?}"), other));
    }
    damages.push((
        "no metadata".into(),
        with_header(bytes, &|header| drop(header.remove("__metadata__"))),
    ));
    for (what, other) in damages {
        fs::write(&path, other).unwrap();
        check(&root, name, &what, false);
    }
}

#[test]
fn an_index_that_does_not_fit_its_files_is_a_problem_of_them() {
    let (temp, files) = small();
    let root = temp.path().join("run");
    let path = root.join("samples/index.jsonl");
    let lines = String::from_utf8(files["samples/index.jsonl"].clone()).unwrap();
    let first: Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
    for (field, value) in [
        ("bytes", json!([0, 3])),
        ("bytes", json!([5, 1])),
        ("bytes", json!([0, u64::MAX])),
        ("bytes", json!([u64::MAX, u64::MAX])),
        ("step", json!(999)),
    ] {
        let mut line = first.clone();
        line[field] = value.clone();
        fs::write(&path, format!("{line}\n")).unwrap();
        let said = read_all(&root);
        assert!(
            said.iter().any(|problem| problem.file.contains("samples/step-")),
            "{value}: {said:?}"
        );
    }
    for (field, value) in [("bytes", json!([0])), ("step", json!(-1)), ("reward", json!({}))] {
        let mut line = first.clone();
        line[field] = value.clone();
        fs::write(&path, format!("{first}\n{line}\n")).unwrap();
        let said = read_all(&root);
        let named =
            |problem: &Problem| problem.file.ends_with("index.jsonl") && problem.line == Some(2);
        assert!(said.iter().any(named), "{value}: {said:?}");
    }
}
