//! STARE: tokens of high surprisal are raised or lowered while the entropy is below its target.
//!
//! Reading order: this file, the settings; `stare/rule.rs`, which tokens get which weight;
//! `stare/controller.rs`, what moves from step to step.

mod controller;
mod operation;
mod rule;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Scope, below, not_positive, outside};
use controller::Controller;
pub use operation::{Action, NamedOperation, Operation, Table};
pub(crate) use rule::side;

/// Weights W and M for the tokens that `operation` raises and lowers while the gate is open; 1 for
/// all others, and for all while it is closed. A token's high side is what `select` selects among
/// the tokens whose advantage has the same sign, its low side is the rest; an advantage of 0 has no
/// side.
///
/// Source: arXiv 2606.19236, algorithm 1, and its reference code; where these differ, each key says
/// what it follows. The defaults are the paper's.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Stare {
    /// Which tokens are raised or lowered: by the sign of their advantage and their side of the
    /// surprisal's threshold.
    pub operation: Operation,
    /// Which tokens have high surprisal.
    pub select: Select,
    /// W, the weight of raised tokens: a number, or a multiple of the weight at which the entropy
    /// holds.
    ///
    /// Names: STARE `reweight_w`.
    pub reweight_w: Reweight,
    /// M, the weight of lowered tokens.
    ///
    /// Names: STARE `reweight_m`.
    pub reweight_m: f64,
    /// Mean entropy, in nats a token, below which the gate opens.
    pub target_entropy: f64,
    /// Whose entropy the gate compares with the target.
    pub gate: Gate,
    /// Moves W and M by the sign of the target less the entropy. `"off"`: they stay.
    #[serde(with = "settings::off")]
    #[schemars(with = "settings::OrOff<AdaptiveReweight>")]
    pub adaptive: Option<AdaptiveReweight>,
    /// Which tokens are ranked together. The paper's is `"batch"`, the reference code's
    /// `"micro-batch"`.
    pub scope: Scope,
}

impl Default for Stare {
    fn default() -> Self {
        Self {
            operation: Operation::Named(NamedOperation::O1),
            select: Select::default(),
            reweight_w: Reweight::Fixed(1.1),
            reweight_m: 0.9,
            target_entropy: 0.3,
            gate: Gate::Batch,
            adaptive: None,
            scope: Scope::Batch,
        }
    }
}

/// Which tokens of one advantage sign have high surprisal.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(remote = "Self", rename_all = "kebab-case", deny_unknown_fields)]
#[schemars(tag = "kind", transform = settings::by_name_or("quantile"))]
#[schemars(rename = "StareSelection")]
pub enum Select {
    /// A share of them, by rank: the most surprising ones.
    Quantile {
        /// P, the share of the tokens of one advantage sign that have high surprisal.
        ///
        /// Names: STARE `top_ratio`.
        #[serde(default = "default_share")]
        share: f64,
        /// What becomes of equal surprisals at the threshold.
        #[serde(default)]
        ties: Ties,
    },
    /// Those of low probability, however many: the baseline of the paper's table 9.
    Probability {
        /// A token whose probability is below this has high surprisal.
        #[serde(default = "default_below")]
        below: f64,
    },
}

settings::tagged!(Select, "quantile");

fn default_share() -> f64 {
    0.1
}

fn default_below() -> f64 {
    0.1
}

impl Default for Select {
    fn default() -> Self {
        Self::Quantile { share: default_share(), ties: Ties::default() }
    }
}

/// Equal surprisals at the threshold of a quantile.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(rename = "QuantileTies")]
pub enum Ties {
    /// The lower index first, to exactly the share: as the reference code counts.
    #[default]
    Exact,
    /// All of them: the paper's `s >= Q_P`, with the last selected surprisal for Q.
    Keep,
}

/// What the gate compares with the target, strictly: open where it is below.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(rename = "StareGate")]
pub enum Gate {
    /// The mean entropy of the step's tokens, whatever the aggregation of the loss: the target is
    /// in nats a token. Open before the first step.
    ///
    /// Source: arXiv 2606.19236, algorithm 1. Its reference code aggregates the entropy as the loss
    /// is, which is the same with `token-mean`.
    #[default]
    Batch,
    /// The mean entropy of the token's sample (appendix G.6).
    Sample,
    /// The entropy at the token (appendix G.6).
    Token,
    /// Nothing: always open.
    Open,
}

/// Moves W and M by `step`, before they are used in the same step: up and down while the entropy is
/// below the target, back while it is above.
///
/// Source: arXiv 2606.19236, section 4.4.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "StareAdaptive")]
pub struct AdaptiveReweight {
    /// What W rises and M falls by in a step.
    pub step: f64,
    /// Upper bound of W. Its lower bound is 1.
    pub w_max: f64,
    /// Lower bound of M. Its upper bound is 1.
    pub m_min: f64,
}

impl Default for AdaptiveReweight {
    fn default() -> Self {
        Self { step: 0.01, w_max: 1.5, m_min: 0.5 }
    }
}

/// W, the weight of raised tokens.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, JsonSchema)]
#[serde(untagged)]
#[schemars(rename = "StareReweight")]
pub enum Reweight {
    /// This number.
    Fixed(f64),
    /// A multiple of the critical weight.
    Auto(AutoReweight),
}

/// W = `auto` · W*, within `min` and `max`, where W* = 1 + (Lambda - (1 - M) D) / Gamma is the
/// weight at which the step neither raises nor lowers the entropy, to first order.
///
/// Lambda is the sum of (f A - d) Phi over all tokens, Gamma minus that of f A Phi over the raised
/// ones, D that over the lowered ones, with the factor f and the pull d of the loss
/// ([`LossTerms`](crate::LossTerms)). Each is per token of the step, and a running mean over about
/// `memory` steps without bias towards the start. While the mean Gamma is 0 or less, W stays what
/// it is; it begins at `max`. The whole step is ranked together here, whatever the scope.
///
/// Source: ours, from arXiv 2606.19236, proposition 3.5 and corollary 3.6. There W* - 1 falls as
/// 1 / length, so that no one W suits all lengths.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "StareAutoReweight")]
pub struct AutoReweight {
    /// Factor of the critical weight. Above 1 a step raises the entropy, to first order.
    pub auto: f64,
    /// Lower bound of W.
    #[serde(default = "default_min")]
    pub min: f64,
    /// Upper bound of W.
    #[serde(default = "default_max")]
    pub max: f64,
    /// Number of steps that the running means remember.
    #[serde(default = "default_memory")]
    pub memory: f64,
}

fn default_min() -> f64 {
    1.0
}

fn default_max() -> f64 {
    10.0
}

fn default_memory() -> f64 {
    20.0
}

impl Stare {
    pub(super) fn problems(&self) -> Vec<String> {
        let mut found = Vec::new();
        match self.select {
            Select::Quantile { share, .. } => {
                found.extend(outside("select.share", share, 0.0, 1.0));
            }
            Select::Probability { below } => found.extend(outside("select.below", below, 0.0, 1.0)),
        }
        match self.reweight_w {
            Reweight::Fixed(weight) => found.extend(below("reweight_w", weight, 0.0)),
            Reweight::Auto(auto) => found.extend(auto.problems(self)),
        }
        let table = self.operation.table();
        if !table.has(Action::Amplify) && !table.has(Action::Attenuate) {
            found.push("operation: expected a side to amplify or to attenuate, got none".into());
        }
        found.extend(outside("reweight_m", self.reweight_m, 0.0, 1.0));
        found.extend(not_positive("target_entropy", self.target_entropy));
        if let Some(AdaptiveReweight { step, w_max, m_min }) = self.adaptive {
            found.extend(below("adaptive.step", step, 0.0));
            found.extend(below("adaptive.w_max", w_max, 1.0));
            found.extend(outside("adaptive.m_min", m_min, 0.0, 1.0));
        }
        found
    }

    pub(super) fn build(self) -> Controller {
        Controller::new(self)
    }
}

impl AutoReweight {
    fn problems(self, stare: &Stare) -> Vec<String> {
        let mut found: Vec<String> =
            not_positive("reweight_w.auto", self.auto).into_iter().collect();
        found.extend(below("reweight_w.min", self.min, 0.0));
        found.extend(below("reweight_w.max", self.max, 0.0));
        if self.min > self.max {
            found.push(format!(
                "reweight_w.max: expected at least reweight_w.min = {}, got {}",
                self.min, self.max
            ));
        }
        found.extend(below("reweight_w.memory", self.memory, 1.0));
        if stare.adaptive.is_some() {
            found.push("adaptive: expected none beside reweight_w.auto: both set W".into());
        }
        if !stare.operation.table().has(Action::Amplify) {
            found.push(
                "reweight_w.auto: expected an operation that amplifies some side; set a number"
                    .into(),
            );
        }
        found
    }
}

settings::by_shape! { Reweight: "a number, or a table with the key `auto`";
    number => Reweight::Fixed,
    table => Reweight::Auto,
}
