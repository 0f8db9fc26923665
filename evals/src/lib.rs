//! Graded attempts, held-out evaluation, the metric table and the run record.
//!
//! Reading order: [`prompt`], [`attempt`](mod@attempt), [`evaluate`](mod@evaluate), [`pass`],
//! [`majority`], [`interval`], [`student`] and [`compare`]; [`benchmark`]; then [`metrics`],
//! [`run`], [`export`], [`parquet`], [`reflection`], [`sources`], [`health`] and
//! [`hex`](mod@hex).
//!
//! It does not know the trainer: it writes and reads the record in the run directory.

#![forbid(unsafe_code)]

pub mod attempt;
pub mod benchmark;
pub mod compare;
mod error;
pub mod evaluate;
pub mod export;
pub mod health;
pub mod hex;
pub mod interval;
pub mod majority;
pub mod metrics;
pub mod parquet;
pub mod pass;
pub mod prompt;
pub mod reflection;
pub mod run;
pub mod sources;
pub mod student;

pub use benchmark::Benchmark;
pub use compare::Paired;
pub use error::{Error, Result};
pub use health::Warning;
pub use interval::Estimate;
pub use metrics::{Log, Metrics};
pub use pass::{pass_at, pass_rates, pass_sizes};
pub use prompt::{Bos, PromptStyle, Target, Template};
pub use run::{Record, RecordConfig};
