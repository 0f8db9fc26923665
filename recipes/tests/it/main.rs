//! One binary for all integration tests of the crate.

mod algorithms;
mod binary;
mod cli;
mod config;
mod data;
mod entropy;
mod fit;
mod identity;
mod killed;
mod resume;
mod runs;
mod tidy;
mod train;
mod verifiers;
