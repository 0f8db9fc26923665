//! Problems made on the spot: each task is a function of its settings and the seed.

mod arithmetic;

pub use arithmetic::arithmetic;
