//! Stand-ins for settings of other rooms.
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::num::NonZeroUsize;

/// Sampling.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Sampling {
    /// T.
    pub temperature: f64,
    /// top-k
    pub top_k: usize,
    /// top-p
    pub top_p: f64,
    /// min-p
    pub min_p: f64,
    /// max
    pub max_new_tokens: NonZeroUsize,
    /// min
    pub min_new_tokens: usize,
}
impl Default for Sampling {
    fn default() -> Self {
        Self {
            temperature: 1.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            max_new_tokens: NonZeroUsize::new(256).expect("256 is not zero"),
            min_new_tokens: 0,
        }
    }
}
