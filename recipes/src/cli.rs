//! The command line: one file a command.

mod bench;
mod curves;
#[cfg(feature = "dash")]
mod dash;
mod doctor;
mod eval;
mod export;
mod grade;
mod output;
mod recipes;
mod replay;
#[cfg(feature = "dash")]
mod report;
mod sample;
mod schema;
mod train;

use std::io::{self, Write as _};
use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Parser, Subcommand};

use crate::causes::{Failed, with_causes};
use crate::printable::printable;

/// Trains language models by reinforcement learning, grades them, and shows what happened.
#[derive(Debug, Parser)]
#[command(name = "stearin", version, max_term_width = 100, after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Train(train::Args),
    Eval(eval::Args),
    Curves(curves::Args),
    #[cfg(feature = "dash")]
    Dash(dash::Args),
    #[cfg(feature = "dash")]
    Report(report::Args),
    Sample(sample::Args),
    Export(export::Args),
    Replay(replay::Args),
    Grade(grade::Args),
    Bench(bench::Args),
    Recipes(recipes::Args),
    Schema(schema::Args),
    Doctor(doctor::Args),
}

/// Exit code of what went wrong although it could be begun: a step, a verifier, a full disk.
const FAILURE: u8 = 1;
/// Exit code of what cannot be begun as asked: wrong arguments, a recipe, a data file, no model.
const BAD_INPUT: u8 = 2;

const EXIT_CODES: &str = "\
Exit codes:
    0  done
    1  failed on the way; the message says how to go on
    2  bad input: arguments, recipe, data files, model, a run that cannot be resumed as asked,
       such as one with a damaged checkpoint
  130  stopped by Ctrl-C or SIGTERM; a run is saved, and the same command with --resume goes on
       (`eval`: the same command)";

/// Runs the program's arguments; an error goes to stderr with its causes.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli.command) {
        Ok(code) => code,
        // Who reads our output has gone, as `head` does: there is nobody to tell.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: {}", printable(&with_causes(&error)));
            let of_run = error.downcast_ref::<crate::train::Failed>();
            let failed = error.is::<Failed>() || of_run.is_some_and(|run| !run.is_of_saved());
            ExitCode::from(if failed { FAILURE } else { BAD_INPUT })
        }
    }
}

fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Train(args) => return train::run(&args),
        Command::Eval(args) => return eval::run(&args),
        Command::Curves(args) => return curves::run(&args),
        #[cfg(feature = "dash")]
        Command::Dash(args) => dash::run(&args)?,
        #[cfg(feature = "dash")]
        Command::Report(args) => report::run(&args)?,
        Command::Sample(args) => sample::run(&args)?,
        Command::Export(args) => export::run(&args)?,
        Command::Replay(args) => replay::run(&args)?,
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

/// A number of things that take memory, within what any machine has.
fn amount(text: &str) -> Result<NonZeroUsize, &'static str> {
    const MOST: usize = 1 << 24;
    let number = text.parse().ok().filter(|number: &NonZeroUsize| number.get() <= MOST);
    number.ok_or("expected a whole number, 1 or more and at most 16777216")
}

/// One of `all` on the command line, by its name.
fn one_of<T, const N: usize>(
    all: [T; N],
    name: fn(T) -> &'static str,
) -> impl TypedValueParser<Value = T>
where
    T: Copy + Send + Sync + 'static,
{
    PossibleValuesParser::new(all.map(name)).map(move |text| {
        let found = all.into_iter().find(|one| name(*one) == text);
        found.expect("clap lets nothing else through")
    })
}

/// A model and its adapter, as they are named.
fn named(model: &str, adapter: Option<&str>) -> String {
    adapter.map_or_else(|| model.to_owned(), |adapter| format!("{model} with {adapter}"))
}

/// A time on the command line: whole numbers, each with `s`, `m`, `h` or `d`.
fn time(text: &str) -> Result<Duration, &'static str> {
    const EXPECTED: &str = "expected whole numbers with `s`, `m`, `h` or `d`, such as 90s or 3h30m";
    let seconds = |part: &str| -> Option<u64> {
        let (unit, scale) = [('s', 1), ('m', 60), ('h', 3600), ('d', 86400)]
            .into_iter()
            .find(|one| part.ends_with(one.0))?;
        let number = part.strip_suffix(unit)?;
        let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| number.parse::<u64>().ok()?.checked_mul(scale))?
    };
    let parts = text.split_inclusive(|c: char| !c.is_ascii_digit());
    let total = parts.map(seconds).try_fold(0_u64, |sum, part| sum.checked_add(part?));
    match total {
        Some(seconds) if seconds > 0 => Ok(Duration::from_secs(seconds)),
        _ => Err(EXPECTED),
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let source = error.root_cause().downcast_ref::<io::Error>();
    source.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// Writes text to stdout, as [`printable`] makes it.
fn print(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(printable(text).as_bytes())?;
    Ok(out.flush()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_with_their_units_or_refused() {
        let seconds = |text| time(text).map(|time| time.as_secs());
        for (text, expected) in
            [("90s", 90), ("30m", 1800), ("3h30m", 12_600), ("1d", 86_400), ("2h1s", 7201)]
        {
            assert_eq!(seconds(text), Ok(expected), "{text}");
        }
        for text in
            ["", "90", "s", "0s", "-1s", "+1s", "1.5h", "3h30", "1w", "h3", "99999999999999999999d"]
        {
            assert!(time(text).is_err(), "{text}");
        }
    }
}
