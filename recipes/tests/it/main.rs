//! One binary for all integration tests of the crate.

mod advice;
mod algorithms;
mod binary;
mod changed;
mod cli;
mod columns;
mod config;
mod data;
mod dry_run;
mod entropy;
mod evaluation;
mod forms;
mod goes_on;
mod hub;
mod identity;
mod killed;
mod length_limits;
mod reference;
mod resume;
mod runs;
mod shapes;
mod sources;
mod threads;
mod tidy;
mod train;
mod verifiers;
