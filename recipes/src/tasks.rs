//! Problems made on the spot: each task is a function of its settings and the seed.

mod arithmetic;
mod countdown;

pub use arithmetic::{Arithmetic, Operation, arithmetic};
pub use countdown::{Countdown, countdown};
