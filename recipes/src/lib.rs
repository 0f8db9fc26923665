//! What you run: the recipe, the data, the loop, the run's life, and the command line.
//!
//! Reading order: [`config`], [`data`] and [`tasks`], [`shipped`], then [`run_dir`], [`resume`] and
//! [`signals`], [`machine`], and [`cli`], which calls the rest.

pub mod config;
pub mod data;
pub mod shipped;
pub mod tasks;

pub mod resume;
pub mod run_dir;
pub mod signals;

pub mod cli;
pub mod machine;
