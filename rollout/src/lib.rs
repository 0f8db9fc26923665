//! Token ids in, trajectories out.
//!
//! Reading order: [`trajectory`] (what comes out), [`sampling`] (from logits to a token),
//! [`random`] (random numbers), [`scheduler`] (which sequence runs next), [`generate`].
//!
//! It does not know what text or a reward is.

#![forbid(unsafe_code)]

pub mod trajectory;

pub mod sampling;

pub mod random;

pub mod scheduler;

pub mod generate;

mod error;
mod progress;

pub use error::{Error, Result};
pub use generate::{Generator, Stop};
pub use progress::{OnProgress, Progress, to_the_end};
pub use random::{Key, Purpose};
pub use sampling::Sampling;
pub use trajectory::{Finish, Group, Request, Trajectory};
