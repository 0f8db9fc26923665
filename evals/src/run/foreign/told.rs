//! Completions as another trainer tells of them, and what they become: groups, their index and the
//! columns of their tokens.

use std::collections::{BTreeMap, HashMap};

use rewards::Outcome;
use rewards::dynamics::surprising;
use rewards::weighting::TokenColumns;

use super::super::tokens::flag;
use super::super::{GroupEntry, SampleCompletion, SampleEnd, SampleGroup, StepTokens, TokensAbout};

/// Share of tokens of a sign that count as of high surprisal, as in STARE.
const SHARE: f64 = 0.2;
/// Characters of a problem that its name has.
const NAME: usize = 48;

/// A completion.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Told {
    /// What the completions of one group share.
    pub(super) group: String,
    pub(super) source: String,
    /// The question, and all that was given with it.
    pub(super) problem: String,
    pub(super) prompt: String,
    pub(super) gold: String,
    pub(super) text: String,
    pub(super) answer: Option<String>,
    pub(super) outcome: Outcome,
    pub(super) reward: f64,
    pub(super) parts: BTreeMap<String, f64>,
    pub(super) metrics: BTreeMap<String, f64>,
    pub(super) advantage: Option<f64>,
    pub(super) kept: bool,
    pub(super) is_cut: bool,
    /// Its tokens; none where the trainer records texts alone.
    pub(super) tokens: Option<ToldTokens>,
}

/// The tokens of a completion. Columns have a value a token, NaN where none was recorded; those
/// that are not there at all are empty.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct ToldTokens {
    pub(super) id: Vec<u32>,
    /// Byte of the text at which each token's text ends.
    pub(super) text_end: Vec<u32>,
    pub(super) flags: Vec<u8>,
    pub(super) log_prob: Vec<f32>,
    pub(super) entropy: Vec<f32>,
    pub(super) train_log_prob: Vec<f32>,
    pub(super) reference: Vec<f32>,
    pub(super) importance: Vec<f32>,
}

/// A step as the dashboard reads one of our own.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct StepRead {
    pub(super) groups: Vec<SampleGroup>,
    pub(super) entries: Vec<GroupEntry>,
    pub(super) tokens: StepTokens,
    pub(super) about: TokensAbout,
}

impl StepRead {
    /// The completions of a step as groups, in the order in which these first come.
    pub(super) fn of(step: u64, all: Vec<Told>) -> Self {
        let (mut places, mut groups) = (HashMap::new(), Vec::<Vec<Told>>::new());
        for told in all {
            let place = *places.entry(told.group.clone()).or_insert(groups.len());
            if place == groups.len() {
                groups.push(Vec::new());
            }
            groups[place].push(told);
        }
        let mut read = Self {
            groups: Vec::new(),
            entries: Vec::new(),
            tokens: StepTokens {
                completion_start: vec![0],
                prompt_start: vec![0],
                ref_log_prob: has(&groups, |tokens| &tokens.reference).then(Vec::new),
                importance: has(&groups, |tokens| &tokens.importance).then(Vec::new),
                ..StepTokens::default()
            },
            about: TokensAbout {
                step,
                stage: "rl".into(),
                temperature: f64::NAN,
                ..TokensAbout::default()
            },
        };
        for group in groups {
            read.add(group);
        }
        read.mark_surprising();
        read
    }

    fn add(&mut self, group: Vec<Told>) {
        let (number, rows) = (self.groups.len(), self.tokens.token.len() as u64);
        let completions = self.tokens.completion_group.len() as u64;
        let mut words = HashMap::new();
        for told in &group {
            let own = told.tokens.clone().unwrap_or_else(|| of_words(&told.text, &mut words));
            self.add_tokens(number, told, &own);
        }
        self.tokens.prompt_start.push(0);
        let is_text = group.iter().all(|told| told.tokens.is_none());
        let entry = GroupEntry {
            rows: [rows, self.tokens.token.len() as u64],
            completions: [completions, self.tokens.completion_group.len() as u64],
            entropy: mean(&self.tokens.entropy[rows as usize..]),
            ..entry(self.about.step, number, &group, is_text)
        };
        self.groups.push(sample(&entry, group));
        self.entries.push(entry);
    }

    fn add_tokens(&mut self, number: usize, told: &Told, own: &ToldTokens) {
        let (columns, count) = (&mut self.tokens, own.id.len());
        let fill = |column: &mut Vec<f32>, values: &[f32]| {
            column.extend(values);
            column.resize(column.len() + count - values.len(), f32::NAN);
        };
        columns.token.extend(&own.id);
        columns.text_end.extend(&own.text_end);
        columns.flags.extend(&own.flags);
        fill(&mut columns.log_prob, &own.log_prob);
        fill(&mut columns.entropy, &own.entropy);
        fill(&mut columns.phi_sum, &[]);
        fill(&mut columns.weight, &[]);
        fill(&mut columns.train_log_prob, &own.train_log_prob);
        let further = [
            (&mut columns.ref_log_prob, &own.reference),
            (&mut columns.importance, &own.importance),
        ];
        for (column, values) in further {
            if let Some(column) = column {
                fill(column, values);
            }
        }
        columns.completion_start.push(columns.token.len() as u64);
        columns.completion_group.push(number as u32);
        let advantage = told.advantage.filter(|_| told.kept);
        columns.completion_advantage.push(advantage.unwrap_or(f64::NAN) as f32);
    }

    /// The generated tokens with a log-prob and an advantage, by their rows.
    pub(super) fn scored(&self) -> (Vec<usize>, Vec<f64>) {
        let columns = &self.tokens;
        let mut found = (Vec::new(), Vec::new());
        let completions = columns.completion_start.windows(2).zip(&columns.completion_advantage);
        for (bounds, &advantage) in completions {
            for row in bounds[0] as usize..bounds[1] as usize {
                let is_own = columns.flags[row] & flag::GENERATED != 0;
                if is_own && !advantage.is_nan() && !columns.log_prob[row].is_nan() {
                    found.0.push(row);
                    found.1.push(f64::from(advantage));
                }
            }
        }
        found
    }

    /// Sets the flag of the largest surprisals of each sign, and their thresholds.
    fn mark_surprising(&mut self) {
        let (rows, advantages) = self.scored();
        let surprisals: Vec<f32> = rows.iter().map(|&row| -self.tokens.log_prob[row]).collect();
        let nothing = vec![0.0; rows.len()];
        let columns = TokenColumns {
            surprisals: &surprisals,
            entropies: &nothing,
            phi_sums: &nothing,
            advantages: &advantages,
            samples: &[],
            seed: 0,
        };
        let high = surprising(&columns, SHARE);
        for (at, &row) in rows.iter().enumerate().filter(|(at, _)| high[*at]) {
            self.tokens.flags[row] |= flag::SURPRISING;
            let own = f64::from(surprisals[at]);
            let threshold = if advantages[at] > 0.0 {
                &mut self.about.threshold_plus
            } else {
                &mut self.about.threshold_minus
            };
            *threshold = Some(threshold.map_or(own, |least| least.min(own)));
        }
    }
}

fn has(groups: &[Vec<Told>], column: impl Fn(&ToldTokens) -> &Vec<f32>) -> bool {
    groups
        .iter()
        .flatten()
        .filter_map(|told| told.tokens.as_ref())
        .any(|own| !column(own).is_empty())
}

/// The mean of what is a number.
pub(super) fn mean(values: &[f32]) -> Option<f64> {
    let (count, sum) = values
        .iter()
        .filter(|value| !value.is_nan())
        .fold((0_u64, 0.0), |(count, sum), &value| (count + 1, sum + f64::from(value)));
    (count > 0).then(|| sum / count as f64)
}

/// Lengths are in characters where there are texts alone.
fn entry(step: u64, number: usize, group: &[Told], is_text: bool) -> GroupEntry {
    let advantages: Option<Vec<f64>> =
        group.iter().map(|told| told.advantage.filter(|_| told.kept)).collect();
    let length = |told: &Told| match &told.tokens {
        Some(tokens) if !is_text => {
            tokens.flags.iter().filter(|flags| **flags & flag::GENERATED != 0).count()
        }
        _ => told.text.chars().count(),
    };
    GroupEntry {
        step,
        stage: "rl".into(),
        group: number,
        id: name(&group[0].problem),
        source: group[0].source.clone(),
        kept: group.iter().any(|told| told.kept),
        n: group.len(),
        correct: group.iter().filter(|told| told.outcome == Outcome::Correct).count(),
        reward: group.iter().map(|told| told.reward).collect(),
        advantage: advantages.unwrap_or_default(),
        outcomes: group.iter().map(|told| told.outcome).collect(),
        lengths: group.iter().map(length).collect(),
        entropy: None,
        bytes: [0; 2],
        rows: [0; 2],
        completions: [0; 2],
    }
}

fn sample(entry: &GroupEntry, group: Vec<Told>) -> SampleGroup {
    let first = &group[0];
    let (problem, prompt, gold) = (first.problem.clone(), first.prompt.clone(), first.gold.clone());
    let completion = |(sibling, told): (usize, Told)| SampleCompletion {
        sibling,
        answer: told.answer,
        outcome: told.outcome,
        reward: told.reward,
        parts: told.parts,
        metrics: told.metrics,
        advantage: told.advantage.filter(|_| told.kept),
        finish: if told.is_cut { SampleEnd::Length } else { SampleEnd::Stop },
        tokens: entry.lengths[sibling],
        text: told.text,
    };
    SampleGroup {
        step: entry.step,
        group: entry.group,
        id: entry.id.clone(),
        source: entry.source.clone(),
        history: Vec::new(),
        problem,
        gold,
        prompt,
        kept: entry.kept,
        completions: group.into_iter().enumerate().map(completion).collect(),
    }
}

/// A name of a problem by which it is found again: how it begins, and a checksum of all of it.
pub(super) fn name(problem: &str) -> String {
    let line = problem.split_whitespace().collect::<Vec<_>>().join(" ");
    let start: String = line.chars().take(NAME).collect();
    let more = if start.len() < line.len() { "…" } else { "" };
    let sum = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC).checksum(problem.as_bytes());
    format!("{start}{more} {sum:08x}")
}

/// The words of a text as its tokens, each with the space before it. Equal words of a group have
/// equal ids.
fn of_words(text: &str, known: &mut HashMap<String, u32>) -> ToldTokens {
    let mut own = ToldTokens::default();
    let mut start = 0;
    let mut push = |from: usize, to: usize| {
        let next = known.len() as u32;
        own.id.push(*known.entry(text[from..to].to_owned()).or_insert(next));
        own.text_end.push(to as u32);
        own.flags.push(flag::GENERATED);
    };
    let mut was_space = true;
    for (at, character) in text.char_indices() {
        let is_space = character.is_whitespace();
        if is_space && !was_space {
            push(start, at);
            start = at;
        }
        was_space = is_space;
    }
    if start < text.len() {
        push(start, text.len());
    }
    own
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_tokens_with_the_space_before_them() {
        let mut known = HashMap::new();
        let own = of_words("a bc  a\n", &mut known);
        assert_eq!(own.text_end, [1, 4, 7, 8]);
        assert_eq!(own.id, [0, 1, 2, 3]);
        assert_eq!(of_words("a", &mut known).id, [0]);
        assert_eq!(of_words("  a", &mut known).text_end, [3]);
        assert!(of_words("", &mut known).id.is_empty());
    }

    #[test]
    fn a_name_is_short_and_tells_long_problems_apart() {
        let long = "word ".repeat(40);
        assert_eq!(name("1 + 1 =\n ?"), "1 + 1 = ? af381376");
        assert!(name(&long).contains('…') && name(&long) != name(&format!("{long}x")));
    }
}
