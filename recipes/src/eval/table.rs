//! The figures of evaluations as a Markdown table or as JSON, and the list of what there is.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use evals::run::{Figure, Part, ProblemLine, Summary};
use evals::{Estimate, Paired, pass_sizes};
use rewards::{Outcome, Problem};
use serde_json::json;

use super::Found;
use super::compare::{Compared, Flip, Flipped};
use crate::data::{question, repeats};
use crate::printable::{counted, excerpt};

/// Characters of a name that are shown.
const LONGEST_NAME: usize = 60;

/// The evaluations that are shown, and how they compare with another.
#[derive(Debug, Clone)]
pub struct Shown {
    /// The evaluations.
    pub found: Vec<Found>,
    /// The comparison of each; nothing where there is none.
    pub against: Vec<Compared>,
}

impl Shown {
    /// The evaluations, each with its comparison.
    fn each(&self) -> impl Iterator<Item = (&Found, Option<&Compared>)> {
        self.found.iter().enumerate().map(|(at, found)| (found, self.against.get(at)))
    }
}

/// The evaluations as JSON.
pub fn json(shown: &Shown) -> String {
    let runs = shown.each().map(|(found, against)| {
        json!({
            "dir": found.root.display().to_string(),
            "model": found.settings.model,
            "adapter": found.settings.adapter,
            "sets": found.summaries,
            "against": against,
        })
    });
    let runs: Vec<_> = runs.collect();
    format!("{:#}\n", json!({"runs": runs}))
}

/// The evaluations as a Markdown table, with what is to be known about it in lines below.
pub fn markdown(shown: &Shown) -> String {
    let all: Vec<_> = shown
        .each()
        .flat_map(|(found, against)| found.summaries.iter().map(move |s| (found, against, s)))
        .collect();
    let mut samples: Vec<_> = all.iter().map(|(_, _, summary)| summary.samples).collect();
    samples.dedup();
    let k = if let [one] = samples.as_slice() { one.to_string() } else { "n".to_owned() };
    // The largest k of pass@k is a power of two, and n need not be one.
    let largest = if let [n] = samples.as_slice() { pass_sizes(*n).last() } else { None };
    let named = largest.map_or_else(|| "k".to_owned(), |largest| largest.to_string());
    let mut head = Vec::new();
    if shown.found.len() > 1 {
        head.push("run".to_owned());
    }
    head.extend(["set".to_owned(), "problems".to_owned()]);
    if k == "n" {
        head.push("n".to_owned());
    }
    head.extend([
        format!("avg@{k}"),
        "95 %".into(),
        format!("pass@{named}"),
        format!("maj@{named}"),
    ]);
    head.extend(["greedy", "truncated", "no answer", "tokens"].map(str::to_owned));
    if !shown.against.is_empty() {
        head.push("against".to_owned());
    }
    let mut rows = vec![head];
    for (found, against, summary) in &all {
        let mut row = Vec::new();
        if shown.found.len() > 1 {
            row.push(found.root.display().to_string());
        }
        row.extend(cells(summary, k == "n", largest));
        if let Some(against) = against {
            let own = against.sets.get(&summary.set);
            let judged = summary.problems;
            row.push(own.and_then(|own| difference(own, judged)).unwrap_or_else(none));
        }
        rows.push(row);
    }
    leave_out_unused(&mut rows);
    let mut text = aligned(&rows);
    models(&mut text, shown);
    for (found, _, summary) in &all {
        parts(&mut text, summary);
        let lines = &found.lines[&summary.set];
        left_out(&mut text, &summary.set, lines);
        repeated(&mut text, &summary.set, lines);
    }
    comparisons(&mut text, shown);
    text
}

/// A line on whose figures these are, one for each evaluation where there are several.
fn models(text: &mut String, shown: &Shown) {
    text.push('\n');
    for Found { root, settings, .. } in &shown.found {
        let of =
            if shown.found.len() > 1 { format!(" of {}", root.display()) } else { String::new() };
        let _ = writeln!(text, "model{of}: {}", excerpt(&settings.shown(), 200));
    }
}

/// Lines on the problems and the settings that differ from those of the other evaluation.
fn comparisons(text: &mut String, shown: &Shown) {
    if let [Compared { root, .. }, ..] = shown.against.as_slice() {
        let _ = writeln!(text, "\nagainst: {root}, paired by problem");
    }
    for (found, against) in shown.each() {
        let Some(against) = against else { continue };
        let (several, root) = (shown.found.len() > 1, found.root.display());
        let run = if several { format!("{root}, ") } else { String::new() };
        for (set, Flipped { better, worse }) in &against.problems {
            flipped(text, &format!("{run}{set}: better"), better);
            flipped(text, &format!("{run}{set}: worse"), worse);
        }
        if !against.differs.is_empty() {
            let differs = against.differs.join("; ");
            let _ = writeln!(text, "{run}settings that differ besides the model: {differs}");
        }
    }
}

/// Most problems that a line on what flipped names.
const FLIPS: usize = 20;

/// A line on problems whose share differs, with both shares.
fn flipped(text: &mut String, what: &str, flips: &[Flip]) {
    if flips.is_empty() {
        return;
    }
    let shown = flips.iter().take(FLIPS);
    let shown: Vec<_> = shown
        .map(|Flip { id, there, here, .. }| {
            format!("{} {there:.2} → {here:.2}", excerpt(id, LONGEST_NAME))
        })
        .collect();
    let _ = write!(text, "{what}: {}", shown.join(", "));
    let _ = match flips.len().saturating_sub(FLIPS) {
        0 => writeln!(text),
        more => writeln!(text, ", and {more} more"),
    };
}

/// Leaves those figures out that not every evaluation has, where no row has a value of them.
fn leave_out_unused(rows: &mut [Vec<String>]) {
    let is_optional =
        |name: &str| ["pass@", "maj@", "greedy"].iter().any(|it| name.starts_with(it));
    let unused: Vec<_> = (0..rows[0].len())
        .filter(|&at| is_optional(&rows[0][at]) && rows[1..].iter().all(|row| row[at] == none()))
        .collect();
    for row in rows {
        let mut at = 0..;
        row.retain(|_| at.next().is_none_or(|at| !unused.contains(&at)));
    }
}

fn none() -> String {
    "-".to_owned()
}

fn percent(share: f64) -> String {
    format!("{:.1}", 100.0 * share)
}

/// The cells of a set; `named` is the k that the headings of pass@k and maj@k name.
fn cells(summary: &Summary, with_samples: bool, named: Option<usize>) -> Vec<String> {
    let Summary { asked, problems, unjudged, samples, .. } = summary;
    let mut row = vec![summary.set.clone()];
    row.push(match (problems + unjudged, *unjudged) {
        (judged, 0) if judged == *asked => asked.to_string(),
        (judged, 0) => format!("{judged} of {asked}"),
        (_, unjudged) => format!("{problems} of {asked} ({unjudged} left out)"),
    });
    if with_samples {
        row.push(samples.to_string());
    }
    if *problems == 0 {
        row.extend(std::iter::repeat_with(none).take(8));
        return row;
    }
    let largest = |figures: &BTreeMap<usize, Estimate>| {
        let (k, found) = figures.last_key_value().filter(|(k, _)| **k > 1)?;
        let mean = percent(found.mean);
        Some(if Some(*k) == named { mean } else { format!("{mean} (@{k})") })
    };
    row.push(percent(summary.accuracy));
    row.push(format!("{} to {}", percent(summary.low), percent(summary.high)));
    row.push(largest(&summary.pass).unwrap_or_else(none));
    row.push(largest(&summary.maj).unwrap_or_else(none));
    row.push(summary.greedy.map_or_else(none, |greedy| percent(greedy.mean)));
    row.push(format!("{} %", percent(summary.truncated)));
    row.push(format!("{} %", percent(summary.no_answer())));
    row.push(format!("{:.0}", summary.length));
    row
}

/// The comparison of a set in one cell, where its row is of so many problems.
fn difference(figures: &BTreeMap<String, Paired>, judged: usize) -> Option<String> {
    let Paired { problems, mean, interval, p, higher, lower, .. } =
        figures.get(&Figure::Average.to_string())?;
    let on = if *problems == judged {
        String::new()
    } else {
        format!(" on {}", counted(problems, "problem"))
    };
    let within = interval.map_or_else(String::new, |[low, high]| {
        format!(" ({:.1} to {:.1})", 100.0 * low, 100.0 * high)
    });
    let p = if *p < 0.001 { "p < 0.001".to_owned() } else { format!("p {p:.3}") };
    Some(format!("{:+.1}{within}, {p}, {higher} better, {lower} worse{on}", 100.0 * mean))
}

/// Lines on the parts of a set, and on what is wrong with it.
fn parts(text: &mut String, summary: &Summary) {
    let Summary { set, by_source, by_level, contaminated, .. } = summary;
    for (what, parts) in [("source", by_source), ("level", by_level)] {
        if parts.is_empty() {
            continue;
        }
        let _ = writeln!(text, "\n{set} by {what}:");
        let mut rows = vec![[what, "problems", "avg", "95 %"].map(str::to_owned).to_vec()];
        // Names that are numbers in the order of the numbers.
        let number = |part: &str| part.parse::<f64>().unwrap_or(f64::INFINITY);
        let mut parts: Vec<_> = parts.iter().collect();
        parts.sort_by(|(one, _), (other, _)| number(one).total_cmp(&number(other)));
        rows.extend(parts.into_iter().map(|(part, found)| {
            let Part { problems, accuracy: Estimate { mean, low, high } } = *found;
            let within = format!("{} to {}", percent(low), percent(high));
            vec![excerpt(part, LONGEST_NAME), problems.to_string(), percent(mean), within]
        }));
        text.push_str(&aligned(&rows));
    }
    if let Some(ids) = contaminated {
        let (number, asked) = (ids.len(), counted(summary.asked, "problem"));
        let are = if number == 1 { "is" } else { "are" };
        let _ = write!(text, "\n{set}: {number} of {asked} {are} in the training data");
        let ids: Vec<_> = ids.iter().map(String::as_str).collect();
        let _ = if ids.is_empty() { writeln!(text) } else { writeln!(text, ": {}", few(&ids)) };
    }
}

/// A line on the problems that are in no figure, and why.
fn left_out(text: &mut String, set: &str, lines: &[ProblemLine]) {
    let out: Vec<_> = lines.iter().filter(|line| line.unjudged()).collect();
    let (gold, failed): (Vec<_>, Vec<_>) =
        out.into_iter().partition(|line| line.outcomes.contains(&Outcome::GoldUnparseable));
    for (lines, why) in [(gold, "the answer cannot be read"), (failed, "a verifier failed")] {
        let ids: Vec<_> = lines.iter().map(|line| line.id.as_str()).collect();
        if !ids.is_empty() {
            let _ = writeln!(text, "\n{set}: {} left out, {why}: {}", ids.len(), few(&ids));
        }
    }
}

/// A line on problems that are there more than once. The turns before a question are not in the
/// lines, so the answers have to be the same, too.
fn repeated(text: &mut String, set: &str, lines: &[ProblemLine]) {
    let asked = |line: &ProblemLine| {
        let problem = Problem { problem: line.problem.clone(), ..Problem::default() };
        format!("{}\n{}", question(&problem), line.gold)
    };
    if let Some(said) = repeats(set, lines.iter().map(asked)) {
        let _ = writeln!(text, "\n{said}");
    }
}

/// The first few of many.
fn few(ids: &[&str]) -> String {
    let more = if ids.len() > 5 { ", ..." } else { "" };
    let short = |id: &&str| excerpt(id, LONGEST_NAME);
    ids.iter().take(5).map(short).collect::<Vec<_>>().join(", ") + more
}

/// Rows as a Markdown table whose columns are aligned; the first row is its head.
pub(super) fn aligned(rows: &[Vec<String>]) -> String {
    let clean = |cell: &String| cell.replace('|', "\\|").replace(['\n', '\r'], " ");
    let rows: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(clean).collect()).collect();
    let widths: Vec<usize> = (0..rows[0].len())
        .map(|at| rows.iter().map(|row| row[at].chars().count()).max().unwrap_or(0).max(3))
        .collect();
    let mut text = String::new();
    for (at, row) in rows.iter().enumerate() {
        for (cell, &width) in row.iter().zip(&widths) {
            let _ = write!(text, "| {cell:<width$} ");
        }
        text.push_str("|\n");
        if at == 0 {
            for width in &widths {
                let _ = write!(text, "|{}", "-".repeat(width + 2));
            }
            text.push_str("|\n");
        }
    }
    text
}

#[cfg(test)]
pub(super) mod tests;
