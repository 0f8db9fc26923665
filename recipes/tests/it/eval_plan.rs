//! `stearin eval --dry-run`, and what is said before anything is sampled.

use std::fs;

use crate::binary::{stderr, stdout, stearin};

#[test]
fn a_dry_run_shows_the_first_prompt_and_leaves_nothing() {
    let temp = tempfile::tempdir().unwrap();
    let rows = "{\"problem\":\"What is 12 + 30?\",\"answer\":\"42\"}\n\
                {\"problem\":\"What is 1 + 1?\",\"answer\":\"2\"}\n";
    fs::write(temp.path().join("mine.jsonl"), rows).unwrap();
    let mut arguments = vec!["eval", "--model", "builtin:atom", "--bench"];
    arguments.extend(["mine.jsonl,arithmetic:count=5", "--prompt", "boxed-plain.toml"]);
    fs::write(
        temp.path().join("boxed-plain.toml"),
        "template = { kind = \"plain\", text = \"Q {problem}\\nA\" }\n",
    )
    .unwrap();
    arguments.extend(["--samples", "3", "--greedy", "--dry-run", "--out", "out"]);
    let output = stearin(temp.path(), &arguments);
    assert!(output.status.success(), "{}", stderr(&output));
    let said = stdout(&output);
    for expected in [
        "set mine: 2 of 2 problems, 3 completions each and a greedy one",
        "whose gold answer is 42:\n  | Q What is 12 + 30?\n  | A\n",
        "set arithmetic: 5 of 5 problems",
        "results      out",
    ] {
        assert!(said.contains(expected), "{expected}: {said}");
    }
    assert!(!temp.path().join("out").exists());
}

#[test]
fn a_figure_that_no_set_has_is_no_column() {
    let temp = tempfile::tempdir().unwrap();
    let head = |out: &str, more: &[&str]| {
        let bench = "arithmetic:count=2,min_digits=1,max_digits=1";
        let mut arguments = vec!["eval", "--model", "builtin:atom", "--bench", bench, "--out", out];
        arguments.extend(["--max-new-tokens", "4"].iter().chain(more));
        let said = stdout(&stearin(temp.path(), &arguments));
        said.lines().next().unwrap().split('|').map(|it| it.trim().to_owned()).collect::<Vec<_>>()
    };
    let greedy = head("greedy", &["--protocol", "greedy"]);
    assert_eq!(
        greedy,
        ["", "set", "problems", "avg@1", "95 %", "truncated", "no answer", "tokens", ""]
    );
    let all = head("all", &["--samples", "2", "--greedy"]);
    assert!(
        ["pass@2", "maj@2", "greedy"].iter().all(|it| all.iter().any(|own| own == it)),
        "{all:?}"
    );
}

#[test]
fn rows_with_other_columns_say_how_to_name_them_and_that_works() {
    let temp = tempfile::tempdir().unwrap();
    fs::write(temp.path().join("odd.jsonl"), "{\"frage\":\"1+1\",\"lösung\":\"2\"}\n").unwrap();
    let run = |file: &str| {
        stearin(temp.path(), &["eval", "--model", "builtin:atom", "--bench", file, "--dry-run"])
    };
    let refused = run("odd.jsonl");
    assert_eq!(refused.status.code(), Some(2));
    let said = stderr(&refused);
    assert!(said.contains("such as odd.toml, and give that to --bench:"), "{said}");
    let file = said.split("--bench:\n").nth(1).unwrap();
    let file = file.replacen("\"...\"", "\"frage\"", 1).replacen("\"...\"", "\"lösung\"", 1);
    fs::write(temp.path().join("odd.toml"), file).unwrap();
    let output = run("odd.toml");
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stdout(&output).contains("gold answer is 2:"), "{}", stdout(&output));
}
