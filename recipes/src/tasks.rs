//! Problems made on the spot: each task is a function of its settings and the seed.

mod arithmetic;
mod countdown;

pub use arithmetic::arithmetic;
pub use countdown::countdown;
