//! Ten shapes that public data sets have, in rows made for this test: each is read by a recipe of a
//! few lines.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;

use recipes::config::Recipe;
use recipes::data::{Problems, problems};
use recipes::search_path::SearchPath;

const RECIPE: &str = r#"
model = { path = "builtin:atom" }
[data]
train = { kind = "file", TRAIN }
held_out = { kind = "jsonl", path = "held.jsonl" }
[[stage]]
kind = "rl"
steps = 1
batch = 1
group_size = 2
schedule = { kind = "constant", lr = 1e-4 }
"#;

const HELD: &str = r#"{"problem": "held out", "answer": "0"}"#;

/// Reads `train` (the keys of the source) beside the file `name`.
pub(crate) fn read(name: &str, contents: &[u8], train: &str) -> Result<Problems, String> {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(name), contents).unwrap();
    read_in(folder.path(), train, RECIPE)
}

/// Reads `train` in a folder that has its files.
pub(crate) fn read_in(folder: &Path, train: &str, recipe: &str) -> Result<Problems, String> {
    fs::write(folder.join("held.jsonl"), HELD).unwrap();
    let recipe = Recipe::parse("test", &recipe.replace("TRAIN", train));
    let recipe = recipe.map_err(|error| format!("{error:#}"))?;
    problems(&recipe, &SearchPath::of_recipe(folder)).map_err(|error| format!("{error:#}"))
}

struct Shape {
    /// The file, which names the data set that it is like.
    file: &'static str,
    rows: &'static str,
    /// Keys besides `path`.
    keys: &'static str,
    problem: &'static str,
    answer: &'static str,
    solution: Option<&'static str>,
    source: &'static str,
}

const SHAPES: &[Shape] = &[
    Shape {
        file: "gsm8k.jsonl",
        rows: r#"{"question": "How many?", "answer": "2 + 2 = <<2+2=4>>4\n#### 1,004"}"#,
        keys: "",
        problem: "How many?",
        answer: "1,004",
        solution: Some("2 + 2 = <<2+2=4>>4\n#### 1,004"),
        source: "gsm8k.jsonl",
    },
    Shape {
        file: "math.jsonl",
        rows: r#"{"problem": "Half?", "level": "Level 1", "type": "Algebra",
                  "solution": "So it is $\\boxed{\\frac{1}{2}}$."}"#,
        keys: "",
        problem: "Half?",
        answer: r"\frac{1}{2}",
        solution: Some(r"So it is $\boxed{\frac{1}{2}}$."),
        source: "math.jsonl",
    },
    Shape {
        file: "math500.jsonl",
        rows: r#"{"problem": "Half?", "solution": "It is $\\boxed{0.5}$.", "answer": "0.5",
                  "subject": "Algebra", "level": 1, "unique_id": "test/algebra/1.json"}"#,
        keys: r#", columns = { id = "unique_id", source = "subject" }"#,
        problem: "Half?",
        answer: "0.5",
        solution: Some("It is $\\boxed{0.5}$."),
        source: "Algebra",
    },
    Shape {
        file: "aime.csv",
        rows: "ID,Problem,Solution,Answer\n2024-I-1,\"Find $a,b$.\",,033\n",
        keys: "",
        problem: "Find $a,b$.",
        answer: "033",
        solution: None,
        source: "aime.csv",
    },
    Shape {
        file: "sharegpt.json",
        rows: r#"[{"id": "x1", "conversations": [{"from": "human", "value": "Hello?"},
                  {"from": "gpt", "value": "Yes: $\\boxed{1}$"}]}]"#,
        keys: "",
        problem: "Hello?",
        answer: "1",
        solution: Some("Yes: $\\boxed{1}$"),
        source: "sharegpt.json",
    },
    Shape {
        file: "alpaca.csv",
        rows: "instruction,input,output,text\nAdd them.,\"1, 2\",3,\"...\"\n",
        keys: r#", columns = { answer = "output" }"#,
        problem: "Add them.\n\n1, 2",
        answer: "3",
        solution: Some("3"),
        source: "alpaca.csv",
    },
    Shape {
        file: "trl.jsonl",
        rows: r#####"{"prompt": [{"role": "user", "content": "1 + 1?"}],
                  "completion": [{"role": "assistant", "content": "#### 2"}]}"#####,
        keys: "",
        problem: "1 + 1?",
        answer: "2",
        solution: Some("#### 2"),
        source: "trl.jsonl",
    },
    Shape {
        file: "open_reasoner_zero.json",
        rows: r#"[[{"from": "human", "value": "2 + 3?"},
                   {"from": "assistant", "ground_truth": {"value": "5"}}]]"#,
        keys: r#", columns = { problem = "0.value", answer = "1.ground_truth.value" }"#,
        problem: "2 + 3?",
        answer: "5",
        solution: None,
        source: "open_reasoner_zero.json",
    },
    Shape {
        file: "metamath.json",
        rows: r#"[{"type": "GSM_Rephrased", "query": "What is 60 + 60?",
                   "original_question": "60 + 60?",
                   "response": "It is 120.\n#### 120\nThe answer is: 120"}]"#,
        keys: r#", answer_from = "The answer is:", columns = { source = "type" }"#,
        problem: "What is 60 + 60?",
        answer: "120",
        solution: Some("It is 120.\n#### 120\nThe answer is: 120"),
        source: "GSM_Rephrased",
    },
];

#[test]
fn ten_public_shapes_are_read_by_a_few_keys() {
    for shape in SHAPES {
        // One row is one line where the format asks for it.
        let rows = if shape.file.ends_with("jsonl") {
            shape.rows.split_whitespace().collect::<Vec<_>>().join(" ")
        } else {
            shape.rows.to_owned()
        };
        let train = format!("path = \"{}\"{}", shape.file, shape.keys);
        let found = read(shape.file, rows.as_bytes(), &train).unwrap();
        let [one] = found.train.as_slice() else { panic!("{}: {found:?}", shape.file) };
        let got = (one.problem.as_str(), one.answer.as_str(), one.solution.as_deref());
        assert_eq!(got, (shape.problem, shape.answer, shape.solution), "{}", shape.file);
        assert_eq!(one.source, shape.source, "{}", shape.file);
        assert!(found.notes.iter().any(|note| note.contains(shape.file)), "{:?}", found.notes);
    }
    // The tenth: verl's columns, as DAPO-Math-17k has them.
    let verl = include_bytes!("../../testdata/verl.parquet");
    let found = read("verl.parquet", verl, "path = \"verl.parquet\"").unwrap();
    let problems: Vec<_> = found.train.iter().map(|one| (&*one.problem, &*one.answer)).collect();
    assert_eq!(problems[0], ("Solve it.\n\nWhat is 1 + 1?", "2"));
    assert_eq!((problems.len(), problems[2].1), (3, "6"));
    assert!(found.train.iter().all(|one| one.source == "math_dapo" && one.solution.is_none()));
    assert!(
        found.notes[0].contains("answer from `reward_model.ground_truth`"),
        "{:?}",
        found.notes
    );
}

#[test]
fn an_ambiguous_shape_names_the_key_to_set() {
    // OpenR1's and NuminaMath's: a problem with its solution, and the same as a chat.
    let openr1 = include_bytes!("../../testdata/openr1.parquet");
    let with = |keys: &str| read("r1.parquet", openr1, &format!("path = \"r1.parquet\"{keys}"));
    let error = with("").unwrap_err();
    assert!(error.contains("row 1: the problem may be in any of `problem`, `messages`"), "{error}");
    assert!(error.contains("columns = { problem = \"problem\" }"), "{error}");
    let text = &with(", columns = { problem = \"problem\" }").unwrap().train[0];
    assert_eq!(text.solution.as_deref(), Some("Twice three is six, $\\boxed{6}$."));
    let chat = &with(", columns = { problem = \"messages\" }").unwrap().train[0];
    assert_eq!(chat.solution.as_deref(), Some("<think>2 * 3</think>It is $\\boxed{6}$."));
    assert_eq!((&*chat.problem, &*chat.answer), ("What is 2 * 3?", "6"));

    let row = |rows: &str, keys: &str| {
        read("a.jsonl", rows.as_bytes(), &format!("path = \"a.jsonl\"{keys}"))
    };
    let error = row(r#"{"question": "a", "prompt": "b", "answer": 1}"#, "").unwrap_err();
    assert!(error.contains("any of `question`, `prompt`\nset columns.problem"), "{error}");
    let both = r#"{"problem": "a", "solution": "\\boxed{2}\n#### 3"}"#;
    let error = row(both, "").unwrap_err();
    assert!(error.contains("set answer_from to \"####\" or \"boxed\""), "{error}");
    for (from, answer) in [("boxed", "2"), ("####", "3")] {
        let found = row(both, &format!(", answer_from = \"{from}\"")).unwrap();
        assert_eq!(found.train[0].answer, answer);
    }
    let error = row(both, ", answer_from = \"The answer is\"").unwrap_err();
    assert!(error.contains("line 1: no `The answer is` with an answer behind it"), "{error}");
}
