use std::io::{self, BufReader, BufWriter, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use rewards::verifier::Math;
use rewards::{Extracted, Marker, Strictness, Verifier as _, extract};

use super::{one_of, print};
use crate::grade::{self, Row, TakenAs, Totals};
use crate::identity;

/// Grades predictions: one line of JSON a row, or a table on a terminal.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Rows {id?, gold, prediction, as: response|answer}, one JSON object a line; `-` is the
    /// standard input.
    #[arg(value_name = "FILE.jsonl", required_unless_present = "explain")]
    file: Option<PathBuf>,
    /// Say of one pair what is extracted, how both sides are read, and why it is refused.
    #[arg(
        long,
        num_args = 2,
        value_names = ["GOLD", "PREDICTION"],
        allow_hyphen_values = true,
        conflicts_with = "file"
    )]
    explain: Vec<String>,
    /// What PREDICTION is: a whole response, in which the answer is found first, or a bare answer.
    /// Left out: a response where an answer is found in it.
    #[arg(long = "as", value_enum, requires = "explain")]
    taken_as: Option<TakenAs>,
    #[command(flatten)]
    how: How,
}

/// How answers are found and compared.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(super) struct How {
    /// How strictly: as rewards are given, or as scores are.
    #[arg(
        long,
        alias = "mode",
        default_value = "rl",
        value_parser = one_of(Strictness::ALL, Strictness::name)
    )]
    strictness: Strictness,
    /// How the prompt asked for the answer to be marked.
    #[arg(long, default_value = "boxed", value_parser = one_of(Marker::ALL, Marker::name))]
    marker: Marker,
}

impl How {
    pub(super) fn math(self) -> Math {
        Math { strictness: self.strictness, marker: self.marker }
    }
}

pub(super) fn run(args: &Args) -> Result<()> {
    let math = args.how.math();
    match (args.explain.as_slice(), &args.file) {
        ([gold, prediction], _) => explain(math, args.taken_as, gold, prediction),
        (_, Some(file)) => grade_file(math, file),
        _ => unreachable!("one of both is required"),
    }
}

/// All rows of a file.
pub(super) fn rows(file: &Path) -> Result<Vec<Row>> {
    if file == Path::new("-") {
        return grade::read_rows(io::stdin().lock()).context("reading the standard input");
    }
    let opened = identity::open(file, "a file of JSON lines")?;
    grade::read_rows(BufReader::new(opened)).with_context(|| format!("reading {}", file.display()))
}

fn grade_file(math: Math, file: &Path) -> Result<()> {
    // All of them first: bad input leaves no half of an output.
    let rows = rows(file)?;
    let table = io::stdout().is_terminal();
    let mut out = BufWriter::new(io::stdout().lock());
    let mut totals = Totals::default();
    if table {
        out.write_all(grade::heading().as_bytes())?;
    }
    for row in &rows {
        let graded = grade::grade(math, row);
        totals.add(graded.verdict);
        if table {
            out.write_all(grade::table_line(row, &graded).as_bytes())?;
        } else {
            out.write_all((serde_json::to_string(&graded)? + "\n").as_bytes())?;
        }
    }
    out.flush()?;
    // Whoever closed stderr does not want to hear it.
    let mut err = io::stderr();
    let _ = grade::repeated_ids(&rows).map(|note| writeln!(err, "{note}"));
    let _ = writeln!(err, "{}: {totals}", math.criterion());
    Ok(())
}

fn explain(math: Math, taken_as: Option<TakenAs>, gold: &str, prediction: &str) -> Result<()> {
    let found = || extract(prediction, math.strictness, math.marker);
    let (taken_as, words) = match taken_as {
        Some(TakenAs::Response) => (TakenAs::Response, "a response"),
        Some(TakenAs::Answer) => (TakenAs::Answer, "a bare answer"),
        None if found() == Extracted::NoAnswer => (
            TakenAs::Answer,
            "a bare answer, since no answer is marked in it; `--as response` takes it as a response",
        ),
        None => (TakenAs::Response, "a response; `--as answer` takes it as a bare answer"),
    };
    let explanation = grade::explain(math, taken_as, gold, prediction);
    print(&format!("{:<9} {words}\n{explanation}", "taken as"))
}
