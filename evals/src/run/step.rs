//! The samples of one step, as the three files have them.

use std::collections::BTreeSet;

use engine::text::Text;
use serde::Serialize;

use super::samples::SampleGroup;
use super::tokens::{StepTokens, TokensAbout, flag};
use super::{GroupEntry, Groups, GroupsRule, SamplesConfig};
use crate::Result;
use crate::attempt::GradedGroup;

/// What a step sampled, and what it made of it.
#[derive(Debug, Clone, Copy)]
pub struct Step<'a> {
    /// The groups that were learnt from, in the order in which they were drawn.
    pub groups: &'a [GradedGroup],
    /// The groups that were not.
    pub discarded: &'a [GradedGroup],
    /// What became of the tokens of those learnt from.
    pub learnt: Learnt<'a>,
    /// The tokenizer.
    pub text: &'a Text,
    /// Tokens that are in no completion's text.
    pub hidden: &'a BTreeSet<u32>,
    /// Step, stage, temperature and thresholds.
    pub about: &'a TokensAbout,
}

/// Columns of the tokens that were learnt from: a value for each, in the order of their groups. An
/// empty slice is a column that is not there.
#[derive(Debug, Clone, Copy, Default)]
pub struct Learnt<'a> {
    /// Advantage of each completion.
    pub advantages: &'a [f64],
    /// Token weights.
    pub weights: &'a [f64],
    /// Log-probs by the first update, NaN where it computed none.
    pub train_log_probs: &'a [f32],
    /// Log-probs by the last update of several that computed them, NaN where none did.
    pub new_log_probs: &'a [f32],
    /// Log-probs by the weights before the updates, where they were computed again.
    pub old_log_probs: &'a [f32],
    /// Log-probs by the reference.
    pub reference: &'a [f32],
    /// Importance weights.
    pub importance: &'a [f64],
    /// Factors of the distance from the old log-probs.
    pub penalties: &'a [f64],
    /// Bits of [`flag`].
    pub flags: &'a [u8],
}

/// The samples of a step as bytes.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct StepFiles {
    /// `step-*.jsonl`.
    pub texts: Vec<u8>,
    /// `step-*.safetensors`.
    pub tokens: Vec<u8>,
    /// Its lines of the index.
    pub index: Vec<GroupEntry>,
}

impl StepFiles {
    /// Its lines of the index as bytes.
    pub(super) fn lines(&self) -> Vec<u8> {
        let mut lines = Vec::new();
        self.index.iter().for_each(|entry| push_line(&mut lines, entry));
        lines
    }

    /// Bytes of all three.
    pub(super) fn bytes(&self) -> u64 {
        (self.texts.len() + self.tokens.len() + self.lines().len()) as u64
    }
}

impl SamplesConfig {
    /// Groups of a step that are recorded, where a group has `siblings` completions of at most
    /// `limit` tokens.
    pub fn groups_of(&self, siblings: usize, limit: usize) -> usize {
        match self.groups {
            Groups::Rule(GroupsRule::Auto) => {
                let token = StepTokens::token_bytes(1, self.alternatives);
                let group = (siblings as u64).saturating_mul(limit as u64).saturating_mul(token);
                ((self.budget() / 64) / group.max(1)).clamp(2, 16) as usize
            }
            Groups::Rule(GroupsRule::Off) => 0,
            Groups::Count(count) => count.get(),
        }
    }

    /// How many of the likeliest tokens the record may keep of `step`, counted from 1: none of a
    /// step that is not recorded.
    pub fn alternatives_of(&self, step: u64) -> usize {
        let is_due = !self.is_off() && step.is_multiple_of(self.every.get());
        if is_due { self.alternatives } else { 0 }
    }

    /// Everything wrong with the settings, one sentence a key.
    pub fn problems(&self) -> Vec<String> {
        /// More than this take more space than texts and columns together.
        const MOST: usize = 64;
        let got = self.alternatives;
        let many = (got > MOST).then(|| format!("alternatives is {got}, expected at most {MOST}"));
        many.into_iter().collect()
    }

    /// Whether no sample is kept.
    pub fn is_off(&self) -> bool {
        self.groups == Groups::Rule(GroupsRule::Off)
    }

    /// Bytes that all samples may take.
    pub fn budget(&self) -> u64 {
        self.budget_mib.get().saturating_mul(1 << 20)
    }
}

impl Step<'_> {
    /// The files of this step.
    ///
    /// # Errors
    ///
    /// Fails when a prompt cannot be decoded.
    pub fn files(&self) -> Result<StepFiles> {
        let mut files = StepFiles::default();
        let mut tokens = StepTokens {
            completion_start: vec![0],
            prompt_start: vec![0],
            new_log_prob: column(self.learnt.new_log_probs),
            old_log_prob: column(self.learnt.old_log_probs),
            ref_log_prob: column(self.learnt.reference),
            importance: column(self.learnt.importance),
            penalty: column(self.learnt.penalties),
            ..StepTokens::default()
        };
        let mut advantages = self.learnt.advantages;
        if self.has_alternatives() {
            (tokens.alt_token, tokens.alt_log_prob) = (Some(Vec::new()), Some(Vec::new()));
        }
        let kept = self.groups.iter().map(|group| (group, true));
        let all = kept.chain(self.discarded.iter().map(|group| (group, false)));
        for (number, (group, is_kept)) in all.enumerate() {
            let count = if is_kept { group.completions.len() } else { 0 };
            let (own, rest) = advantages.split_at(count);
            advantages = rest;
            let rows = tokens.token.len() as u64;
            let completions = tokens.completion_group.len() as u64;
            self.add_tokens(&mut tokens, number, group, is_kept.then_some(own))?;
            let prompt = self.text.decode_without(&group.prompt, &BTreeSet::new())?;
            let line = SampleGroup::of(self.about.step, number, group, prompt, own);
            let from = files.texts.len() as u64;
            push_line(&mut files.texts, &line);
            let mut entry = self.entry(number, group, own);
            entry.bytes = [from, files.texts.len() as u64];
            entry.rows = [rows, tokens.token.len() as u64];
            entry.completions = [completions, tokens.completion_group.len() as u64];
            files.index.push(entry);
        }
        files.tokens = tokens.to_bytes(self.about);
        Ok(files)
    }

    /// Whether the likeliest tokens came with the completions.
    fn has_alternatives(&self) -> bool {
        let groups = self.groups.iter().chain(self.discarded);
        let mut completions = groups.flat_map(|group| &group.completions);
        completions.any(|one| !one.trajectory.alternatives.is_empty())
    }

    fn entry(&self, number: usize, group: &GradedGroup, advantages: &[f64]) -> GroupEntry {
        let each = &group.completions;
        let entropies = each.iter().flat_map(|one| &one.trajectory.entropies);
        let (count, sum) =
            entropies.fold((0_u64, 0.0), |(n, sum), &entropy| (n + 1, sum + f64::from(entropy)));
        GroupEntry {
            step: self.about.step,
            stage: self.about.stage.clone(),
            group: number,
            id: group.problem.id.clone(),
            source: group.problem.source.clone(),
            kept: !advantages.is_empty(),
            n: each.len(),
            correct: group.num_correct(),
            reward: group.rewards(),
            advantage: advantages.to_vec(),
            outcomes: each.iter().map(|one| one.judged.outcome).collect(),
            lengths: each.iter().map(|one| one.trajectory.completion.len()).collect(),
            entropy: (count > 0).then(|| sum / count as f64),
            bytes: [0; 2],
            rows: [0; 2],
            completions: [0; 2],
        }
    }

    /// Adds the tokens of a group, with its advantages where it was learnt from.
    fn add_tokens(
        &self,
        tokens: &mut StepTokens,
        number: usize,
        group: &GradedGroup,
        advantages: Option<&[f64]>,
    ) -> Result<()> {
        for (sibling, completion) in group.completions.iter().enumerate() {
            let own = &completion.trajectory;
            let (from, count) = (tokens.token.len(), own.completion.len());
            tokens.token.extend(&own.completion);
            tokens.text_end.extend(self.text.token_ends(
                &own.completion,
                self.hidden,
                &completion.text,
            )?);
            tokens.log_prob.extend(&own.log_probs);
            tokens.entropy.extend(&own.entropies);
            tokens.phi_sum.extend(&own.phi_sums);
            if let Some(column) = &mut tokens.alt_token {
                column.extend(own.alternatives.iter().map(|(token, _)| *token));
            }
            if let Some(column) = &mut tokens.alt_log_prob {
                column.extend(own.alternatives.iter().map(|(_, log_prob)| *log_prob));
            }
            self.add_learnt(tokens, from..from + count, advantages.is_some());
            tokens.completion_start.push(tokens.token.len() as u64);
            tokens.completion_group.push(number as u32);
            let advantage = advantages.map_or(f64::NAN, |all| all[sibling]);
            tokens.completion_advantage.push(advantage as f32);
        }
        tokens.prompt.extend(&group.prompt);
        tokens.prompt_start.push(tokens.prompt.len() as u64);
        Ok(())
    }

    /// Adds the columns of what was learnt. The groups that were come first, so that their rows
    /// here are those of the step.
    fn add_learnt(&self, tokens: &mut StepTokens, rows: std::ops::Range<usize>, is_kept: bool) {
        let own = self.learnt;
        let nothing = rows.len();
        let nan = || std::iter::repeat_n(f32::NAN, nothing);
        let log_probs = [
            (&mut tokens.new_log_prob, own.new_log_probs),
            (&mut tokens.old_log_prob, own.old_log_probs),
            (&mut tokens.ref_log_prob, own.reference),
        ];
        for (column, values) in log_probs {
            match column {
                Some(column) if is_kept => column.extend(&values[rows.clone()]),
                Some(column) => column.extend(nan()),
                None => {}
            }
        }
        let factors =
            [(&mut tokens.importance, own.importance), (&mut tokens.penalty, own.penalties)];
        for (column, values) in factors {
            match column {
                Some(column) if is_kept => {
                    column.extend(values[rows.clone()].iter().map(|&one| one as f32));
                }
                Some(column) => column.extend(nan()),
                None => {}
            }
        }
        if is_kept {
            tokens.flags.extend(&own.flags[rows.clone()]);
            tokens.weight.extend(own.weights[rows.clone()].iter().map(|&one| one as f32));
            tokens.train_log_prob.extend(&own.train_log_probs[rows]);
        } else {
            tokens.flags.extend(std::iter::repeat_n(flag::GENERATED | flag::LEFT_OUT, nothing));
            tokens.weight.extend(nan());
            tokens.train_log_prob.extend(nan());
        }
    }
}

/// An empty column where there is one.
fn column<T>(values: &[T]) -> Option<Vec<f32>> {
    (!values.is_empty()).then(Vec::new)
}

/// Adds a value as a line of JSON.
pub(super) fn push_line<T: Serialize>(bytes: &mut Vec<u8>, line: &T) {
    serde_json::to_writer(&mut *bytes, line).expect("plain fields become JSON");
    bytes.push(b'\n');
}
