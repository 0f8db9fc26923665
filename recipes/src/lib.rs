//! What you run: the recipe, the data, the loop, the run, and the command line.
//!
//! The modules, in layers. Each uses modules of the layers below its own, none of its own layer and
//! none above:
//!
//! ```text
//! cli                              the commands
//! bench  curves  doctor  dry_run  eval  export  grade  replay  reroll  spell
//!                                  what they do, apart from training
//! train                            the steps, and the run around them
//! length_limits  policy  resume  summary
//!                                  what a run begins with, goes on with and ends with
//! builtin  data  run_dir  shipped  zeroth
//! config                           the recipe
//! tasks  verifiers                 components with settings of their own
//! causes  console  identity  machine  memory  random  search_path  signals
//! names  printable                 misspelt names; text that a terminal does not obey
//! ```
//!
//! `tests/it/tidy/layers.rs` holds the code to this picture.

mod causes;
pub mod console;
pub mod identity;
pub mod machine;
pub mod memory;
mod names;
pub mod printable;
mod random;
pub mod search_path;
pub mod signals;

pub mod tasks;
pub mod verifiers;

pub mod config;

pub mod builtin;
pub mod data;
pub mod run_dir;
pub mod shipped;
pub mod zeroth;

pub mod length_limits;
pub mod policy;
pub mod resume;
pub mod summary;

pub mod train;

pub mod bench;
pub mod curves;
pub mod doctor;
pub mod dry_run;
pub mod eval;
pub mod export;
pub mod grade;
pub mod replay;
#[cfg(feature = "dash")]
pub mod reroll;
pub mod spell;

pub mod cli;
