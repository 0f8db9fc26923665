//! One binary for all integration tests of the crate.

mod cli;
mod config;
mod resume;
mod runs;
mod tidy;
mod train;
