use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The learning rate as a function of the update and of how many there will be.
///
/// During warm-up the rate of update `u` (from 0) is `lr (u + 1) / warmup`: never 0, and `lr` at
/// its last update. After it the rate is `lr f(p)`, where `p = (u - warmup) / (total - warmup)` is
/// the share of the rest that is done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Schedule {
    /// `f(p) = 1`.
    Constant {
        /// The learning rate.
        lr: f64,
        /// Updates of warm-up; 0 = none.
        #[serde(default)]
        warmup: u64,
    },
    /// `f(p) = 1 - (1 - min_ratio) p`.
    Linear {
        /// The learning rate after warm-up.
        lr: f64,
        /// Updates of warm-up; 0 = none.
        #[serde(default)]
        warmup: u64,
        /// What the rate goes to, as a share of `lr`.
        #[serde(default)]
        min_ratio: f64,
    },
    /// `f(p) = min_ratio + (1 - min_ratio) (1 + cos(pi p)) / 2`. Source: arXiv 1608.03983, equation
    /// 5, without restarts.
    Cosine {
        /// The learning rate after warm-up.
        lr: f64,
        /// Updates of warm-up; 0 = none.
        #[serde(default)]
        warmup: u64,
        /// What the rate goes to, as a share of `lr`.
        #[serde(default)]
        min_ratio: f64,
    },
}

impl Schedule {
    /// The learning rate of update `update` (from 0) out of `total`; past the end, what the
    /// schedule ends at.
    pub fn lr(&self, update: u64, total: u64) -> f64 {
        let (lr, warmup, min_ratio) = self.parts();
        if update < warmup {
            return lr * ((update + 1) as f64 / warmup as f64);
        }
        let rest = total.saturating_sub(warmup);
        let done = (update - warmup).min(rest);
        let progress = if rest == 0 { 1.0 } else { done as f64 / rest as f64 };
        let decayed = match self {
            Self::Constant { .. } => 1.0,
            Self::Linear { .. } => 1.0 - progress,
            Self::Cosine { .. } => f64::midpoint(1.0, (std::f64::consts::PI * progress).cos()),
        };
        lr * (min_ratio + (1.0 - min_ratio) * decayed)
    }

    /// Updates of warm-up.
    pub fn warmup(&self) -> u64 {
        self.parts().1
    }

    /// Everything wrong with the settings, one sentence per key.
    pub fn problems(&self) -> Vec<String> {
        let (lr, _, min_ratio) = self.parts();
        let mut problems = Vec::new();
        if !(lr.is_finite() && lr > 0.0) {
            problems.push(format!("lr is {lr}, expected a positive number"));
        }
        if !(0.0..=1.0).contains(&min_ratio) {
            problems.push(format!("min_ratio is {min_ratio}, expected 0 to 1"));
        }
        problems
    }

    fn parts(&self) -> (f64, u64, f64) {
        match *self {
            Self::Constant { lr, warmup } => (lr, warmup, 1.0),
            Self::Linear { lr, warmup, min_ratio } | Self::Cosine { lr, warmup, min_ratio } => {
                (lr, warmup, min_ratio)
            }
        }
    }
}
