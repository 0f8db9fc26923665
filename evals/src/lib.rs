//! What people look at: the metric table, the run record, prompts around problems.
//!
//! Reading order: [`metrics`], [`record`], [`prompt`], [`interval`].
//!
//! It reads and writes the run directory's record; it knows no trainer.

mod error;
pub mod interval;
pub mod metrics;
pub mod prompt;
pub mod record;

pub use error::{Error, Result};
pub use metrics::{Log, Metrics};
pub use prompt::{PromptStyle, Template};
pub use record::{Record, RecordConfig};
