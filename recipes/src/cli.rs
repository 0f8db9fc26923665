//! The command line: one file a command.

mod bench;
mod doctor;
mod grade;
mod recipes;
mod sample;
mod schema;
mod train;

use std::io::{self, Write as _};
use std::num::NonZeroUsize;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::causes::with_causes;

/// Trains language models by reinforcement learning, grades them, and shows what happened.
#[derive(Debug, Parser)]
#[command(name = "stearin", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Train(train::Args),
    Sample(sample::Args),
    Grade(grade::Args),
    Bench(bench::Args),
    Recipes(recipes::Args),
    Schema(schema::Args),
    Doctor(doctor::Args),
}

/// Exit code of everything that could not be done as asked.
const BAD_INPUT: u8 = 2;

/// Runs the program's arguments; an error goes to stderr with its causes.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli.command) {
        Ok(code) => code,
        // Who reads our output has gone, as `head` does: there is nobody to tell.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: {}", with_causes(&error));
            ExitCode::from(BAD_INPUT)
        }
    }
}

fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Train(args) => return train::run(&args),
        Command::Sample(args) => sample::run(&args)?,
        Command::Grade(args) => grade::run(&args)?,
        Command::Bench(args) => bench::run(&args)?,
        Command::Recipes(args) => recipes::run(&args)?,
        Command::Schema(args) => schema::run(&args)?,
        Command::Doctor(args) => doctor::run(&args)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// A number of things on the command line.
fn count(text: &str) -> Result<NonZeroUsize, &'static str> {
    text.parse().map_err(|_| "expected a whole number, 1 or more")
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let source = error.root_cause().downcast_ref::<io::Error>();
    source.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// Writes data to stdout.
fn print(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}
