//! The crate from outside.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod generate;
mod prefix;
mod real;
mod scheduler;
