//! What people name as data, through the binary: read, or refused for what it is.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;
use std::process::Output;

use crate::binary::stearin;

/// A recipe on two files.
const RECIPE: &str = r#"
model = { path = "builtin:atom" }
prompt = { template = { kind = "plain", text = "{problem}=" } }
[data]
train = { kind = "jsonl", path = "train.jsonl" }
held_out = { kind = "jsonl", path = "held.jsonl" }
[eval.sampling]
max_new_tokens = 4
[record]
samples = { every = 1 }

[[stage]]
kind = "rl"
steps = 1
batch = 1
group_size = 2
rollout = { max_new_tokens = 4 }
schedule = { kind = "constant", lr = 1e-4 }
"#;

const ROW: &str = r#"{"id":"t","problem":"1+1","answer":"2","source":"us"}"#;
const HELD: &str = r#"{"id":"h","problem":"2+2","answer":"4","source":"us"}"#;
const PREDICTION: &str = r#"{"gold":"2","prediction":"2","as":"answer"}"#;

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        for (name, text) in [("mine.toml", RECIPE), ("train.jsonl", ROW), ("held.jsonl", HELD)] {
            place.write(name, text.as_bytes());
        }
        place
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.path().join(name), bytes).unwrap();
    }

    fn run(&self, arguments: &[&str]) -> Output {
        stearin(self.path(), arguments)
    }

    /// Expects exit code 2 and no run, and returns what is said.
    #[track_caller]
    fn refused(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(output.stdout.is_empty() && !self.path().join("runs").exists());
        said
    }

    #[track_caller]
    fn done(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {said}");
        String::from_utf8(output.stdout).unwrap()
    }
}

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

#[test]
fn files_of_other_kinds_are_named_wherever_rows_are_read() {
    let kinds: Vec<(Vec<u8>, &str)> = vec![
        (b"\x1f\x8b\x08\0\0\0\0\0\0\x03".to_vec(), "this is a gzip file"),
        (b"PAR1\x15\x04\x15".to_vec(), "this is a Parquet file"),
        (utf16(ROW), "this is UTF-16 text"),
        (format!("[{ROW}]").into_bytes(), "line 1: a JSON array"),
        (ROW.replace(',', ",\n").into_bytes(), "line 1: the object is not closed"),
        (b"id,problem,answer\n".to_vec(), "this is a table with commas (CSV)"),
        (b"[\"t\",\"1+1\",\"2\",\"us\"]".to_vec(), "line 1: a list, expected an object"),
        (Vec::new(), "no rows"),
    ];
    for (bytes, what) in kinds {
        for (file, arguments) in [
            ("train.jsonl", &["train", "mine.toml"][..]),
            ("held.jsonl", &["train", "mine.toml", "--dry-run"]),
            ("rows.jsonl", &["grade", "rows.jsonl"]),
            ("rows.jsonl", &["bench", "grade", "rows.jsonl"]),
        ] {
            let place = Place::new();
            place.write(file, &bytes);
            let said = place.refused(arguments);
            assert!(said.contains(what) && said.contains(file), "{what}: {said}");
        }
    }
}

#[test]
fn marks_line_ends_and_numbers_are_read_wherever_rows_are_read() {
    let change = |row: &str| -> Vec<Vec<u8>> {
        let number = row.replace("\"2\"", "2").replace("\"4\"", "4");
        let other = number.replace("\"t\"", "7").replace("\"h\"", "-3");
        vec![
            format!("\u{feff}{row}\r\n").into_bytes(),
            format!("\r{row}\r").into_bytes(),
            number.into_bytes(),
            format!("\n{other}\n\n").into_bytes(),
        ]
    };
    for (train, held) in change(ROW).into_iter().zip(change(HELD)) {
        let place = Place::new();
        place.write("train.jsonl", &train);
        place.write("held.jsonl", &held);
        place.done(&["train", "mine.toml", "--run-dir", "run"]);
        let lines = fs::read_to_string(place.path().join("run/samples/step-000001.jsonl"));
        assert!(lines.unwrap().contains("\"gold\":\"2\""));
    }
    for rows in change(PREDICTION) {
        let place = Place::new();
        place.write("rows.jsonl", &rows);
        let verdict = place.done(&["grade", "rows.jsonl"]);
        assert!(verdict.contains("\"verdict\":\"correct\""), "{verdict}");
    }
}

#[test]
fn a_recipe_is_read_with_a_mark_and_refused_as_anything_else() {
    let place = Place::new();
    place.write("mine.toml", format!("\u{feff}{RECIPE}").as_bytes());
    place.write("over.toml", "\u{feff}seed = 9".as_bytes());
    place.done(&["train", "mine.toml", "over.toml", "--dry-run"]);
    place.write("mine.toml", &utf16(&format!("\u{feff}{RECIPE}")));
    let said = place.refused(&["train", "mine.toml"]);
    assert!(said.contains("mine.toml is UTF-16 text, expected a recipe in TOML"), "{said}");
    place.write("mine.toml", b"seed = 1\nname = \"\xe9\"\n");
    let said = place.refused(&["train", "mine.toml"]);
    assert!(said.contains("mine.toml:2: expected UTF-8"), "{said}");
    fs::create_dir(place.path().join("folder")).unwrap();
    place.write("folder/recipe.toml", RECIPE.as_bytes());
    let said = place.refused(&["train", "folder"]);
    assert!(said.contains("folder is a folder, expected a recipe in TOML\nit holds recipe.toml"));
    // A folder does not hide a shipped recipe of its name.
    fs::create_dir(place.path().join("quickstart")).unwrap();
    place.done(&["train", "quickstart", "--dry-run"]);
}

#[test]
fn an_array_in_place_of_a_table_is_refused_in_recipes() {
    for (setting, words) in [
        ("model=[\"builtin:atom\"]", "expected a table, got a list"),
        ("eval.sampling=[]", "expected a table, got a list"),
        ("checkpoint=[5]", "expected a table, got a list"),
        (
            "stage.rl.schedule=[\"constant\", 1e-3]",
            "expected a name or a table with `kind`, got a list",
        ),
        ("data.train.limit=1", ""),
    ] {
        let place = Place::new();
        let arguments = ["train", "mine.toml", "--dry-run", "--set", setting];
        if words.is_empty() {
            place.done(&arguments);
            continue;
        }
        let said = place.refused(&arguments);
        assert!(said.contains(words), "{said}");
        assert!(said.contains(&format!("--set {setting}")), "{said}");
    }
}

/// Fails where a part of a message, between colons or on a line, is said twice.
#[track_caller]
fn said_once(said: &str) {
    let mut parts: Vec<_> =
        said.split(['\n']).flat_map(|line| line.split(": ")).map(str::trim).collect();
    parts.retain(|part| !part.is_empty());
    parts.sort_unstable();
    assert!(parts.windows(2).all(|pair| pair[0] != pair[1]), "said twice:\n{said}");
    assert!(said.matches("os error").count() <= 1, "a cause is said twice:\n{said}");
}

#[test]
fn no_failure_names_its_cause_twice() {
    let place = Place::new();
    fs::create_dir_all(place.path().join("folder/run")).unwrap();
    fs::create_dir_all(place.path().join("model/config.json")).unwrap();
    place.write("file", b"x");
    place.write("cut.gguf", b"GGUF");
    place.write("folder/run/recipe.toml", RECIPE.as_bytes());
    let set = |setting: &'static str| vec!["train", "mine.toml", "--set", setting];
    let mut failures = vec![
        vec!["train", "none.toml"],
        vec!["train", "folder"],
        vec!["train", "file"],
        set("data.train.path=none.jsonl"),
        set("data.train.path=folder"),
        set("data.held_out.path=folder"),
        set("data.train.path=file"),
        set("model.path=none"),
        set("model.path=folder"),
        set("model.path=folder/run"),
        set("model.path=file"),
        set("model.path=model"),
        set("model.path=cut.gguf"),
        set("stage.rl.rewards=[{kind=\"process\",command=[\"./none\"]}]"),
        set("stage.rl.rewards=[{kind=\"process\",command=[\"./folder\"]}]"),
        set("stage.rl.rewards=[{kind=\"http\",url=\"https://here\",ca=\"none.pem\"}]"),
        set("stage.rl.rewards=[{kind=\"http\",url=\"https://here\",ca=\"folder\"}]"),
        vec!["train", "mine.toml", "--run-dir", "file/run"],
        vec!["train", "mine.toml", "--run-dir", "file"],
        vec!["train", "mine.toml", "--run-dir", "none", "--resume"],
        vec!["train", "mine.toml", "--run-dir", "folder/run", "--resume"],
        vec!["grade", "none.jsonl"],
        vec!["grade", "folder"],
        vec!["grade", "file"],
        vec!["bench", "grade", "none.jsonl"],
        vec!["sample", "--model", "none", "1+1"],
        vec!["sample", "--model", "cut.gguf", "1+1"],
        vec!["sample", "--model", "folder", "1+1"],
    ];
    if cfg!(target_os = "linux") {
        // A file that opens and cannot be read.
        failures.extend([
            set("data.train.path=/proc/self/mem"),
            vec!["train", "/proc/self/mem"],
            vec!["grade", "/proc/self/mem"],
        ]);
    }
    for failure in failures {
        said_once(&place.refused(&failure));
    }
}
