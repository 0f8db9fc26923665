//! How fast this machine decodes and trains, on work of a fixed shape: random tokens, no stop.

use std::time::Instant;

use anyhow::{Result, bail, ensure};
use candle::DType;
use engine::loss::LossConfig;
use engine::{Activations, MatmulPrecision, Model};
use optim::{OptimConfig, Schedule};
use rand_philox::Philox;
use rewards::{AdvantageConfig, GroupRewards};
use rollout::{Generator, Key, Purpose, Request, Sampling};
use serde::Serialize;

use crate::machine;
use crate::memory::{F32, MemoryFactors, Trained, decoding_bytes, num_weights};
use crate::random::draws;
use crate::train::log_prob_gap::LogProbGap;
use crate::train::sft::likelihood;
use crate::train::table::{Credit, Table};
use crate::train::update::{Gradient, UpdatePlan, update};

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// Sampling, its prompts included.
    Decode,
    /// Forward, backward and `AdamW` on sequences.
    Train,
    /// A step of GRPO: sampling, then one update.
    Step,
}

/// The shape of the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Prompts of a step.
    pub prompts: usize,
    /// Completions of each.
    pub group: usize,
    /// Tokens of each completion.
    pub new: usize,
    /// Tokens of each prompt.
    pub prompt_tokens: usize,
    /// Completions sampled at a time; 0 = all.
    pub slots: usize,
    /// Sequences that are trained on.
    pub batch: usize,
    /// Tokens of each.
    pub seq: usize,
    /// Rows that one backward pass may hold.
    pub micro_batch_tokens: usize,
    /// What the forward pass keeps.
    pub activations: Activations,
}

/// Sequences of a repetition, at most.
const MOST_SEQUENCES: usize = 1 << 24;
/// Their tokens, at most.
const MOST_TOKENS: usize = 1 << 30;

/// What was measured: one line of JSON.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    what: What,
    model: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    adapter: Option<String>,
    dtype: &'static str,
    device: String,
    /// What multiplies in bf16, where anything does on a CPU.
    #[serde(skip_serializing_if = "Option::is_none")]
    bf16_kernel: Option<&'static str>,
    threads: usize,
    #[serde(flatten)]
    work: Work,
    reps: usize,
    /// Seconds of one repetition, median.
    s_per_step: f64,
    s_min: f64,
    s_max: f64,
    /// Tokens generated, or trained on where none are, a second.
    tok_per_s: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    s_decode: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    s_update: Option<f64>,
    /// Mean and largest difference of the log-probs of sampling and of training, in nats, at the
    /// last update.
    #[serde(skip_serializing_if = "Option::is_none")]
    log_prob_gap_mean: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    log_prob_gap_max: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    peak_rss_mib: Option<f64>,
    /// What `train --dry-run` would say of it; not said of sampling alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    predicted_mib: Option<f64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(untagged)]
enum Work {
    Groups { prompts: usize, group: usize, new: usize, prompt_tokens: usize },
    Sequences { batch: usize, seq: usize },
}

/// A model, and what its weights take.
#[derive(Debug, Clone, Copy)]
pub struct Weighed<'a> {
    /// The model.
    pub model: &'a Model,
    /// Bytes of its weights, where some stay in the format of their file; `None`: all are f32.
    pub stored: Option<u64>,
}

/// Seconds of one repetition, and of its parts where it has two.
struct Seconds {
    all: f64,
    parts: Option<(f64, f64)>,
}

/// Measures: once unmeasured to warm up, then `reps` times. The report has the names of the model
/// and of an adapter on it.
///
/// # Errors
///
/// Fails when the shape does not fit the model's context, and when the model does.
pub fn bench(
    what: What,
    names: (&str, Option<&str>),
    weighed: Weighed<'_>,
    shape: &Shape,
    threads: usize,
    reps: usize,
) -> Result<Report> {
    let Weighed { model, stored } = weighed;
    let (sequences, longest) = match what {
        What::Train => (shape.batch, shape.seq),
        What::Decode | What::Step => (
            shape.prompts.saturating_mul(shape.group),
            shape.prompt_tokens.saturating_add(shape.new),
        ),
    };
    if sequences > MOST_SEQUENCES {
        bail!("expected at most {MOST_SEQUENCES} sequences, got {sequences}");
    }
    if sequences.saturating_mul(longest) > MOST_TOKENS {
        bail!("expected at most {MOST_TOKENS} tokens, got {sequences} sequences of {longest}");
    }
    let context = model.config().context;
    if longest > context {
        bail!("sequences of {longest} tokens do not fit the model's context of {context} tokens");
    }
    let mut bench = Bench { model, stored, shape, mover: None, gap: LogProbGap::default() };
    let mut seconds = Vec::new();
    for repetition in 0..=reps as u64 {
        let took = bench.repeat(what, repetition)?;
        if repetition > 0 {
            seconds.push(took);
        }
    }
    Ok(bench.report(what, names, threads, &seconds))
}

struct Bench<'a> {
    model: &'a Model,
    stored: Option<u64>,
    shape: &'a Shape,
    /// Made by the first update: decoding has none, nor its two moments a parameter.
    mover: Option<Gradient>,
    gap: LogProbGap,
}

impl Bench<'_> {
    fn repeat(&mut self, what: What, repetition: u64) -> Result<Seconds> {
        let began = Instant::now();
        let mut parts = None;
        match what {
            What::Decode => drop(self.sample(repetition)?),
            What::Train => self.update(&likelihood(), &self.sequences(repetition))?,
            What::Step => {
                let groups = self.sample(repetition)?;
                let decoded = began.elapsed().as_secs_f64();
                self.update(&LossConfig::default(), &credited(&groups))?;
                parts = Some((decoded, began.elapsed().as_secs_f64() - decoded));
            }
        }
        Ok(Seconds { all: began.elapsed().as_secs_f64(), parts })
    }

    fn sample(&self, repetition: u64) -> Result<Vec<rollout::Group>> {
        let Shape { prompts, group, new, prompt_tokens, .. } = *self.shape;
        let mut words = draws(repetition, "bench");
        let request = |problem| Request {
            prompt: self.tokens(prompt_tokens, &mut words),
            prefix: Vec::new(),
            problem,
            group_size: group,
            greedy: false,
        };
        let requests: Vec<_> = (0..prompts as u64).map(request).collect();
        let new = std::num::NonZeroUsize::new(new).unwrap_or(std::num::NonZeroUsize::MIN);
        let sampling = Sampling { max_new_tokens: new, ..Sampling::default() };
        let key = Key { seed: 1, purpose: Purpose::Sample, step: repetition };
        let all = prompts * group;
        let slots = if self.shape.slots == 0 { all } else { self.shape.slots.min(all) };
        let generator = Generator {
            policy: self.model.policy(),
            sampling: &sampling,
            // None, so that every completion has its full length.
            stop_tokens: &[],
            unused: &[],
            stop: None,
            slots,
            alternatives: 0,
            key,
        };
        Ok(generator.generate(&requests, &mut rollout::to_the_end)?)
    }

    fn sequences(&self, repetition: u64) -> Table {
        let mut words = draws(repetition, "bench");
        let mut table = Table::default();
        for _ in 0..self.shape.batch {
            table.push_prompt(self.tokens(1, &mut words));
            table.push_completion(&self.tokens(self.shape.seq, &mut words));
        }
        table.credit = Credit::even(&table, 1.0);
        table
    }

    fn tokens(&self, count: usize, words: &mut Philox) -> Vec<u32> {
        let vocabulary = self.model.config().vocab_size as u32;
        (0..count).map(|_| words.bounded(vocabulary)).collect()
    }

    fn update(&mut self, loss: &LossConfig, table: &Table) -> Result<()> {
        let schedule = Schedule::Constant { lr: 1e-6, warmup: 0, warmup_ratio: 0.0 };
        let plan = UpdatePlan {
            model: self.model,
            loss,
            temperature: 1.0,
            activations: self.shape.activations,
            budget: self.shape.micro_batch_tokens,
            epochs: 1,
            updates_per_step: 1,
            seed: 0,
            schedule: &schedule,
            total_updates: 1,
        };
        let mover = match &mut self.mover {
            Some(mover) => mover,
            none => none.insert(Gradient::new(&OptimConfig::default(), self.model)?),
        };
        let done = update(&plan, mover, table, 0, &mut |_, _| {}, &mut |_| Ok(()))?;
        ensure!(
            done.grad_norm.is_some_and(|norm| norm > 0.0),
            "nothing was computed: no sequence of the update has a gradient"
        );
        self.gap = done.gap;
        Ok(())
    }

    fn report(
        &self,
        what: What,
        (name, adapter): (&str, Option<&str>),
        threads: usize,
        seconds: &[Seconds],
    ) -> Report {
        let Shape { prompts, group, new, prompt_tokens, batch, seq, .. } = *self.shape;
        let (work, tokens) = match what {
            What::Train => (Work::Sequences { batch, seq }, batch * seq),
            What::Decode | What::Step => {
                (Work::Groups { prompts, group, new, prompt_tokens }, prompts * group * new)
            }
        };
        let all = sorted(seconds.iter().map(|one| one.all));
        let part = |of: fn((f64, f64)) -> f64| {
            let part = sorted(seconds.iter().filter_map(|one| one.parts.map(of)));
            (!part.is_empty()).then(|| median(&part))
        };
        Report {
            what,
            model: name.to_owned(),
            adapter: adapter.map(str::to_owned),
            dtype: match (self.model.dtype(), self.model.precision()) {
                (DType::BF16, _) | (_, MatmulPrecision::Bf16) => "bf16",
                _ => "f32",
            },
            device: if self.model.device().is_cpu() { "cpu" } else { "cuda" }.to_owned(),
            bf16_kernel: (self.model.precision() == MatmulPrecision::Bf16)
                .then(engine::bf16_kernel),
            threads,
            work,
            reps: seconds.len(),
            s_per_step: median(&all),
            s_min: all.first().copied().unwrap_or_default(),
            s_max: all.last().copied().unwrap_or_default(),
            tok_per_s: tokens as f64 / median(&all),
            s_decode: part(|(decode, _)| decode),
            s_update: part(|(_, update)| update),
            log_prob_gap_mean: self.gap.is_known().then(|| self.gap.mean()),
            log_prob_gap_max: self.gap.is_known().then_some(self.gap.max),
            peak_rss_mib: machine::peak_rss_mib(),
            predicted_mib: self.predicted(what, threads).map(|it| it as f64 / f64::from(1 << 20)),
        }
    }

    /// Bytes at the peak, by the formula of the dry run.
    fn predicted(&self, what: What, threads: usize) -> Option<u64> {
        let Shape { prompts, group, new, prompt_tokens, batch, seq, .. } = *self.shape;
        let (rows, cached) = match what {
            What::Decode => return None,
            What::Train => (batch * seq, 0),
            What::Step => {
                let rows = prompts * (prompt_tokens + group * new);
                (rows, rows)
            }
        };
        let memory = MemoryFactors {
            rows: rows.min(self.shape.micro_batch_tokens) as u64,
            alone: rows <= self.shape.micro_batch_tokens,
            activations: self.shape.activations,
            cached: cached as u64,
            reference: false,
            gradients: true,
        };
        let config = self.model.config();
        let mut memory = memory.estimate(config, self.trained(threads));
        if what == What::Step && self.model.precision() == MatmulPrecision::Bf16 {
            memory.round(num_weights(config));
        }
        Some(memory.total())
    }

    /// What is trained. An adapter has no reference of its own.
    fn trained(&self, threads: usize) -> Trained {
        let config = self.model.config();
        if self.model.adapter().is_none() {
            return Trained::Weights(num_weights(config));
        }
        let sizes = self.model.trainable().map(|parameter| parameter.tensor.elem_count() as u64);
        let decoding = self.stored.map_or(0, |_| decoding_bytes(config, threads));
        let weights = self.stored.unwrap_or(num_weights(config) * F32);
        Trained::Adapter { parameters: sizes.sum(), weights, decoding, references: 0 }
    }
}

/// Groups as the loss takes them, every other sibling rewarded.
fn credited(groups: &[rollout::Group]) -> Table {
    let mut table = Table::default();
    let mut advantages = Vec::new();
    for group in groups {
        table.push_prompt(group.prompt.clone());
        group.trajectories.iter().for_each(|one| table.push_trajectory(one));
        let rewards: Vec<f64> = (0..group.trajectories.len()).map(|i| (i % 2) as f64).collect();
        let lengths: Vec<_> = group.trajectories.iter().map(|one| one.completion.len()).collect();
        let group = [GroupRewards { rewards: &rewards, lengths: &lengths }];
        advantages.extend(AdvantageConfig::default().advantages(&group).into_iter().flatten());
    }
    table.credit = Credit { advantages, ..Credit::even(&table, 0.0) };
    table
}

fn sorted(seconds: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut seconds: Vec<_> = seconds.collect();
    seconds.sort_by(f64::total_cmp);
    seconds
}

/// The middle of sorted numbers; 0 of none.
fn median(sorted: &[f64]) -> f64 {
    let middle = sorted.len() / 2;
    match sorted {
        [] => 0.0,
        _ if sorted.len() % 2 == 1 => sorted[middle],
        _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert!((median(&sorted([3.0, 1.0, 2.0].into_iter())) - 2.0).abs() < 1e-12);
        assert!((median(&sorted([4.0, 1.0, 2.0, 3.0].into_iter())) - 2.5).abs() < 1e-12);
        assert!(median(&[]).abs() < 1e-12);
    }
}
