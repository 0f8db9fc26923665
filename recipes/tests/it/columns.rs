//! Columns of rows as people have them, and what is refused by its file, row and column.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::io::Write as _;

use recipes::train::Ended;

use crate::runs::{RECIPE, Run};
use crate::shapes::{read, read_in};

/// A recipe whose verifier is the user's own.
const OUTSIDE: &str = r#"
model = { path = "builtin:atom" }
[data]
train = { kind = "file", TRAIN }
held_out = { kind = "jsonl", path = "held.jsonl" }
[eval]
rewards = [{ kind = "process", command = ["true"] }]
[[stage]]
kind = "rl"
steps = 1
batch = 1
group_size = 2
rewards = [{ kind = "process", command = ["true"] }]
schedule = { kind = "constant", lr = 1e-4 }
"#;

fn rows(rows: &str, keys: &str) -> Result<Vec<rewards::Problem>, String> {
    let train = format!("path = \"a.jsonl\"{keys}");
    Ok(read("a.jsonl", rows.as_bytes(), &train)?.train)
}

fn outside(rows: &[u8], keys: &str) -> Result<Vec<rewards::Problem>, String> {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.jsonl"), rows).unwrap();
    let train = format!("path = \"a.jsonl\"{keys}");
    Ok(read_in(folder.path(), &train, OUTSIDE)?.train)
}

#[test]
fn rows_need_a_problem_and_an_answer_alone() {
    let found =
        rows("{\"problem\":\"p\",\"answer\":\"1\"}\n\n{\"problem\":\"q\",\"answer\":true}", "");
    let found = found.unwrap();
    let ids: Vec<_> = found.iter().map(|one| (&*one.id, &*one.source, &*one.answer)).collect();
    assert_eq!(ids, [("1", "a.jsonl", "1"), ("2", "a.jsonl", "true")]);
}

#[test]
fn numbers_are_answers_and_ids_with_every_digit() {
    let row = |id: &str, answer: &str| {
        format!("{{\"id\":{id},\"problem\":\"p\",\"answer\":{answer},\"source\":\"us\"}}\n")
    };
    let texts = ["42", "-7", "1.50", "12345678901234567890123", "0.1", "-0", "3e8"];
    let all: String = texts.iter().map(|number| row(number, number)).collect();
    for (problem, text) in rows(&all, "").unwrap().iter().zip(texts) {
        assert_eq!((problem.id.as_str(), problem.answer.as_str()), (text, text));
    }
    for value in ["[4, 2]", "{}"] {
        let error = rows(&row("1", value), "").unwrap_err();
        let expected =
            format!("line 1: column `answer`: expected text, a number or a boolean, got {value}");
        assert!(error.ends_with(&expected), "{error}");
    }
    // A number and a text of the same digits name the same problem.
    let error = rows(&(row("1", "2") + &row("\"1\"", "2")), "").unwrap_err();
    assert!(error.contains("line 2: id `1` stands on line 1 too: ids are unique"), "{error}");
    let twice = row("1", "2") + &row("1", "2");
    let found = rows(&twice, ", columns = { id = \"off\" }").unwrap();
    assert_eq!(found[1].id, "2");
    let error = rows(r#"{"problem": 2, "answer": 3}"#, "").unwrap_err();
    assert!(error.ends_with("line 1: column `problem`: expected text, got 2"), "{error}");
}

#[test]
fn a_column_that_is_missing_is_named_with_its_key() {
    let row = r#"{"id": "a", "frage": "1+1", "antwort": {"wert": [7, 2]}}"#;
    let error = rows(row, "").unwrap_err();
    assert!(error.contains("a.jsonl: line 1: no problem: expected a column `problem`"), "{error}");
    assert!(error.contains("the row has `antwort`, `frage`, `id`\nname the row's own"), "{error}");
    // One that is there and empty is not missing.
    for row in [r#"{"problem": null, "answer": 1}"#, r#"{"Question": null, "answer": 1}"#] {
        let error = rows(row, "").unwrap_err();
        assert!(error.ends_with("` is empty: expected a problem"), "{error}");
    }
    let error = rows(row, ", columns = { problem = \"fraage\" }").unwrap_err();
    assert!(error.contains("column `fraage` (columns.problem) is missing: the row has"), "{error}");
    let error = rows(row, ", columns = { problem = \"frag\" }").unwrap_err();
    let near = "column `frag` (columns.problem) is missing: the row has `frage`, ";
    assert!(error.contains(near), "{error}");
    assert!(error.contains("\ndid you mean columns.problem = \"frage\"?"), "{error}");
    let error = rows(row, ", columns = { problem = \"frage\" }").unwrap_err();
    assert!(error.contains("line 1: no answer, which `math` of stage.0.rewards reads"), "{error}");
    assert!(error.contains("columns.answer, or set answer_from"), "{error}");
    let found =
        rows(row, ", columns = { problem = \"frage\", answer = \"antwort.wert.1\" }").unwrap();
    assert_eq!((&*found[0].problem, &*found[0].answer), ("1+1", "2"));
    let error = rows(row, ", columns = { question = \"frage\" }").unwrap_err();
    assert!(error.contains("unknown") && error.contains("`question`"), "{error}");
    let error = rows(row, ", answer_from = \"\"").unwrap_err();
    assert!(error.contains("a marker such as"), "{error}");
}

#[test]
fn a_chat_is_a_prompt_with_its_history() {
    let row = r#"{"messages": [{"role":"system","content":"s"},{"role":"user","content":"a"},
        {"role":"assistant","content":"b"},{"role":"user","content":"c"}], "answer": 1}"#;
    let row = row.replace('\n', " ");
    let found = &rows(&row, "").unwrap()[0];
    let turns: Vec<_> = found.history.iter().map(|t| (t.role.name(), &*t.content)).collect();
    assert_eq!(turns, [("system", "s"), ("user", "a"), ("assistant", "b")]);
    assert_eq!((&*found.problem, &found.solution), ("c", &None));
    let error = rows(&row.replace("assistant", "tool"), "").unwrap_err();
    assert!(error.contains("line 1: column `messages`: turn 3: role `tool`: expected"), "{error}");
}

#[test]
fn verifiers_get_the_other_columns_and_need_no_answer() {
    let row = r#"{"question": "p", "tests": ["assert f(1) == 2"], "meta": {"level": 3}}"#;
    let found = &outside(row.as_bytes(), "").unwrap()[0];
    assert_eq!(found.answer, "");
    let columns = serde_json::to_string(&found.columns).unwrap();
    assert_eq!(columns, r#"{"meta":{"level":3},"tests":["assert f(1) == 2"]}"#);
    let kept = &outside(row.as_bytes(), ", columns = { keep = [\"tests\"] }").unwrap()[0];
    assert_eq!(kept.columns.keys().collect::<Vec<_>>(), ["tests"]);
    let error = outside(row.as_bytes(), ", columns = { keep = [\"test\"] }").unwrap_err();
    assert!(error.contains("line 1: column `test` (columns.keep) is missing"), "{error}");
    // Nobody reads them: nothing is kept, so that memory is not spent.
    let inside = rows(&row.replace("\"meta\"", "\"answer\": 1, \"meta\""), "").unwrap();
    assert!(inside[0].columns.is_empty());
    let large = row.replace("assert", &"x".repeat(2 << 20));
    let error = outside(large.as_bytes(), "").unwrap_err();
    assert!(error.contains("more than 1024 KiB, up to `tests`\nname those"), "{error}");
    assert!(outside(large.as_bytes(), ", columns = { keep = [\"tests\"] }").is_ok());
    let deep = row.replace('3', &format!("{}{}", "[".repeat(200), "]".repeat(200)));
    let error = outside(deep.as_bytes(), "").unwrap_err();
    assert!(error.contains("column `meta`: nested too deep"), "{error}");
}

#[test]
fn every_format_holds_the_same_rows() {
    let lines = "{\"problem\":\"a, \\\"b\\\"\\nc\",\"answer\":\"1\"}\n{\"problem\":\"ü\",\"answer\":\"2\"}\n";
    let array = format!("[{}]", lines.trim().replace("}\n{", "},\n {"));
    let csv = "problem,answer\n\"a, \"\"b\"\"\nc\",1\nü,2\n";
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gz.write_all(lines.as_bytes()).unwrap();
    let gz = gz.finish().unwrap();
    let files: [(&str, &[u8]); 8] = [
        ("a.jsonl", lines.as_bytes()),
        ("a.json", array.as_bytes()),
        ("a.json", lines.as_bytes()),
        ("a.csv", csv.as_bytes()),
        (
            "a.tsv",
            &csv.replace("problem,answer", "problem\tanswer")
                .replace("\",1", "\"\t1")
                .replace("ü,2", "ü\t2")
                .into_bytes(),
        ),
        (
            "a.csv",
            &csv.replace("problem,answer", "problem;answer")
                .replace("\",1", "\";1")
                .replace("ü,2", "ü;2")
                .into_bytes(),
        ),
        ("a.jsonl.gz", &gz),
        ("a", &gz),
    ];
    for (name, bytes) in files {
        let found = read(name, bytes, &format!("path = \"{name}\"")).unwrap();
        let all: Vec<_> = found.train.iter().map(|one| (&*one.problem, &*one.answer)).collect();
        assert_eq!(all, [("a, \"b\"\nc", "1"), ("ü", "2")], "{name}");
        let digest = &found.files.0["data.train"];
        assert_eq!(digest.bytes, bytes.len() as u64, "{name}: the digest is of the whole file");
        // Cut anywhere, it is an error or fewer rows, and no panic.
        for end in 0..bytes.len() {
            let _ = read(name, &bytes[..end], &format!("path = \"{name}\""));
        }
    }
    let limited = read("a.csv", csv.as_bytes(), "path = \"a.csv\", limit = 1").unwrap();
    assert_eq!(limited.train.len(), 1);
}

#[test]
fn a_format_other_than_the_kind_says_is_refused_with_the_key() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = OUTSIDE.replace("kind = \"file\", TRAIN", "kind = \"jsonl\", TRAIN");
    fs::write(folder.path().join("a.csv"), "problem,answer\na,1\n").unwrap();
    let error = read_in(folder.path(), "path = \"a.csv\"", &recipe).unwrap_err();
    assert!(error.contains("a table with commas (CSV)"), "{error}");
    assert!(error.ends_with("or set kind = \"file\", which reads it as it is"), "{error}");
}

#[test]
fn parquet_columns_of_every_type_are_read() {
    let types = include_bytes!("../../testdata/types.parquet");
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.parquet"), types).unwrap();
    let found = read_in(folder.path(), "path = \"a.parquet\"", OUTSIDE).unwrap().train;
    assert_eq!((&*found[0].answer, &*found[1].answer), ("9007199254740993", ""));
    let columns = |at: usize| serde_json::to_value(&found[at].columns).unwrap();
    let expected = serde_json::json!({
        "bool": true, "bytes": "plain", "category": "one", "date": "2026-11-29", "decimal": "1.50",
        "f32": 0.1, "f64": 0.1, "i8": -1, "list": [1, 2], "map": {"k": 1},
        "struct": {"x": {"y": "z"}}, "text": "ü", "u64": u64::MAX,
    });
    assert_eq!(columns(0), expected);
    assert!(columns(1)["f64"].is_null() && columns(1)["struct"].is_null());
}

#[test]
fn a_parquet_file_that_cannot_be_read_says_why() {
    let zstd = include_bytes!("../../testdata/zstd.parquet");
    let read = |bytes: &[u8]| read("a.parquet", bytes, "path = \"a.parquet\"");
    if cfg!(feature = "zstd") {
        assert_eq!(read(zstd).unwrap().train.len(), 1);
    } else {
        let error = read(zstd).unwrap_err();
        assert!(error.contains("packed with zstd") && error.contains("--features zstd"), "{error}");
    }
    let error = read(include_bytes!("../../testdata/empty.parquet")).unwrap_err();
    assert!(error.contains("no rows"), "{error}");
    let whole = include_bytes!("../../testdata/verl.parquet");
    for end in (0..whole.len()).step_by(37) {
        assert!(read(&whole[..end]).is_err());
    }
    // Damaged anywhere: read or refused, in bounded time and memory, and never a panic.
    for at in (0..whole.len()).step_by(11) {
        let mut bytes = whole.to_vec();
        bytes[at] ^= 0x55;
        let _ = read(&bytes);
    }
}

#[test]
fn a_folder_and_a_pattern_are_their_files_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let rows = folder.path().join("rows");
    fs::create_dir(&rows).unwrap();
    let row = |name: &str| format!("{{\"problem\":\"{name}\",\"answer\":1}}\n");
    for name in ["train-1.jsonl", "train-0.jsonl"] {
        fs::write(rows.join(name), row(name)).unwrap();
    }
    fs::write(rows.join("README.md"), "words").unwrap();
    let recipe = OUTSIDE;
    let found = read_in(folder.path(), "path = \"rows\"", recipe).unwrap();
    let ids: Vec<_> = found.train.iter().map(|one| (&*one.id, &*one.problem)).collect();
    assert_eq!(ids, [("train-0.jsonl:1", "train-0.jsonl"), ("train-1.jsonl:1", "train-1.jsonl")]);
    let roles: Vec<_> = found.files.0.keys().map(String::as_str).collect();
    assert_eq!(roles, ["data.held_out", "data.train/train-0.jsonl", "data.train/train-1.jsonl"]);
    fs::write(rows.join("test.jsonl"), row("test")).unwrap();
    let error = read_in(folder.path(), "path = \"rows\"", recipe).unwrap_err();
    assert!(error.contains("several splits, test.jsonl and train-0.jsonl"), "{error}");
    assert!(error.contains("`rows/train*`"), "{error}");
    let found = read_in(folder.path(), "path = \"rows/train*\"", recipe).unwrap();
    assert_eq!(found.train.len(), 2);
    let error = read_in(folder.path(), "path = \"rows/x*\"", recipe).unwrap_err();
    assert!(error.contains("no file matches `rows/x*`") && error.contains("README.md"), "{error}");
    fs::create_dir(folder.path().join("none")).unwrap();
    let error = read_in(folder.path(), "path = \"none\"", recipe).unwrap_err();
    assert!(error.contains("holds no file with rows"), "{error}");
}

#[cfg(unix)]
#[test]
fn a_pipe_or_a_device_is_an_error_and_no_wait() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe.jsonl");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    for path in [pipe.to_str().unwrap(), "/dev/zero"] {
        let error = read_in(folder.path(), &format!("path = \"{path}\""), OUTSIDE).unwrap_err();
        assert!(error.contains("expected a file, got a pipe or a device"), "{error}");
    }
}

#[test]
fn chats_that_end_alike_are_different_problems() {
    let row = |first: &str| {
        format!(
            "{{\"messages\":[{{\"role\":\"user\",\"content\":\"{first}\"}},\
             {{\"role\":\"assistant\",\"content\":\"ok\"}},\
             {{\"role\":\"user\",\"content\":\"held out\"}}],\"answer\":1}}\n"
        )
    };
    // The held-out problem is the last question by itself.
    assert_eq!(rows(&(row("a") + &row("b")), "").unwrap().len(), 2);
    let error = rows(r#"{"problem": "held out", "answer": 1}"#, "").unwrap_err();
    assert!(error.contains("no problem is left to train on"), "{error}");
}

#[test]
fn plain_chats_are_learnt_without_held_out_problems() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chats.jsonl");
    let turn = |role: &str, text: &str| format!("{{\"role\":\"{role}\",\"content\":\"{text}\"}}");
    let asked = |a: usize| turn("user", &format!("{a}+1"));
    let chat = |a: usize| {
        format!("{{\"messages\":[{},{}]}}\n", asked(a), turn("assistant", &(a + 1).to_string()))
    };
    let chats: String = (1..7).map(chat).collect();
    let begin = RECIPE.find("train = ").unwrap();
    let (sft, rl) = (RECIPE.find("[[stage]]").unwrap(), RECIPE.rfind("[[stage]]").unwrap());
    let data = format!("train = {{ kind = \"jsonl\", path = {:?} }}\n", path.display().to_string());
    let with = |held_out: &str| format!("{}{data}{held_out}{}", &RECIPE[..begin], &RECIPE[sft..rl]);
    let train = |name: &str, recipe: &str| {
        let root = folder.path().join(name);
        let ended = Run { recipe, ..Run::new(&root) }.train();
        ended.map_err(|error| format!("{error:#}"))
    };
    fs::write(&path, &chats).unwrap();
    assert_eq!(train("run", &with("")), Ok(Ended::Finished));
    let split = with("held_out = { kind = \"split\", count = 2 }\n");
    let error = train("split", &split).unwrap_err();
    assert!(error.contains("no answer, which `math` of eval.rewards reads"), "{error}");
    assert!(error.contains("leave data.held_out out"), "{error}");
    // Whatever is held out, the chats without a last turn are more.
    let open: Vec<_> = (0..4).map(|a| format!("{{\"messages\":[{}]}}\n", asked(10 + a))).collect();
    fs::write(&path, chats + &open.concat()).unwrap();
    for (name, recipe) in [("open", with("")), ("open-split", split)] {
        let error = train(name, &recipe).unwrap_err();
        assert!(error.contains(": no solution to learn"), "{error}");
        assert!(!error.contains("math"), "{error}");
    }
}

#[test]
fn a_missing_answer_names_the_columns_and_an_empty_cell_its_own() {
    let csv = |text: &str, keys: &str| {
        let train = format!("path = \"a.csv\"{keys}");
        read("a.csv", text.as_bytes(), &train).map(|_| ()).unwrap_err()
    };
    let error = csv("question,final\n1+1,2\n", "");
    assert!(error.contains("reads: the row has `final`, `question`\nname its column"), "{error}");
    let named = ", columns = { answer = \"final\" }";
    let error = csv("question,final\n1+1,2\n2+2,\n", named);
    assert!(error.contains("row 2: column `final` is empty"), "{error}");
    let error = csv("q,answer\n,2\n", ", columns = { problem = \"q\" }");
    assert!(error.contains("row 1: column `q` is empty"), "{error}");
}

/// The notes on rows that a verifier of the user's own judges.
fn notes(rows: &str, keys: &str) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.jsonl"), rows).unwrap();
    let train = format!("path = \"a.jsonl\"{keys}");
    let notes = read_in(folder.path(), &train, OUTSIDE).unwrap().notes;
    notes.into_iter().filter(|note| note.contains("no answer")).collect()
}

#[test]
fn a_verifier_that_gets_no_gold_is_noted_with_the_columns_that_may_have_it() {
    let row = |n: usize| format!("{{\"problem\":\"p{n}\",\"worked\":\"w\",\"Label\":\"{n}\"}}\n");
    let rows: String = (0..3).map(row).collect();
    let begin = "data.train: no answer: `gold` is empty in all 3 rows of a.jsonl; columns without a \
                 role: `Label`, `worked` ";
    let end = ". If one of them is the answer: columns = { answer = \"Label\" }; if the verifier needs \
               no answer: columns = { answer = \"off\" }";
    let expected = |handed: &str| [format!("{begin}({handed}){end}")];
    assert_eq!(notes(&rows, ""), expected("the verifier gets them in `columns`"));
    let keep = |names: &str| notes(&rows, &format!(", columns = {{ keep = {names} }}"));
    assert_eq!(keep("[]"), expected("columns.keep leaves them out"));
    assert_eq!(keep("[\"worked\"]"), expected("the verifier gets `worked` in `columns`"));
    // What the note says.
    assert_eq!(notes(&rows, ", columns = { answer = \"off\" }"), [""; 0]);
    let key = ", columns = { answer = \"Label\" }";
    assert_eq!(notes(&rows, key), [""; 0]);
    assert_eq!(outside(rows.as_bytes(), key).unwrap()[2].answer, "2");
    let bare = notes("{\"problem\":\"p\"}", "");
    assert!(bare[0].contains("there is no other column. If the verifier needs no"), "{bare:?}");
}

#[test]
fn a_verifier_that_gets_gold_for_some_rows_is_noted_with_their_number() {
    let answers = ["\"1\"", "\"\"", "\"3\"", "null"];
    let row = |(n, answer)| format!("{{\"problem\":\"p{n}\",\"answer\":{answer},\"more\":1}}\n");
    let rows: String = answers.iter().enumerate().map(row).collect();
    let expected = "data.train: no answer: `gold` is empty in 2 of 4 rows of a.jsonl, the first on \
                    line 2; the column `answer` is empty there";
    assert_eq!(notes(&rows, ""), [expected]);
    assert_eq!(notes(&rows, ", limit = 1"), [""; 0]);
    let folder = tempfile::tempdir().unwrap();
    for name in ["train-0.jsonl", "train-1.jsonl"] {
        fs::write(folder.path().join(name), &rows).unwrap();
    }
    let found = read_in(folder.path(), "path = \"train*\"", OUTSIDE).unwrap();
    let noted: Vec<_> = found.notes.iter().filter(|note| note.contains("no answer")).collect();
    assert!(noted.len() == 1 && noted[0].contains("4 of 8 rows of 2 files"), "{noted:?}");
}

#[test]
fn rows_whose_answers_nobody_gets_need_no_note() {
    let rl = OUTSIDE.find("[[stage]]").unwrap();
    let sft = "[[stage]]\nkind = \"sft\"\nsteps = 1\nbatch = 1\n\
               schedule = { kind = \"constant\", lr = 1e-4 }\n";
    let supervised = format!("{}{sft}", &OUTSIDE[..rl]);
    let row = "{\"problem\":\"p\",\"solution\":\"s\"}\n{\"problem\":\"q\",\"solution\":\"s\"}";
    let noted = |recipe: &str| {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a.jsonl"), row).unwrap();
        let found = read_in(folder.path(), "path = \"a.jsonl\"", recipe).unwrap();
        found.notes.iter().any(|note| note.contains("no answer"))
    };
    assert!(noted(OUTSIDE));
    assert!(!noted(&supervised), "the evaluation has rows of its own");
    let held = "held_out = { kind = \"jsonl\", path = \"held.jsonl\" }";
    let split = supervised.replace(held, "held_out = { kind = \"split\", count = 1 }");
    assert!(noted(&split), "the evaluation has rows of these");
}
