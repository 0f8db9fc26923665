//! What you run: the recipe, the data, the loop, the run's life, and the command line.
//!
//! The modules, in layers. Each uses modules of the layers below its own, none beside it and none
//! above:
//!
//! ```text
//! cli                              the commands
//! bench  doctor  dry_run  grade    what they do, besides training
//! train                            the steps, and the run around them
//! fit  policy  resume  summary     what a run begins with, goes on with and ends with
//! builtin  data  run_dir  shipped
//! config                           the recipe
//! tasks  verifiers                 components with settings of their own
//! causes  console  identity  machine  memory  names  places  random  signals
//! printable                        text that a terminal does not obey
//! ```
//!
//! `tests/it/tidy/layers.rs` holds the code to this picture.

mod causes;
pub mod console;
pub mod identity;
pub mod machine;
pub mod memory;
mod names;
pub mod places;
pub mod printable;
mod random;
pub mod signals;

pub mod tasks;
pub mod verifiers;

pub mod config;

pub mod builtin;
pub mod data;
pub mod run_dir;
pub mod shipped;

pub mod fit;
pub mod policy;
pub mod resume;
pub mod summary;

pub mod train;

pub mod bench;
pub mod doctor;
pub mod dry_run;
pub mod grade;

pub mod cli;
