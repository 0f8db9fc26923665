//! The record as a run and its readers see it.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod attempt;
mod coverage;
mod estimates;
mod export;
mod foreign;
mod fork;
mod prompt;
mod record;
mod run;
mod toy;
