//! What you run: the recipe, the data, the loop, the run's life, and the command line.
//!
//! Reading order: [`config`], [`data`], [`fit`](mod@fit) and [`tasks`], [`builtin`], [`policy`],
//! [`shipped`], then [`run_dir`], [`identity`], [`resume`] and [`signals`], [`train`](mod@train),
//! [`verifiers`] and [`summary`](mod@summary), [`machine`], [`dry_run`], [`mod@bench`],
//! [`mod@grade`], [`doctor`], and [`cli`], which calls the rest.

pub mod builtin;
mod causes;
pub mod config;
pub mod data;
pub mod fit;
pub mod policy;
pub mod shipped;
pub mod tasks;

pub mod identity;
pub mod resume;
pub mod run_dir;
pub mod signals;
pub mod summary;
pub mod train;
pub mod verifiers;

pub mod bench;
pub mod cli;
pub mod doctor;
pub mod dry_run;
pub mod grade;
pub mod machine;
