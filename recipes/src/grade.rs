//! Grading a file of predictions: its rows, their verdicts, and how both are shown.
//!
//! Reading order: this file, then [`rows`] and [`mod@bench`].

pub mod bench;
pub mod rows;

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use rewards::Outcome;
use rewards::verifier::{Explanation, Math};
use serde::Serialize;

use crate::printable::{counted, printable};
pub use rows::{Id, Row, TakenAs, read_rows};

/// What is said about a row: one line of JSON.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GradedRow {
    /// The row's own id, or the number of its line.
    pub id: Id,
    /// What became of the prediction.
    pub verdict: Outcome,
    /// The answer that was found in a response.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer: Option<String>,
    /// Why it does not count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// Grades a row.
pub fn grade(math: Math, row: &Row) -> GradedRow {
    let (gold, prediction) = (row.gold.expanded(), row.prediction.expanded());
    let (verdict, answer) = judge(math, row.taken_as, &gold, &prediction);
    let why = (verdict != Outcome::Correct)
        .then(|| explain(math, row.taken_as, &gold, &prediction).reason().to_owned());
    GradedRow { id: row.id.clone(), verdict, answer: answer.map(str::to_owned), why }
}

/// Judges a prediction; the second is the answer that was found in it.
pub fn judge<'a>(
    math: Math,
    taken_as: TakenAs,
    gold: &str,
    prediction: &'a str,
) -> (Outcome, Option<&'a str>) {
    match taken_as {
        TakenAs::Response => math.judge_response(gold, prediction),
        TakenAs::Answer => (math.judge_answer(gold, prediction), None),
    }
}

/// Why a prediction is judged as it is.
pub fn explain(math: Math, taken_as: TakenAs, gold: &str, prediction: &str) -> Explanation {
    match taken_as {
        TakenAs::Response => math.explain_response(gold, prediction),
        TakenAs::Answer => math.explain_answer(gold, prediction),
    }
}

/// A note about ids that stand in several rows, if there are any: what is said about them can only
/// be told apart by its place.
pub fn repeated_ids(rows: &[Row]) -> Option<String> {
    let mut counts = HashMap::<&Id, usize>::new();
    for row in rows {
        *counts.entry(&row.id).or_default() += 1;
    }
    let is_repeated = |row: &&Row| counts[&row.id] > 1;
    let first = rows.iter().find(is_repeated)?;
    let id = first.id.to_string();
    let (id, all) = (printable(&id), counts.values().filter(|count| **count > 1).count());
    Some(format!(
        "note: id `{id}` occurs in {} rows{}; the output has one line a row, in the order of the rows",
        counts[&first.id],
        if all > 1 {
            format!(", and {} in several", counted(all - 1, "more id"))
        } else {
            String::new()
        }
    ))
}

/// How often every verdict was given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Totals(BTreeMap<Outcome, usize>);

impl Totals {
    /// Counts one.
    pub fn add(&mut self, verdict: Outcome) {
        *self.0.entry(verdict).or_default() += 1;
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all: usize = self.0.values().sum();
        f.write_str(&counted(all, "row"))?;
        let mut between = ": ";
        for (verdict, count) in &self.0 {
            let share = 100.0 * *count as f64 / all as f64;
            write!(f, "{between}{count} {verdict} ({share:.1} %)")?;
            between = ", ";
        }
        Ok(())
    }
}

/// The columns of the table, and how many characters each may take; the last takes what it needs.
const COLUMNS: [(&str, usize); 5] =
    [("id", 16), ("verdict", 16), ("gold", 24), ("answer", 32), ("why", usize::MAX)];

/// The first line of the table.
pub fn heading() -> String {
    line(&COLUMNS.map(|(name, _)| name.to_owned()))
}

/// A row of the table.
pub fn table_line(row: &Row, graded: &GradedRow) -> String {
    let answer = match (&graded.answer, row.taken_as) {
        (Some(answer), _) => answer.clone(),
        (None, TakenAs::Answer) => row.prediction.start(),
        (None, TakenAs::Response) => String::new(),
    };
    let why = graded.why.clone().unwrap_or_default();
    line(&[graded.id.to_string(), graded.verdict.to_string(), row.gold.start(), answer, why])
}

fn line(cells: &[String; 5]) -> String {
    let mut line = String::new();
    for (cell, (_, width)) in cells.iter().zip(COLUMNS) {
        // One line a row, whatever stands in it.
        let plain: String = printable(cell).replace(['\n', '\t'], " ").chars().take(200).collect();
        let count = plain.chars().count();
        if width == usize::MAX {
            line.push_str(&plain);
        } else if count > width {
            line.extend(plain.chars().take(width - 1).chain("…  ".chars()));
        } else {
            line.push_str(&plain);
            line.extend(std::iter::repeat_n(' ', width - count + 2));
        }
    }
    line.truncate(line.trim_end().len());
    line.push('\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(text: &str) -> Row {
        read_rows(text.as_bytes()).unwrap().remove(0)
    }

    #[test]
    fn a_row_is_judged_as_what_it_is() {
        let response = row(r#"{"id":"a","gold":"7","prediction":"so \\boxed{7}","as":"response"}"#);
        let found = grade(Math::default(), &response);
        let line = serde_json::to_string(&found).unwrap();
        assert_eq!(line, r#"{"id":"a","verdict":"correct","answer":"7"}"#);
        let bare = row(r#"{"gold":"7","prediction":"8","as":"answer"}"#);
        let found = grade(Math::default(), &bare);
        let line = serde_json::to_string(&found).unwrap();
        assert_eq!(line, r#"{"id":1,"verdict":"wrong","why":"they differ"}"#);
        let open = row(r#"{"gold":"7","prediction":"\\boxed{7","as":"response"}"#);
        let line = serde_json::to_string(&grade(Math::default(), &open)).unwrap();
        let why = "nothing: the last box never closes";
        assert_eq!(line, format!(r#"{{"id":1,"verdict":"unclosed","why":"{why}"}}"#));
    }

    #[test]
    fn the_table_has_a_line_a_row_with_its_reason() {
        let text =
            format!(r#"{{"gold":"{}","prediction":"8\n9\u0000","as":"answer"}}"#, "1".repeat(40));
        let row = row(&text);
        let line = table_line(&row, &grade(Math::default(), &row));
        let gold = "1".repeat(23);
        assert!(
            line.starts_with(&format!("1                 wrong             {gold}…  8 9\u{fffd}"))
        );
        assert_eq!(line.lines().count(), 1);
        let heading = heading();
        assert_eq!(heading.find("gold"), line.find("111"));
        assert_eq!(heading.trim_end(), heading.trim_end_matches('\n'));
    }

    #[test]
    fn what_is_undecided_claims_nothing() {
        let answer = r"3 \cdot (10^{100})!";
        let explanation = explain(Math::default(), TakenAs::Answer, "5", answer).to_string();
        assert!(explanation.contains("undecided"), "{explanation}");
        let reason = "neither that they are equal nor that they differ is proven";
        assert!(explanation.contains(reason), "{explanation}");
    }

    #[test]
    fn ids_of_several_rows_are_noted() {
        let rows = |ids: &[&str]| {
            let row =
                |id| format!("{{\"id\":{id},\"gold\":1,\"prediction\":1,\"as\":\"answer\"}}\n");
            read_rows(ids.iter().map(row).collect::<String>().as_bytes()).unwrap()
        };
        // A number is another id than a text.
        assert_eq!(repeated_ids(&rows(&["1", "\"1\"", "2", "\"a\""])), None);
        let note = repeated_ids(&rows(&["1", "\"a\"", "\"a\"", "2"])).unwrap();
        assert!(note.starts_with("note: id `a` occurs in 2 rows; the output"), "{note}");
        let note = repeated_ids(&rows(&["3", "2", "2", "3", "3", "null"])).unwrap();
        assert!(
            note.starts_with("note: id `3` occurs in 3 rows, and 1 more id in several;"),
            "{note}"
        );
        // The number of its line is the id of a row without one.
        assert!(repeated_ids(&rows(&["2", "null"])).is_some());
    }

    #[test]
    fn totals_name_the_verdicts_that_there_are() {
        let mut totals = Totals::default();
        assert_eq!(totals.to_string(), "0 rows");
        for verdict in [Outcome::Wrong, Outcome::Correct, Outcome::Wrong] {
            totals.add(verdict);
        }
        assert_eq!(totals.to_string(), "3 rows: 1 correct (33.3 %), 2 wrong (66.7 %)");
    }
}
