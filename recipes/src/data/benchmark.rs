//! The problems of a benchmark by name: where they are, and whether they are its problems.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use evals::Benchmark;
use rewards::Problem;
use serde_json::json;
use toml::Table;

use crate::config::{Columns, Rows, Source};
use crate::identity::sha256;
use crate::random::{draws, shuffled};

/// Folders below that of the data where a benchmark's file is looked for, and what its name ends
/// in.
const BELOW: [&str; 2] = ["", "data"];
const ENDINGS: [&str; 2] = [".jsonl", "_test.jsonl"];

/// A benchmark that was found.
#[derive(Debug, Clone)]
pub struct Located {
    benchmark: &'static Benchmark,
    /// The file that is here; without it the problems come from the hub.
    file: Option<PathBuf>,
    /// Where its problems are.
    pub source: Source,
}

impl Located {
    /// Finds the benchmark: a file in `folder`, one in the folder that `STEARIN_DATA` names, or the
    /// data set on the hub at its revision.
    ///
    /// # Errors
    ///
    /// Fails when `folder` is none.
    pub fn new(benchmark: &'static Benchmark, folder: Option<&Path>) -> Result<Self> {
        if let Some(folder) = folder.filter(|folder| !folder.is_dir()) {
            bail!("--data: there is no folder {}", folder.display());
        }
        let file = local(&benchmark.name, folder);
        let (path, columns) = match &file {
            Some(path) => (path.display().to_string(), Columns::default()),
            None => (benchmark.address(), columns(benchmark)),
        };
        let source = Source::File(Rows { path, limit: None, columns, answer_from: None });
        Ok(Self { benchmark, file, source })
    }

    /// What is being read, and what to do where that fails.
    pub fn reading(&self) -> String {
        let name = &self.benchmark.name;
        format!(
            "reading {name}; to use a file of your own, put {name}.jsonl into the folder that --data \
             or STEARIN_DATA names"
        )
    }

    /// Whether `problems` are those of the benchmark: as many, and those of a local file the known
    /// ones, in any order.
    ///
    /// # Errors
    ///
    /// Fails when they are not.
    pub fn check(&self, problems: &[Problem]) -> Result<()> {
        let Benchmark { name, problems: expected, rows, .. } = self.benchmark;
        let place = match &self.file {
            Some(path) => path.display().to_string(),
            None => self.benchmark.address(),
        };
        let next =
            format!("--bench FILE evaluates on a file whatever it holds; {name} by its name needs");
        if problems.len() != *expected {
            let got = problems.len();
            bail!(
                "{place}: expected the {expected} problems of {name}, got {got}\n{next} all its rows"
            );
        }
        if let (Some(_), Some(rows)) = (&self.file, rows) {
            let got = content_sha256(problems);
            if got != *rows {
                bail!(
                    "{place}: these are not the problems of {name}: the digest of problems and answers \
                     is {got:.12}, expected {rows:.12}\n{next} its own rows"
                );
            }
        }
        Ok(())
    }
}

fn columns(benchmark: &Benchmark) -> Columns {
    let columns = benchmark.columns.iter();
    let table: Table = columns.map(|(role, name)| (role.clone(), name.as_str().into())).collect();
    table.try_into().expect("a test reads the columns of every benchmark")
}

/// The file of a benchmark that is here.
fn local(name: &str, folder: Option<&Path>) -> Option<PathBuf> {
    let of_environment = std::env::var_os("STEARIN_DATA").map(PathBuf::from);
    let folders = folder.map(Path::to_owned).into_iter().chain(of_environment);
    let places = folders.flat_map(|folder| BELOW.map(|below| folder.join(below)));
    let mut paths =
        places.flat_map(|place| ENDINGS.map(|ending| place.join(format!("{name}{ending}"))));
    paths.find(|path| path.is_file())
}

/// SHA-256 of problems and answers in any order. Of a problem, [`normal`] is what counts.
fn content_sha256(problems: &[Problem]) -> String {
    let row = |one: &Problem| format!("{}\t{}", normal(&one.problem), one.answer.trim());
    let mut rows: Vec<_> = problems.iter().map(row).collect();
    rows.sort_unstable();
    sha256(rows.join("\n").as_bytes())
}

/// SHA-256 of the digests of the rows, in their order.
pub fn rows_sha256(problems: &[Problem]) -> String {
    let row = |one: &Problem| {
        let Problem { id, history, problem, answer, .. } = one;
        let row = json!({"id": id, "history": history, "problem": problem, "answer": answer});
        sha256(row.to_string().as_bytes())
    };
    sha256(problems.iter().map(row).collect::<String>().as_bytes())
}

/// Which of `count` problems are judged: all, or as many as the limit says, drawn by a fixed key,
/// so that a smaller limit takes some of those of a larger one.
pub fn chosen(count: usize, limit: Option<NonZeroUsize>) -> Vec<usize> {
    let limit = limit.map_or(count, NonZeroUsize::get);
    let mut chosen = shuffled(count, &mut draws(1, "limit"));
    chosen.truncate(limit);
    chosen.sort_unstable();
    chosen
}

/// A text without what copies differ by: case, white space, dollar signs, backslashes and the
/// punctuation of sentences.
pub fn normal(text: &str) -> String {
    text.chars().filter(|c| counts(*c)).flat_map(char::to_lowercase).collect()
}

/// Whether [`normal`] keeps the character.
pub(super) fn counts(c: char) -> bool {
    !c.is_whitespace() && !"$\\,.;:!?'\"{}".contains(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_of_the_registry_are_columns() {
        let named = evals::benchmark::all().iter().filter(|one| !one.columns.is_empty());
        assert!(named.map(columns).filter(|columns| columns.id.is_some()).count() > 0);
    }

    #[test]
    fn a_row_of_olympiad_is_its_question_and_its_one_final_answer() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("test.parquet.jsonl");
        // The columns of the data set; its worked solutions and final answers are lists.
        let row = json!({
            "id": 1606, "question": "Find $x$ with $2x = 1$.", "solution": ["Halve both sides."],
            "final_answer": ["$\\frac{1}{2}$"], "context": null, "image_1": null,
            "modality": "Text-only", "difficulty": "Competition", "is_multiple_answer": false,
            "unit": null, "answer_type": "Numerical", "subfield": "Algebra", "language": "English",
        });
        std::fs::write(&path, format!("{row}\n")).unwrap();
        let columns = columns(evals::benchmark::find("olympiad").unwrap());
        let path = path.display().to_string();
        let rows = Source::File(Rows { path, limit: None, columns, answer_from: None });
        let search_path = crate::search_path::SearchPath::of_recipe(Path::new(""));
        let (problems, ..) =
            super::super::source("olympiad", &rows, &search_path, Some("math"), 0).unwrap();
        let [one] = problems.as_slice() else { panic!("one row: {problems:?}") };
        assert_eq!((one.id.as_str(), one.solution.as_ref()), ("1606", None));
        assert_eq!(one.problem, "Find $x$ with $2x = 1$.");
        assert_eq!(one.columns["difficulty"], "Competition");
        for answer in ["0.5", "$\\frac12$"] {
            let same = rewards::equivalent(&one.answer, answer, rewards::Strictness::Eval);
            assert_eq!(same, rewards::Equivalence::Equal, "{answer}");
        }
    }

    #[test]
    fn a_folder_that_is_not_there_is_not_passed_over() {
        let benchmark = evals::benchmark::find("gsm8k").unwrap();
        let error = Located::new(benchmark, Some(Path::new("no/such"))).unwrap_err();
        assert_eq!(error.to_string(), "--data: there is no folder no/such");
    }

    #[test]
    fn a_smaller_limit_takes_some_of_a_larger_one() {
        let at = |limit| chosen(500, NonZeroUsize::new(limit));
        let (small, large) = (at(32), at(64));
        assert_eq!((small.len(), large.len(), at(0).len()), (32, 64, 500));
        assert!(small.iter().all(|number| large.contains(number)));
        assert!(small.is_sorted() && *small.last().unwrap() > 100, "not the first ones");
    }

    #[test]
    fn rows_are_known_in_any_order_and_others_are_not() {
        let problem = |problem: &str, answer: &str| Problem {
            problem: problem.into(),
            answer: answer.into(),
            ..Problem::default()
        };
        let rows = [problem("What is $1+1$?", "2"), problem("Find 2 + 2.", "4")];
        let copied = [problem("find  2+2", " 4"), problem("What is 1 + 1?", "2")];
        assert_eq!(content_sha256(&rows), content_sha256(&copied));
        let others = [problem("What is $1+1$?", "3"), problem("Find 2 + 2.", "4")];
        assert_ne!(content_sha256(&rows), content_sha256(&others));
        // The answers of two problems exchanged.
        let exchanged = [problem("What is $1+1$?", "4"), problem("Find 2 + 2.", "2")];
        assert_ne!(content_sha256(&rows), content_sha256(&exchanged));
    }

    #[test]
    fn a_local_file_of_other_rows_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("aime24.jsonl"), "").unwrap();
        let aime24 = evals::benchmark::find("aime24").unwrap();
        let located = Located::new(aime24, Some(folder.path())).unwrap();
        let error =
            |count| located.check(&vec![Problem::default(); count]).unwrap_err().to_string();
        assert!(error(29).contains("expected the 30 problems of aime24, got 29"), "{}", error(29));
        for words in ["aime24.jsonl: these are not the problems of aime24", "--bench FILE"] {
            assert!(error(30).contains(words), "{}", error(30));
        }
        // Of rows at a revision of the hub only the number is checked.
        let hub = Located { file: None, ..located };
        hub.check(&vec![Problem::default(); 30]).unwrap();
    }
}
