//! Files of a run, each with its struct, its writer's half and its reader's half.

pub mod evaluation;
mod figures;

pub use evaluation::{GreedyResult, ProblemLine, Summary};
pub use figures::Figure;
