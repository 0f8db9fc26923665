//! What you run: the recipe, the data, the loop, the run's life, and the command line.
//!
//! Reading order: [`config`], [`data`] and [`tasks`], then the rest.

pub mod config;
pub mod data;
pub mod tasks;

pub mod resume;
pub mod run_dir;
pub mod signals;
