//! Problems with a known answer, and the rows that hold them.

use std::collections::HashMap;
use std::io::BufRead;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::Result;
use crate::rows::{Fields, brief, read_rows};

/// A question, and the answer that an attempt is judged by.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Name, unique in its file.
    pub id: String,
    /// The turns of a chat before the question; empty where the problem is the question alone.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<Turn>,
    /// The question as the policy reads it, before any template: the last user turn of a chat.
    pub problem: String,
    /// The gold answer; empty where the data has none.
    pub answer: String,
    /// Where the problem comes from.
    pub source: String,
    /// A worked text that ends in the answer, for supervised stages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub solution: Option<String>,
    /// The other columns of the row, for verifiers that read them.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub columns: Map<String, Value>,
}

/// A message of a chat.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Turn {
    /// Who speaks.
    pub role: Role,
    /// The text.
    pub content: String,
}

/// Who speaks in a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Instructions before the conversation.
    System,
    /// Asks.
    User,
    /// Answers: the policy.
    Assistant,
}

impl Role {
    /// The name that chat templates know.
    pub fn name(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
        }
    }
}

/// Reads one JSON object a line, in the order of the lines.
///
/// `id` and `answer` are text or a number, which is taken as it is written; `problem` and `source`
/// are text; `solution` is text, null or left out. Further fields go into [`Problem::columns`]. Lines
/// are those of [`read_rows`].
///
/// # Errors
///
/// Fails where [`read_rows`] does, at the first row whose fields are others, whose id, problem,
/// answer or solution is empty, or whose id stands on an earlier line.
pub fn read_problems(rows: impl BufRead) -> Result<Vec<Problem>> {
    let mut problems = Vec::new();
    let mut seen = HashMap::new();
    read_rows(rows, "{id, problem, answer, source}", |line, fields| {
        let problem = problem(fields)?;
        if let Some(earlier) = seen.insert(problem.id.clone(), line) {
            let id = brief(&problem.id);
            return Err(format!("id `{id}` stands on line {earlier} too: ids are unique"));
        }
        problems.push(problem);
        Ok(())
    })?;
    Ok(problems)
}

fn problem(fields: &Fields<'_>) -> Result<Problem, String> {
    let solution = "solution";
    let row = Problem {
        id: fields.text_or_number("id")?,
        problem: fields.text("problem")?,
        answer: fields.text_or_number("answer")?,
        source: fields.text("source")?,
        solution: fields.optional(solution, Fields::text)?,
        columns: fields.others(&["id", "problem", "answer", "source", solution])?,
        ..Problem::default()
    };
    let fields = [
        ("id", Some(&row.id)),
        ("problem", Some(&row.problem)),
        ("answer", Some(&row.answer)),
        (solution, row.solution.as_ref()),
    ];
    match fields.iter().find(|(_, text)| text.is_some_and(|text| text.trim().is_empty())) {
        Some((name, _)) => Err(format!("field `{name}` is empty: expected text")),
        None => Ok(row),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"{"id": "a", "problem": "1+1", "answer": "2", "source": "us"}"#;

    #[track_caller]
    fn refused(rows: &[u8], message: &str) {
        assert_eq!(read_problems(rows).unwrap_err().to_string(), message);
    }

    #[test]
    fn rows_keep_their_order_and_may_carry_a_solution_and_more() {
        let rows = format!(
            "{GOOD}\r\n\n{}",
            r#"{"id":"b","problem":"ü","answer":"3","source":"","solution":"so 3","level":5,"tests":[["1",2],null]}"#
        );
        let problems = read_problems(rows.as_bytes()).unwrap();
        assert_eq!(problems.iter().map(|p| p.id.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(problems[0].solution, None);
        assert_eq!(problems[1].solution.as_deref(), Some("so 3"));
        assert!(problems[0].columns.is_empty());
        let columns = serde_json::json!({ "level": 5, "tests": [["1", 2], null] });
        assert_eq!(Value::Object(problems[1].columns.clone()), columns);
        let again = serde_json::to_string(&problems[0]).unwrap();
        assert_eq!(read_problems(again.as_bytes()).unwrap()[0], problems[0]);
    }

    #[test]
    fn numbers_are_answers_and_ids_with_every_digit() {
        let row = |id: &str, answer: &str| {
            format!("{{\"id\":{id},\"problem\":\"p\",\"answer\":{answer},\"source\":\"us\"}}\n")
        };
        let texts = ["42", "-7", "1.50", "12345678901234567890123", "0.1", "-0", "3e8"];
        let rows: String = texts.iter().map(|number| row(number, number)).collect();
        for (problem, text) in read_problems(rows.as_bytes()).unwrap().iter().zip(texts) {
            assert_eq!((problem.id.as_str(), problem.answer.as_str()), (text, text));
        }
        for (value, got) in [("true", "true"), ("null", "null"), ("[4, 2]", "[4, 2]"), ("{}", "{}")]
        {
            let expected = "expected text or a number, got";
            refused(
                row("1", value).as_bytes(),
                &format!("line 1: field `answer`: {expected} {got}"),
            );
            refused(row(value, "1").as_bytes(), &format!("line 1: field `id`: {expected} {got}"));
        }
        // A number and a text of the same digits name the same problem.
        refused(
            (row("1", "2") + &row("\"1\"", "2")).as_bytes(),
            "line 2: id `1` stands on line 1 too: ids are unique",
        );
        let row = r#"{"id": 1, "problem": 2, "answer": 3, "source": "us"}"#;
        refused(row.as_bytes(), "line 1: field `problem`: expected text, got 2");
    }

    #[test]
    fn a_bad_row_is_named_by_its_line() {
        let open = "the object is not closed at the end";
        let error = read_problems(format!("{GOOD}\n\n{{\"id\": \"b\"").as_bytes()).unwrap_err();
        assert!(error.to_string().starts_with(&format!("line 3: {open}")), "{error}");
        refused(
            br#"{"id": "a", "problem": "1+1", "source": "us"}"#,
            "line 1: field `answer` is missing: expected text or a number, the object has `id`, \
             `problem`, `source`",
        );
        refused(
            br#"{"id": "a", "problem": "1+1", "answer": " ", "source": "us"}"#,
            "line 1: field `answer` is empty: expected text",
        );
        refused(
            br#"{"id": "a", "problem": "1+1", "answer": "2", "answer": "3", "source": "us"}"#,
            "line 1: field `answer` stands twice: expected each field once",
        );
        refused(
            format!("{GOOD}\n{GOOD}").as_bytes(),
            "line 2: id `a` stands on line 1 too: ids are unique",
        );
        let error = read_problems(format!("{GOOD}\n[\"b\", \"1+1\", \"2\", \"us\"]").as_bytes());
        let error = error.unwrap_err().to_string();
        assert!(
            error.starts_with("line 2: a list, expected an object with named fields"),
            "{error}"
        );
        refused(b" \n", "no rows: expected one JSON object a line, {id, problem, answer, source}");
    }

    #[test]
    fn a_file_of_another_kind_is_named_before_its_first_line() {
        refused(
            b"\x1f\x8b\x08\0",
            "this is a gzip file, expected one JSON object a line\n\
             `gzip -dc FILE > rows.jsonl` unpacks it",
        );
        let csv = read_problems(&b"id,problem,answer,source\na,1+1,2,us\n"[..]).unwrap_err();
        assert!(csv.to_string().starts_with("this is a table with commas (CSV), "), "{csv}");
    }

    #[test]
    fn a_reader_that_fails_is_an_error_with_its_cause() {
        struct Broken;
        impl std::io::Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
                Err(std::io::Error::other("gone"))
            }
        }
        let error = read_problems(std::io::BufReader::new(Broken)).unwrap_err();
        assert_eq!(error.to_string(), "line 1");
        assert_eq!(std::error::Error::source(&error).unwrap().to_string(), "gone");
    }
}
