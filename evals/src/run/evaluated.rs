//! Problems of an evaluation as recorded groups, where the tokens of their completions are kept.

use super::results::read;
use super::{GroupEntry, Problem, ProblemLine, SampleCompletion, SampleEnd, SampleGroup, Samples};

impl Samples {
    /// The entry of a problem of an evaluation at `step`, by its line: of the completions whose
    /// texts are kept.
    ///
    /// # Errors
    ///
    /// Fails where the tokens of the evaluation are not kept or not those of this problem, or where
    /// their file is damaged.
    pub fn evaluated(&self, step: u64, line: &ProblemLine) -> Result<GroupEntry, Problem> {
        let mut file = self.tokens(step)?;
        let group = line.number as usize;
        let first = group.saturating_mul(line.n);
        let last = first.saturating_add(line.texts.len());
        let of = |at: usize| last.saturating_add(at);
        let groups = file.ids("completion_group", first..last)?;
        if groups.is_empty() || groups.iter().any(|own| *own as usize != group) {
            return Err(file.damaged("its completions are not those of the problem"));
        }
        let starts = file.places("completion_start", first..of(1))?;
        let (from, to) = (starts.first().copied(), starts.last().copied());
        Ok(GroupEntry {
            step,
            stage: "eval".to_owned(),
            group,
            id: line.id.clone(),
            source: line.source.clone(),
            kept: false,
            n: line.texts.len(),
            correct: line.correct,
            reward: line.rewards.clone(),
            advantage: Vec::new(),
            outcomes: line.outcomes.clone(),
            lengths: line.lengths.clone(),
            entropy: None,
            bytes: [0; 2],
            rows: [from.unwrap_or_default(), to.unwrap_or_default()],
            completions: [first as u64, last as u64],
        })
    }

    /// The texts of a problem of an evaluation.
    pub(super) fn evaluated_group(&self, entry: &GroupEntry) -> Result<SampleGroup, Problem> {
        let path = self.path(entry.step, "jsonl");
        let act = "restore the file from a copy";
        let (lines, _) = read(&path).map_err(|error| Problem::of(&path, error.to_string(), act))?;
        let line = lines.into_iter().find(|line| line.number as usize == entry.group);
        line.map(|line| group_of(entry.step, line))
            .ok_or_else(|| Problem::of(&path, format!("there is no problem {}", entry.group), act))
    }
}

fn group_of(step: u64, line: ProblemLine) -> SampleGroup {
    let completion = |(sibling, text): (usize, &String)| SampleCompletion {
        sibling,
        text: text.clone(),
        answer: line.votes[sibling].map(|class| line.classes[class].answer.clone()),
        outcome: line.outcomes[sibling],
        reward: line.rewards[sibling],
        parts: std::collections::BTreeMap::new(),
        metrics: std::collections::BTreeMap::new(),
        advantage: None,
        finish: if line.truncated[sibling] { SampleEnd::Length } else { SampleEnd::Stop },
        tokens: line.lengths[sibling],
    };
    SampleGroup {
        step,
        group: line.number as usize,
        completions: line.texts.iter().enumerate().map(completion).collect(),
        id: line.id,
        source: line.source,
        history: Vec::new(),
        problem: line.problem,
        gold: line.gold,
        prompt: String::new(),
        kept: false,
    }
}
