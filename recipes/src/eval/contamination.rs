//! Whether a problem of a benchmark is among the problems of training data.

use std::collections::HashSet;

use anyhow::{Context as _, Result};
use rewards::Problem;

use crate::data::{self, question, questions};
use crate::search_path::SearchPath;

/// What the problems of training data ask.
#[derive(Debug, Default)]
pub struct Texts(HashSet<String>);

impl Texts {
    /// Reads the problems of files of training data.
    ///
    /// # Errors
    ///
    /// Fails when one cannot be read.
    pub fn of(files: &[String]) -> Result<Self> {
        let mut texts = HashSet::new();
        for file in files {
            let source = super::sets::rows_of(file);
            let name = format!("--train-data {file}");
            let (problems, _, _) = data::source(&name, &source, &SearchPath::of_command(), None, 1)
                .with_context(|| name.clone())?;
            texts.extend(questions(&problems));
        }
        Ok(Self(texts))
    }
}

/// The ids of the problems that ask what one of `texts` does.
pub fn contaminated<'a>(
    problems: impl IntoIterator<Item = &'a Problem>,
    texts: &Texts,
) -> Vec<String> {
    let known = |problem: &&Problem| texts.0.contains(&question(problem));
    problems.into_iter().filter(known).map(|problem| problem.id.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_are_known_and_other_problems_are_not() {
        let problem = |id: &str, problem: &str| Problem {
            id: id.into(),
            problem: problem.into(),
            ..Problem::default()
        };
        let known = problem("known", "Find $x + 1$, where x = \\frac{1}{2}.");
        let texts = Texts(questions([&known]));
        let problems = [
            problem("same", "find  x+1 where\n$x = \\frac12$"),
            problem("sign", "Find $x - 1$, where x = \\frac{1}{2}."),
            problem("number", "Find $x + 1$, where x = \\frac{1}{3}."),
        ];
        assert_eq!(contaminated(&problems, &texts), ["same"]);
        assert!(contaminated(&problems, &Texts::default()).is_empty());
    }
}
