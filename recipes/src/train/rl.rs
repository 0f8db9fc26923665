//! A stage of reinforcement learning: gather, rescore, credit, update, summarize.

mod credit;
mod flags;
mod gather;
mod probe;
mod report;
mod terms;

use std::time::Instant;

use anyhow::{Context, Result, anyhow};
use candle::Tensor;
use engine::loss::LossConfig;
use engine::{Policy, Scores};
use evals::attempt::GradedGroup;
use optim::SavedState;
use rewards::entropy_bonus::EntropyControl;
use rewards::{KlControl, Rubric, TokenWeighting};
use serde_json::Value;

use super::StepOutput;
use super::average::WithoutAverage;
use super::clock::Clock;
use super::context::RunContext;
use super::learner::Learner;
use super::pack::score;
use super::recoverable::UnusableReference;
use super::reference::Reference;
use super::stage::{DataLoader, StageDriver, StageStart};
use super::table::{Rescored, Table};
use super::update::UpdateReport;
use crate::config::{OldLogProbs, RlStage};
use crate::run_dir::StageState;

/// Log-prob of a token, in nats, that no sane policy gives: the logits of others are this much
/// higher.
const LEAST_LOG_PROB: f32 = -1e4;

/// A running stage of reinforcement learning.
#[derive(Debug)]
pub(super) struct Rl<'a> {
    run: RunContext<'a>,
    config: &'a RlStage,
    /// Index of the stage in the recipe.
    index: usize,
    loader: DataLoader<'a>,
    learner: Learner<'a>,
    /// Judges completions.
    rubric: Rubric,
    /// The policy that the loss or the reward has a KL to.
    reference: Option<Reference<'a>>,
    /// Subtracts the KL to the reference from the rewards.
    kl_control: KlControl,
    weighting: Box<dyn TokenWeighting>,
    /// Chooses the coefficient of the entropy in the loss.
    entropy_control: EntropyControl,
    /// Mean entropy of all tokens that the last step sampled, nats; `None` at the stage's start.
    entropy: Option<f64>,
    /// Groups of a step that could learn from none.
    unlearnt: Vec<GradedGroup>,
    /// Times the current step.
    clock: Clock,
}

impl<'a> Rl<'a> {
    pub(super) fn begin(config: &'a RlStage, start: &StageStart<'a, '_>) -> Result<Self> {
        let run = start.run;
        let rubric = run
            .verifiers
            .rubric(&config.rewards)
            .with_context(|| format!("stage.{}.rewards", start.index))?;
        Ok(Self {
            loader: DataLoader::new(&run),
            learner: Learner::new(config, start)?,
            rubric,
            reference: reference(config, start)?,
            kl_control: KlControl::new(config.reward_kl),
            weighting: config.weighting.build(),
            entropy_control: EntropyControl::new(config.entropy_bonus),
            entropy: None,
            unlearnt: Vec::new(),
            clock: Clock::start(),
            run,
            config,
            index: start.index,
        })
    }

    /// Scores the tokens again where the loss needs it: with the current weights (old log-probs)
    /// and with the reference.
    fn rescore(&self, table: &Table) -> Result<Rescored> {
        let config = self.config;
        let score = |policy: Policy<'_>, key| -> Result<Scores> {
            let began = Instant::now();
            let (temperature, budget) =
                (config.rollout.temperature, config.micro_batch_tokens.get());
            let scores = score(policy, table, temperature, budget)?;
            self.clock.add(key, began);
            Ok(scores)
        };
        let again = config.old_log_probs == OldLogProbs::Rescore;
        let model = self.run.model;
        let old = again.then(|| score(model.policy(), "timing_s/old_log_prob")).transpose()?;
        let reference = self.reference.as_ref().map(|one| one.policy(model)).transpose()?;
        let reference = reference.map(|policy| score(policy, "timing_s/ref")).transpose()?;
        let reference = reference.map(|scores| scores.log_probs);
        if let Some(log_probs) = &reference {
            let bad = log_probs.iter().find(|one| !one.is_finite());
            bad.map_or(Ok(()), |bad| Err(self.unusable_reference(*bad, "")))?;
        }
        Ok(Rescored { old, reference })
    }

    /// The error of a reference that gives a token this log-prob, by which a loss is no number;
    /// `said` is what was found before. Others than a named adapter fail with the policy.
    fn unusable_reference(&self, log_prob: f32, said: &str) -> anyhow::Error {
        let choice = &self.config.reference;
        let of = format!("{said}the reference of stage {}, {}", self.index, choice.in_words());
        match choice.adapter() {
            Some(name) => {
                let problem = format!("{of}, gives a token the log-prob {log_prob:e}");
                UnusableReference { problem, adapter: name.to_owned() }.into()
            }
            None => {
                anyhow!("the log-probs of {of}, are not finite: the weights have diverged")
            }
        }
    }

    /// The error of an update, which names the reference where that is another adapter whose
    /// log-probs are beyond those of any text.
    fn with_reference(&self, error: anyhow::Error, table: &Table) -> anyhow::Error {
        use optim::Error::{NonFiniteLoss, NonFiniteNorm};
        let of_loss =
            matches!(error.downcast_ref(), Some(NonFiniteLoss { .. } | NonFiniteNorm { .. }));
        let is_named = matches!(self.reference, Some(Reference::Named(_)));
        let log_probs = table.scores.reference.iter().flatten().copied();
        match log_probs.reduce(f32::min).filter(|_| of_loss && is_named) {
            Some(least) if least < LEAST_LOG_PROB => {
                self.unusable_reference(least, &format!("{error:#}: "))
            }
            _ => error,
        }
    }

    /// Updates the parameters.
    fn update(&mut self, step: u64, table: &Table) -> Result<UpdateReport> {
        let began = Instant::now();
        let entropy_coefficient = table.credit.entropy_coefficient;
        let loss = LossConfig { entropy_coefficient, ..self.config.loss.clone() };
        let (temperature, seed) = (self.config.rollout.temperature, self.run.seed_of(step));
        let average = self.reference.as_mut().and_then(Reference::average);
        let report = self.learner.update(&loss, temperature, table, seed, average)?;
        self.clock.add("timing_s/update_actor", began);
        Ok(report)
    }
}

/// What the stage looks back at, where a KL term does.
fn reference<'a>(config: &RlStage, start: &StageStart<'a, '_>) -> Result<Option<Reference<'a>>> {
    config.has_reference().then(|| start.reference(&config.reference)).transpose()
}

impl StageDriver for Rl<'_> {
    fn step(&mut self, step: u64) -> Result<StepOutput> {
        self.clock = Clock::start();
        let rollouts = self.gather(step)?;
        let mut table = Table::of(&rollouts.groups);
        table.scores = self.rescore(&table)?;
        table.credit = self.credit(step, &rollouts.groups, &table)?;
        let probe = self.probe(step)?;
        let mut report =
            self.update(step, &table).map_err(|error| self.with_reference(error, &table))?;
        table.train_log_probs = std::mem::take(&mut report.train_log_probs);
        table.new_log_probs = std::mem::take(&mut report.new_log_probs);
        for (own, clips) in table.credit.flags.iter_mut().zip(&report.clips) {
            *own |= clips;
        }
        self.summarize(rollouts, table, &report, probe.as_ref())
    }

    fn has_moved(&self) -> bool {
        self.learner.has_moved
    }

    fn take_unlearnt(&mut self) -> Vec<GradedGroup> {
        std::mem::take(&mut self.unlearnt)
    }

    fn state(&self) -> StageState {
        let mut state = StageState::default();
        self.loader.save(&mut state);
        self.learner.save(&mut state);
        state.set("kl_control", self.kl_control.state());
        state.set("weighting", self.weighting.state());
        state.set("entropy_control", self.entropy_control.state());
        state.set("entropy", self.entropy);
        state
    }

    fn tensors(&self) -> Result<Vec<(String, Tensor)>> {
        let mut tensors = self.learner.tensors()?;
        if let Some(Reference::Average(average)) = &self.reference {
            tensors.extend(average.tensors());
        }
        Ok(tensors)
    }

    fn restore(&mut self, state: &StageState, tensors: &dyn SavedState) -> Result<()> {
        self.loader.restore(state)?;
        self.learner.restore(state, &WithoutAverage(tensors))?;
        if let Some(average) = self.reference.as_mut().and_then(Reference::average) {
            average.restore(self.run.model, tensors)?;
        }
        self.kl_control.restore(&state.get::<Value>("kl_control")?)?;
        self.weighting.restore(&state.get::<Value>("weighting")?)?;
        self.entropy_control.restore(&state.get::<Value>("entropy_control")?)?;
        self.entropy = state.get("entropy")?;
        Ok(())
    }
}
