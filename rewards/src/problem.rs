//! Problems with a known answer, and the rows that hold them.

use std::collections::HashMap;
use std::io::BufRead;

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// A question, and the answer that an attempt is judged by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Name, unique in its file.
    pub id: String,
    /// The question as the policy reads it, before any template.
    pub problem: String,
    /// The gold answer.
    pub answer: String,
    /// Where the problem comes from.
    pub source: String,
    /// A worked text that ends in the answer, for supervised stages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub solution: Option<String>,
}

/// Reads one JSON object a line, in the order of the lines; empty lines and further fields are
/// passed over.
///
/// # Errors
///
/// Fails at the first line that cannot be read or is not such an object, whose id, problem, answer
/// or solution is empty, or whose id stands on an earlier line; and when there is no row at all.
pub fn read_problems(mut rows: impl BufRead) -> Result<Vec<Problem>> {
    let mut problems = Vec::new();
    let mut seen = HashMap::new();
    let mut bytes = Vec::new();
    for line in 1.. {
        bytes.clear();
        let read =
            rows.read_until(b'\n', &mut bytes).map_err(|source| Error::Io { line, source })?;
        if read == 0 {
            break;
        }
        if bytes.trim_ascii().is_empty() {
            continue;
        }
        let problem = parse(&bytes).map_err(|problem| Error::Row { line, problem })?;
        if let Some(earlier) = seen.insert(problem.id.clone(), line) {
            let problem =
                format!("id `{}` stands on line {earlier} too: ids are unique", problem.id);
            return Err(Error::Row { line, problem });
        }
        problems.push(problem);
    }
    if problems.is_empty() { Err(Error::NoRows) } else { Ok(problems) }
}

fn parse(bytes: &[u8]) -> Result<Problem, String> {
    let row: Problem = serde_json::from_slice(bytes).map_err(|error| {
        let text = error.to_string();
        // the parser saw one line only: its "line 1" would contradict ours
        text.replace(" at line 1 column ", " at column ")
    })?;
    let fields = [
        ("id", Some(&row.id)),
        ("problem", Some(&row.problem)),
        ("answer", Some(&row.answer)),
        ("solution", row.solution.as_ref()),
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
            r#"{"id":"b","problem":"ü","answer":"3","source":"","solution":"so 3","level":5}"#
        );
        let problems = read_problems(rows.as_bytes()).unwrap();
        assert_eq!(problems.iter().map(|p| p.id.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(problems[0].solution, None);
        assert_eq!(problems[1].solution.as_deref(), Some("so 3"));
        let again = serde_json::to_string(&problems[0]).unwrap();
        assert_eq!(read_problems(again.as_bytes()).unwrap()[0], problems[0]);
    }

    #[test]
    fn a_bad_row_is_named_by_its_line() {
        refused(
            format!("{GOOD}\n\n{{\"id\": \"b\"").as_bytes(),
            "line 3: EOF while parsing an object at column 10",
        );
        refused(
            br#"{"id": "a", "problem": "1+1", "source": "us"}"#,
            "line 1: missing field `answer` at column 45",
        );
        refused(
            br#"{"id": "a", "problem": "1+1", "answer": 2, "source": "us"}"#,
            "line 1: invalid type: integer `2`, expected a string at column 41",
        );
        refused(
            br#"{"id": "a", "problem": "1+1", "answer": " ", "source": "us"}"#,
            "line 1: field `answer` is empty: expected text",
        );
        refused(
            format!("{GOOD}\n{GOOD}").as_bytes(),
            "line 2: id `a` stands on line 1 too: ids are unique",
        );
        refused(b" \n", "no rows: expected one JSON object a line, {id, problem, answer, source}");
        assert!(matches!(
            read_problems(&b"{\"id\": \"\xff\"}"[..]),
            Err(Error::Row { line: 1, .. })
        ));
    }

    #[test]
    fn a_reader_that_fails_is_an_error() {
        struct Broken;
        impl std::io::Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
                Err(std::io::Error::other("gone"))
            }
        }
        let error = read_problems(std::io::BufReader::new(Broken)).unwrap_err();
        assert_eq!(error.to_string(), "line 1: gone");
    }
}
