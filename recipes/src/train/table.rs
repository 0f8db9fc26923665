//! The table of a step: every token, sample after sample, with all its columns.
//!
//! A column has one entry per learnt token. Readers borrow a slice of it; samples that are not
//! adjacent in the table are copied into one.

use std::borrow::Cow;
use std::ops::Range;

use engine::Scores;
use evals::attempt::GradedGroup;
use rollout::Trajectory;

/// The tokens of a step, and the samples and groups that they belong to.
#[derive(Debug, Clone, Default)]
pub(crate) struct Table {
    /// The prompt of every group.
    pub(crate) prompts: Vec<Vec<u32>>,
    /// The completions, in the order of their groups.
    pub(crate) samples: Vec<Sample>,
    /// Tokens of all completions.
    pub(crate) tokens: Vec<u32>,
    /// Which of `tokens` are learnt. The others, such as a user's turn between two of the
    /// assistant, are in no column, no count and no loss.
    pub(crate) learnt: Vec<bool>,
    /// Number of tokens that are learnt: the length of every column.
    pub(crate) num_learnt: usize,
    /// Scores by the policy that sampled them; `None` in supervised stages.
    pub(crate) rollout: Option<Scores>,
    pub(crate) scores: Rescored,
    pub(crate) credit: Credit,
    /// Log-probs by the first update, NaN where it computed none; empty before it.
    pub(crate) train_log_probs: Vec<f32>,
    /// Log-probs by the last update that computed them, NaN where none did; empty after a single
    /// update.
    pub(crate) new_log_probs: Vec<f32>,
}

/// A completion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sample {
    /// Index of its prompt.
    pub(crate) group: usize,
    /// Its range in `tokens`.
    pub(crate) tokens: Range<usize>,
    /// Its range in the columns.
    pub(crate) entries: Range<usize>,
}

/// Scores of the tokens from forward passes before the updates.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rescored {
    /// By the policy before the updates; `None` where the rollout's scores are used.
    pub(crate) old: Option<Scores>,
    /// Log-probs by the reference model, nats; `None` without a reference.
    pub(crate) reference: Option<Vec<f32>>,
}

/// The columns of the loss that come from the rewards.
#[derive(Debug, Clone, Default)]
pub(crate) struct Credit {
    /// The advantage of every sample.
    pub(crate) advantages: Vec<f64>,
    /// Samples that are left out of the loss and its denominator.
    pub(crate) filtered: Vec<bool>,
    /// Samples without any gradient, which are not computed.
    pub(crate) idle: Vec<bool>,
    /// Factor of each token's policy loss.
    pub(crate) weights: Vec<f64>,
    /// Factors of the penalty on the distance from the old log-probs (kl-cov), if any.
    pub(crate) penalties: Option<Vec<f64>>,
    /// Importance weights, if the recipe sets them.
    pub(crate) importance: Option<Vec<f64>>,
    /// Whether the importance weight of each token is out of bounds; empty where there is none.
    pub(crate) outside: Vec<bool>,
    /// Bits of [`evals::run::flag`] for each token; empty where nobody sampled.
    pub(crate) flags: Vec<u8>,
    /// Smallest surprisal that is among the largest ones, of positive and of negative advantage.
    pub(crate) thresholds: [Option<f64>; 2],
    /// Coefficient of the entropy in the loss.
    pub(crate) entropy_coefficient: f64,
    /// Metrics: keys and values.
    pub(crate) statistics: Vec<(String, f64)>,
}

impl Credit {
    /// One advantage for all samples, and weight 1 for every token.
    pub(crate) fn even(table: &Table, advantage: f64) -> Self {
        let samples = table.samples.len();
        Self {
            advantages: vec![advantage; samples],
            filtered: vec![false; samples],
            idle: vec![false; samples],
            weights: vec![1.0; table.num_learnt],
            ..Self::default()
        }
    }
}

impl Table {
    /// The table of sampled groups.
    pub(crate) fn of(groups: &[GradedGroup]) -> Self {
        let mut table = Self::default();
        for group in groups {
            table.push_prompt(group.prompt.clone());
            for completion in &group.completions {
                table.push_trajectory(&completion.trajectory);
            }
        }
        table
    }

    /// Begins a group.
    pub(crate) fn push_prompt(&mut self, prompt: Vec<u32>) {
        self.prompts.push(prompt);
    }

    /// Adds a completion to the last group; every token is learnt.
    pub(crate) fn push_completion(&mut self, tokens: &[u32]) {
        self.push_target(tokens, &vec![true; tokens.len()]);
    }

    /// Adds a completion to the last group; `learnt` marks its learnt tokens.
    pub(crate) fn push_target(&mut self, tokens: &[u32], learnt: &[bool]) {
        let group = self.prompts.len().checked_sub(1).expect("a group was begun");
        let (token, entry) = (self.tokens.len(), self.num_learnt);
        self.tokens.extend(tokens);
        self.learnt.extend(learnt);
        self.num_learnt += learnt.iter().filter(|&&learnt| learnt).count();
        let (tokens, entries) = (token..self.tokens.len(), entry..self.num_learnt);
        self.samples.push(Sample { group, tokens, entries });
    }

    /// Adds a completion with its scores to the last group.
    pub(crate) fn push_trajectory(&mut self, trajectory: &Trajectory) {
        self.push_completion(&trajectory.completion);
        let rollout = self.rollout.get_or_insert_default();
        rollout.log_probs.extend(&trajectory.log_probs);
        rollout.entropies.extend(&trajectory.entropies);
        rollout.phi_sums.extend(&trajectory.phi_sums);
    }

    /// The old scores; `None` in supervised stages.
    pub(crate) fn old(&self) -> Option<&Scores> {
        self.scores.old.as_ref().or(self.rollout.as_ref())
    }

    /// Indices of the samples of a group.
    pub(crate) fn samples_of(&self, group: usize) -> Range<usize> {
        let before = |end: usize| self.samples.partition_point(|sample| sample.group < end);
        before(group)..before(group + 1)
    }

    /// The samples with these indices, in their order.
    pub(crate) fn part(&self, samples: Vec<usize>) -> Part<'_> {
        Part { table: self, samples }
    }

    /// Advantage and token weights of every sample.
    pub(crate) fn credits(&self) -> impl Iterator<Item = evals::run::Credit<'_>> {
        let samples = self.samples.iter().zip(&self.credit.advantages);
        samples.map(|(sample, &advantage)| evals::run::Credit {
            advantage,
            weights: &self.credit.weights[sample.entries.clone()],
        })
    }
}

/// Some samples of a table, in their order.
#[derive(Debug, Clone)]
pub(crate) struct Part<'a> {
    pub(crate) table: &'a Table,
    pub(crate) samples: Vec<usize>,
}

impl<'a> Part<'a> {
    /// The entries of a column for these samples, borrowed if they are adjacent.
    pub(crate) fn column<T: Copy>(&self, column: &'a [T]) -> Cow<'a, [T]> {
        let mut ranges = self.samples.iter().map(|&sample| self.entries(sample));
        let Some(mut first) = ranges.next() else { return Cow::Borrowed(&[]) };
        for range in ranges {
            if range.start != first.end {
                let parts = self.samples.iter().map(|&sample| &column[self.entries(sample)]);
                return Cow::Owned(parts.flatten().copied().collect());
            }
            first.end = range.end;
        }
        Cow::Borrowed(&column[first])
    }

    /// The value of each sample, repeated for each of its entries.
    pub(crate) fn spread(&self, values: &[f64]) -> Vec<f64> {
        let each = self.samples.iter().zip(self.lengths());
        each.flat_map(|(&sample, tokens)| std::iter::repeat_n(values[sample], tokens)).collect()
    }

    /// Writes `values`, one per entry of this part, to their places in `column`.
    pub(crate) fn scatter<T: Copy>(&self, values: &[T], column: &mut [T]) {
        let mut start = 0;
        for &sample in &self.samples {
            let entries = self.entries(sample);
            let end = start + entries.len();
            column[entries].copy_from_slice(&values[start..end]);
            start = end;
        }
    }

    /// Entries of each sample.
    pub(crate) fn lengths(&self) -> impl Iterator<Item = usize> {
        self.samples.iter().map(|&sample| self.entries(sample).len())
    }

    /// Places of the samples among the entries of this part.
    pub(crate) fn ranges(&self) -> Vec<Range<usize>> {
        let place = |start: &mut usize, length: usize| {
            *start += length;
            Some(*start - length..*start)
        };
        self.lengths().scan(0, place).collect()
    }

    fn entries(&self, sample: usize) -> Range<usize> {
        self.table.samples[sample].entries.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two groups, with samples of 2, 1 and 3 tokens.
    fn table() -> Table {
        let mut table = Table::default();
        for (prompt, completions) in
            [(vec![9], vec![vec![0, 1], vec![2]]), (vec![8], vec![vec![3, 4, 5]])]
        {
            table.push_prompt(prompt);
            for tokens in &completions {
                table.push_completion(tokens);
            }
        }
        table
    }

    #[test]
    fn adjacent_samples_are_borrowed_and_others_are_copied_together() {
        let table = table();
        let column: Vec<f64> = (0..6).map(f64::from).collect();
        let part = |samples: &[usize]| table.part(samples.to_vec());
        let both = part(&[1, 2]);
        assert!(
            matches!(both.column(&column), Cow::Borrowed(column) if column == [2.0, 3.0, 4.0, 5.0])
        );
        let apart = part(&[0, 2]);
        assert!(matches!(apart.column(&column), Cow::Owned(_)));
        assert_eq!(*apart.column(&column), [0.0, 1.0, 3.0, 4.0, 5.0]);
        assert_eq!(apart.ranges(), [0..2, 2..5]);
        assert!(part(&[]).column(&column).is_empty());
    }

    #[test]
    fn values_of_samples_reach_their_tokens() {
        let table = table();
        let part = table.part(vec![0, 2]);
        assert_eq!(part.spread(&[1.0, 2.0, 3.0]), [1.0, 1.0, 3.0, 3.0, 3.0]);
        let mut column = vec![0.0; 6];
        part.scatter(&[1.0, 2.0, 3.0, 4.0, 5.0], &mut column);
        assert_eq!(column, [1.0, 2.0, 0.0, 3.0, 4.0, 5.0]);
    }

    #[test]
    fn a_token_that_is_not_learnt_has_no_entry() {
        let mut table = table();
        table.push_target(&[6, 7, 8], &[true, false, true]);
        assert_eq!((table.tokens.len(), table.num_learnt), (9, 8));
        let last = table.part(vec![3]);
        assert_eq!(last.lengths().collect::<Vec<_>>(), [2]);
        assert_eq!(Credit::even(&table, 1.0).weights.len(), 8);
    }
}
