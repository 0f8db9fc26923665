//! What a completion is worth, from its text to one weight for each of its tokens.
//!
//! Reading order: [`rows`] reads data, [`problem`] is a row of it; [`verifier`] and [`rubric`] say
//! what an attempt earns; under the answer verifier are [`mod@extract`], [`mod@equivalent`] and the
//! [`strictness`] that both obey. [`group`] and [`advantage`] compare siblings; [`weighting`] goes
//! down to tokens, and [`importance`] says how much those count that another policy sampled.
//! [`reward_kl`] takes a KL divergence from the reward; [`mod@dynamics`] and [`entropy_bonus`] are
//! about what a step does to the entropy.
//!
//! It does not know what a tensor, a model or a tokenizer is; it opens no file and reads no clock.

#![forbid(unsafe_code)]

mod absence;
pub mod advantage;
mod denial;
pub mod dynamics;
pub mod entropy_bonus;
pub mod equivalent;
mod error;
mod exact;
pub mod extract;
pub mod group;
pub mod importance;
pub mod json;
mod moving;
pub mod problem;
pub mod reward_kl;
pub mod rows;
pub mod rubric;
pub mod strictness;
pub mod verifier;
pub mod weighting;

pub use advantage::{AdvantageConfig, GroupRewards};
pub use dynamics::{LossTerms, dynamics};
pub use entropy_bonus::{EntropyBonus, EntropyControl};
pub use equivalent::{Equivalence, equivalent};
pub use error::{Error, Result};
pub use extract::{Extracted, extract};
pub use importance::Importance;
pub use problem::{Problem, Role, Turn};
pub use reward_kl::{KlControl, RewardKl};
pub use rubric::{Judged, Rubric, RubricConfig, VerifierConfig};
pub use strictness::{Marker, Strictness};
pub use verifier::{Attempt, Outcome, Unavailable, Verdict, Verifier};
pub use weighting::{Scope, TokenColumns, TokenWeighting, TokenWeights, WeightingConfig};
