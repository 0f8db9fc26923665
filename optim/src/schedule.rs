use std::f64::consts::PI;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The learning rate as a function of the update and of how many there will be.
///
/// During warm-up the rate of update `u` (from 0) is `lr (u + 1) / warmup`: never 0, and `lr` at
/// its last update. After it the rate is `lr f(p)`, where `p = (u - warmup) / (total - warmup)` is
/// the share of the rest that is done.
///
/// Warm-up is given in updates (`warmup`) or as a share of all updates of the stage
/// (`warmup_ratio`), not both. The share is rounded up to whole updates; a number within a
/// millionth above a whole one counts as that.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(remote = "Self", rename_all = "kebab-case", deny_unknown_fields)]
#[schemars(tag = "kind", transform = settings::by_name)]
pub enum Schedule {
    /// `f(p) = 1`.
    Constant {
        /// The learning rate, after warm-up.
        ///
        /// Names: verl `lr`, HF `learning_rate`, prime-rl `lr`.
        lr: f64,
        /// Updates of warm-up. 0 = none.
        ///
        /// Names: verl `lr_warmup_steps`, HF `warmup_steps`, prime-rl `warmup_steps`.
        #[serde(default)]
        warmup: u64,
        /// Warm-up as a share of all updates of the stage, from 0 to less than 1. 0 = none.
        ///
        /// Names: verl `lr_warmup_steps_ratio`, HF `warmup_ratio`.
        #[serde(default)]
        warmup_ratio: f64,
    },
    /// `f(p) = 1 - (1 - min_ratio) p`.
    Linear {
        /// The learning rate, after warm-up.
        ///
        /// Names: verl `lr`, HF `learning_rate`, prime-rl `lr`.
        lr: f64,
        /// Updates of warm-up. 0 = none.
        ///
        /// Names: verl `lr_warmup_steps`, HF `warmup_steps`, prime-rl `warmup_steps`.
        #[serde(default)]
        warmup: u64,
        /// Warm-up as a share of all updates of the stage, from 0 to less than 1. 0 = none.
        ///
        /// Names: verl `lr_warmup_steps_ratio`, HF `warmup_ratio`.
        #[serde(default)]
        warmup_ratio: f64,
        /// The rate at the end, as a share of `lr`.
        ///
        /// Names: verl `min_lr_ratio`, HF `min_lr_rate`, prime-rl `min_lr`.
        #[serde(default)]
        min_ratio: f64,
    },
    /// `f(p) = min_ratio + (1 - min_ratio) (1 + cos(pi p)) / 2`. Source: arXiv 1608.03983, equation
    /// 5, without restarts.
    Cosine {
        /// The learning rate, after warm-up.
        ///
        /// Names: verl `lr`, HF `learning_rate`, prime-rl `lr`.
        lr: f64,
        /// Updates of warm-up. 0 = none.
        ///
        /// Names: verl `lr_warmup_steps`, HF `warmup_steps`, prime-rl `warmup_steps`.
        #[serde(default)]
        warmup: u64,
        /// Warm-up as a share of all updates of the stage, from 0 to less than 1. 0 = none.
        ///
        /// Names: verl `lr_warmup_steps_ratio`, HF `warmup_ratio`.
        #[serde(default)]
        warmup_ratio: f64,
        /// The rate at the end, as a share of `lr`.
        ///
        /// Names: verl `min_lr_ratio`, HF `min_lr_rate`, prime-rl `min_lr`.
        #[serde(default)]
        min_ratio: f64,
    },
    /// Warm-up, stable, decay: `f = 1` up to the last `decay_ratio` of all updates, and over these
    /// `f = min_ratio + (1 - min_ratio) g(q)`, with the share `q` of them that is done.
    ///
    /// Source: arXiv 2404.06395, section 4; the shapes of the decay, arXiv 2405.18392.
    Wsd {
        /// The learning rate, after warm-up.
        ///
        /// Names: verl `lr`, HF `learning_rate`, prime-rl `lr`.
        lr: f64,
        /// Updates of warm-up. 0 = none.
        ///
        /// Names: verl `lr_warmup_steps`, HF `warmup_steps`, prime-rl `warmup_steps`.
        #[serde(default)]
        warmup: u64,
        /// Warm-up as a share of all updates of the stage, from 0 to less than 1. 0 = none.
        ///
        /// Names: verl `lr_warmup_steps_ratio`, HF `warmup_ratio`.
        #[serde(default)]
        warmup_ratio: f64,
        /// The decay at the end, as a share of all updates of the stage, more than 0 and at most 1.
        /// It is rounded up to whole updates, as `warmup_ratio` is.
        ///
        /// Names: HF `num_decay_steps`.
        #[serde(default = "usual_decay")]
        decay_ratio: f64,
        /// The shape `g` of the decay.
        ///
        /// Names: HF `decay_type`.
        #[serde(default)]
        decay: Decay,
        /// The rate at the end, as a share of `lr`.
        ///
        /// Names: verl `min_lr_ratio`, HF `min_lr_ratio`, prime-rl `min_lr`.
        #[serde(default)]
        min_ratio: f64,
    },
}

settings::tagged!(Schedule);

/// How the rate falls over the decay of [`Schedule::Wsd`], from 1 to 0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(rename = "ScheduleDecay")]
pub enum Decay {
    /// `1 - q`.
    #[default]
    Linear,
    /// `(1 + cos(pi q)) / 2`.
    Cosine,
    /// `1 - sqrt(q)`.
    Sqrt,
}

fn usual_decay() -> f64 {
    0.1
}

impl Decay {
    fn at(self, done: f64) -> f64 {
        match self {
            Self::Linear => 1.0 - done,
            Self::Cosine => f64::midpoint(1.0, (PI * done).cos()),
            Self::Sqrt => 1.0 - done.sqrt(),
        }
    }
}

/// What every kind has, and how it falls.
struct Parts {
    lr: f64,
    warmup: u64,
    warmup_ratio: f64,
    min_ratio: f64,
    /// The shape of the fall and the share of all updates that it takes; none where it is constant.
    /// A share of 1 means all that follows warm-up.
    fall: Option<(Decay, f64)>,
}

impl Schedule {
    /// The learning rate of update `update` (from 0) out of `total`; past the end, what the
    /// schedule ends at.
    pub fn lr(&self, update: u64, total: u64) -> f64 {
        let Parts { lr, min_ratio, fall, .. } = self.parts();
        let warmup = self.warmup(total);
        if update < warmup {
            return lr * ((update + 1) as f64 / warmup as f64);
        }
        let Some((decay, ratio)) = fall else { return lr };
        let falling = share(ratio, total).min(total.saturating_sub(warmup));
        let begins = total.max(warmup) - falling;
        let done = update.saturating_sub(begins).min(falling);
        let progress = if falling == 0 { 1.0 } else { done as f64 / falling as f64 };
        lr * (min_ratio + (1.0 - min_ratio) * decay.at(progress))
    }

    /// The learning rate after warm-up, from which it may fall.
    pub fn peak(&self) -> f64 {
        self.parts().lr
    }

    /// Updates of warm-up, out of `total`.
    pub fn warmup(&self, total: u64) -> u64 {
        let Parts { warmup, warmup_ratio, .. } = self.parts();
        if warmup > 0 { warmup } else { share(warmup_ratio, total) }
    }

    /// Everything wrong with the settings, one sentence per key.
    pub fn problems(&self) -> Vec<String> {
        let Parts { lr, warmup, warmup_ratio, min_ratio, fall } = self.parts();
        let mut problems = Vec::new();
        let mut need = |holds: bool, problem: String| {
            if !holds {
                problems.push(problem);
            }
        };
        need(lr.is_finite() && lr > 0.0, format!("lr is {lr}, expected a positive number"));
        need(
            (0.0..1.0).contains(&warmup_ratio),
            format!("warmup_ratio is {warmup_ratio}, expected 0 to less than 1"),
        );
        need(
            warmup == 0 || warmup_ratio == 0.0,
            format!("warmup_ratio is {warmup_ratio} beside warmup = {warmup}: keep one of them"),
        );
        need(
            (0.0..=1.0).contains(&min_ratio),
            format!("min_ratio is {min_ratio}, expected 0 to 1"),
        );
        if let (Self::Wsd { .. }, Some((_, ratio))) = (self, fall) {
            need(
                ratio > 0.0 && ratio <= 1.0,
                format!("decay_ratio is {ratio}, expected more than 0 and at most 1"),
            );
            need(
                ratio + warmup_ratio <= 1.0 || ratio > 1.0 || ratio.is_nan(),
                format!(
                    "decay_ratio is {ratio}, which with warmup_ratio = {warmup_ratio} is more than all \
                     updates"
                ),
            );
        }
        problems
    }

    fn parts(&self) -> Parts {
        match *self {
            Self::Constant { lr, warmup, warmup_ratio } => {
                Parts { lr, warmup, warmup_ratio, min_ratio: 1.0, fall: None }
            }
            Self::Linear { lr, warmup, warmup_ratio, min_ratio } => {
                Parts { lr, warmup, warmup_ratio, min_ratio, fall: Some((Decay::Linear, 1.0)) }
            }
            Self::Cosine { lr, warmup, warmup_ratio, min_ratio } => {
                Parts { lr, warmup, warmup_ratio, min_ratio, fall: Some((Decay::Cosine, 1.0)) }
            }
            Self::Wsd { lr, warmup, warmup_ratio, decay_ratio, decay, min_ratio } => {
                Parts { lr, warmup, warmup_ratio, min_ratio, fall: Some((decay, decay_ratio)) }
            }
        }
    }
}

/// A share of `total` in whole updates, rounded up.
fn share(ratio: f64, total: u64) -> u64 {
    ((total as f64 * ratio + 0.999_999) as u64).min(total)
}
