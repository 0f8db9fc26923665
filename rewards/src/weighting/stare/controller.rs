use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::super::{Scope, TokenColumns, TokenWeighting, TokenWeights};
use super::operation::{Action, NamedOperation};
use super::{AdaptiveReweight, AutoReweight, Gate, Reweight, Select, Stare};
use crate::moving::Moving;
use crate::{Error, LossTerms, Result, exact, json};

/// STARE at work: the settings and what moves from step to step.
#[derive(Debug, Clone)]
pub(in super::super) struct Controller {
    stare: Stare,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    /// Whether the last mean entropy was below the target.
    gate: bool,
    weight: Moving,
    attenuation: Moving,
    /// Mean entropy of the last step whose was finite; NaN before the first.
    #[serde(with = "exact")]
    entropy: f64,
    means: Means,
}

/// Exponential running means and the total of their coefficients, which takes the start out of
/// them.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Means {
    #[serde(with = "exact")]
    lambda: f64,
    #[serde(with = "exact")]
    gamma: f64,
    #[serde(with = "exact")]
    attenuated: f64,
    #[serde(with = "exact")]
    total: f64,
}

impl Means {
    const NONE: Self = Self { lambda: 0.0, gamma: 0.0, attenuated: 0.0, total: 0.0 };

    fn take_in(&mut self, step: Self, memory: f64) {
        let keep = 1.0 - 1.0 / memory;
        let mix = |mean: &mut f64, value: f64| *mean = keep * *mean + (1.0 - keep) * value;
        mix(&mut self.lambda, step.lambda);
        mix(&mut self.gamma, step.gamma);
        mix(&mut self.attenuated, step.attenuated);
        mix(&mut self.total, step.total);
    }

    /// W*, where it exists.
    fn critical_weight(self, attenuation: f64) -> Option<f64> {
        // the totals of the three means cancel
        (self.gamma > 0.0)
            .then(|| 1.0 + (self.lambda - (1.0 - attenuation) * self.attenuated) / self.gamma)
    }
}

impl Controller {
    pub(super) fn new(stare: Stare) -> Self {
        let weight = match stare.reweight_w {
            Reweight::Fixed(weight) => weight,
            Reweight::Auto(auto) => auto.max,
        };
        let (weight, attenuation) = (Moving::from(weight), Moving::from(stare.reweight_m));
        let state =
            State { gate: true, weight, attenuation, entropy: f64::NAN, means: Means::NONE };
        Self { stare, state }
    }

    /// How both W and M move, where they do.
    fn adaptive(&self) -> Option<AdaptiveReweight> {
        let is_auto = matches!(self.stare.reweight_w, Reweight::Auto(_));
        // a step of 0 means fixed weights, which may lie outside the bounds of moving ones
        self.stare.adaptive.filter(|adaptive| adaptive.step != 0.0 && !is_auto)
    }

    /// Moves W and M by the sign of target less entropy.
    fn adapt(&mut self, mean_entropy: f64) {
        let Some(adaptive) = self.adaptive() else { return };
        let off = self.stare.target_entropy - mean_entropy;
        let by = if off == 0.0 { 0.0 } else { adaptive.step * off.signum() };
        // not `clamp`, which panics on bounds that problems() refuses
        self.state.weight.now = (self.state.weight.now + by).max(1.0).min(adaptive.w_max);
        self.state.attenuation.now = (self.state.attenuation.now - by).max(adaptive.m_min).min(1.0);
    }

    /// Sets W by what this and the last steps measured.
    fn measure(&mut self, auto: AutoReweight, tokens: &TokenColumns<'_>, terms: &LossTerms<'_>) {
        let mut step = Means { total: 1.0, ..Means::NONE };
        for (token, action) in self.stare.actions(tokens).into_iter().enumerate() {
            let phi = tokens.sensitivity(token) / tokens.len() as f64;
            let effect = terms.factor(token) * tokens.advantages[token] * phi;
            step.lambda += effect - terms.pull(token) * phi;
            match action {
                Action::Amplify => step.gamma -= effect,
                Action::Attenuate => step.attenuated += effect,
                Action::Keep => {}
            }
        }
        let finite = [step.lambda, step.gamma, step.attenuated].iter().all(|sum| sum.is_finite());
        if !finite || tokens.is_empty() {
            return;
        }
        self.state.means.take_in(step, auto.memory);
        if let Some(critical) = self.state.means.critical_weight(self.state.attenuation.now) {
            self.state.weight.now = (auto.auto * critical).max(auto.min).min(auto.max);
        }
    }

    fn is_open(&self) -> bool {
        self.stare.gate == Gate::Open || self.state.gate
    }

    fn last_entropy(&self) -> f64 {
        if self.state.entropy.is_finite() { self.state.entropy } else { 0.0 }
    }

    fn statistics(
        &self,
        tokens: &TokenColumns<'_>,
        actions: &[Action],
        open: &[bool],
        weights: &[f64],
    ) -> Vec<(&'static str, f64)> {
        let n = tokens.len().max(1) as f64;
        let share = |counts: &dyn Fn(usize) -> bool| {
            (0..tokens.len()).filter(|&token| counts(token)).count() as f64 / n
        };
        let sign = |token: usize, sign: f64| tokens.advantages[token] * sign > 0.0;
        let acted = |token: usize| actions[token] != Action::Keep;
        let candidates = [share(&|token| sign(token, 1.0)), share(&|token| sign(token, -1.0))];
        let reweighted = [1.0, -1.0].map(|side| share(&|token| sign(token, side) && acted(token)));
        let c2 = self.stare.operation.table() == NamedOperation::C2.table();
        let mut statistics = vec![
            ("actor/stare/gate_on", self.gate_on(open)),
            ("actor/stare/controller_entropy", self.last_entropy()),
            ("actor/stare/target_entropy", self.stare.target_entropy),
        ];
        if let Select::Quantile { share, .. } = self.stare.select {
            statistics.push(("actor/stare/top_ratio", share));
        }
        statistics.extend([
            ("actor/stare/positive_candidate_ratio", candidates[0]),
            ("actor/stare/negative_candidate_ratio", candidates[1]),
            ("actor/stare/positive_reweight_ratio", reweighted[0]),
            ("actor/stare/negative_reweight_ratio", reweighted[1]),
            ("actor/stare/mean_weight", weights.iter().sum::<f64>() / n),
            ("actor/stare/positive_weight", self.state.weight.now),
            ("actor/stare/negative_weight", self.state.attenuation.now),
            ("actor/stare/variant_is_c2", f64::from(u8::from(c2))),
        ]);
        if self.stare.scope == Scope::MicroBatch {
            let sum: f64 = tokens.entropies.iter().map(|&entropy| f64::from(entropy)).sum();
            statistics.push(("stare/micro_batch_entropy", sum / n));
        }
        statistics
    }

    /// Share of the tokens at which the gate is open.
    fn gate_on(&self, open: &[bool]) -> f64 {
        match self.stare.gate {
            // also of no tokens
            Gate::Batch | Gate::Open => f64::from(u8::from(self.is_open())),
            Gate::Sample | Gate::Token => {
                let count = open.iter().filter(|&&open| open).count();
                count as f64 / open.len().max(1) as f64
            }
        }
    }
}

impl TokenWeighting for Controller {
    fn observe(
        &mut self,
        mean_entropy: f64,
        tokens: &TokenColumns<'_>,
        terms: &LossTerms<'_>,
    ) -> Vec<(&'static str, f64)> {
        if mean_entropy.is_finite() {
            self.state.entropy = mean_entropy;
            self.state.gate = mean_entropy < self.stare.target_entropy;
            self.adapt(mean_entropy);
            if let Reweight::Auto(auto) = self.stare.reweight_w {
                self.measure(auto, tokens, terms);
            }
        }
        let open = self.stare.opens(tokens, self.is_open());
        let mut said = vec![
            ("stare/gate_on", self.gate_on(&open)),
            ("stare/target_entropy", self.stare.target_entropy),
            ("stare/reweight_w", self.state.weight.now),
            ("stare/reweight_m", self.state.attenuation.now),
            ("stare/batch_entropy", self.last_entropy()),
        ];
        let means = self.state.means;
        if means.total > 0.0 {
            let critical = means.critical_weight(self.state.attenuation.now);
            said.extend(critical.map(|weight| ("stare/critical_weight", weight)));
            said.push(("stare/lambda", means.lambda / means.total));
            said.push(("stare/gamma", means.gamma / means.total));
        }
        said
    }

    fn weights(&self, tokens: &TokenColumns<'_>) -> TokenWeights {
        // ranked while the gate is closed too: what it would select is worth recording
        let actions = self.stare.actions(tokens);
        let open = self.stare.opens(tokens, self.is_open());
        let weight = |(action, &open): (&Action, &bool)| match action {
            Action::Amplify if open => self.state.weight.now,
            Action::Attenuate if open => self.state.attenuation.now,
            _ => 1.0,
        };
        let weights: Vec<f64> = actions.iter().zip(&open).map(weight).collect();
        let statistics = self.statistics(tokens, &actions, &open, &weights);
        TokenWeights { weights, penalties: Vec::new(), statistics }
    }

    fn scope(&self) -> Scope {
        self.stare.scope
    }

    fn state(&self) -> Value {
        serde_json::to_value(self.state).expect("a struct of texts has a JSON form")
    }

    fn restore(&mut self, state: &Value) -> Result<()> {
        let saved: State = json::read(state).map_err(|_| Error::State {
            component: "stare",
            expected: "its gate, weight, attenuation, entropy and means",
            got: state.to_string(),
        })?;
        let adapts = self.adaptive().is_some();
        let is_auto = matches!(self.stare.reweight_w, Reweight::Auto(_));
        let State { mut weight, mut attenuation, .. } = self.state;
        weight.restore(saved.weight, adapts || is_auto);
        attenuation.restore(saved.attenuation, adapts);
        self.state = State { weight, attenuation, ..saved };
        Ok(())
    }
}
