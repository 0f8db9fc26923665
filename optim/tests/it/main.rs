//! Tests of the whole crate, through its public interface.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod adamw;
mod config;
mod conformance;
mod first_order;
mod gradients;
mod objectives;
mod schedule;
mod zeroth;
