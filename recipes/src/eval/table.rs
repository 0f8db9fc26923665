//! The figures of evaluations as a Markdown table or as JSON, and the list of what there is.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use evals::run::{Figure, Part, ProblemLine, Summary};
use evals::{Estimate, Paired, pass_sizes};
use rewards::Outcome;
use serde_json::json;

use super::Found;
use super::compare::{Compared, Flip, Flipped};
use crate::printable::excerpt;

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
    head.extend(["greedy", "truncated", "tokens"].map(str::to_owned));
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
            row.push(own.and_then(difference).unwrap_or_else(none));
        }
        rows.push(row);
    }
    leave_out_unused(&mut rows);
    let mut text = aligned(&rows);
    for (found, _, summary) in &all {
        parts(&mut text, summary);
        left_out(&mut text, &summary.set, &found.lines[&summary.set]);
    }
    comparisons(&mut text, shown);
    text
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
        .map(|Flip { id, there, here, .. }| format!("{} {there:.2} → {here:.2}", excerpt(id, 60)))
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
        row.extend(std::iter::repeat_with(none).take(7));
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
    row.push(format!("{:.0}", summary.length));
    row
}

/// The comparison of a set in one cell.
fn difference(figures: &BTreeMap<String, Paired>) -> Option<String> {
    let Paired { mean, interval, p, higher, lower, .. } =
        figures.get(&Figure::Average.to_string())?;
    let within = interval.map_or_else(String::new, |[low, high]| {
        format!(" ({:.1} to {:.1})", 100.0 * low, 100.0 * high)
    });
    let p = if *p < 0.001 { "p < 0.001".to_owned() } else { format!("p {p:.3}") };
    Some(format!("{:+.1}{within}, {p}, {higher} better, {lower} worse", 100.0 * mean))
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
        rows.extend(parts.iter().map(|(part, found)| {
            let Part { problems, accuracy: Estimate { mean, low, high } } = *found;
            let within = format!("{} to {}", percent(low), percent(high));
            vec![part.clone(), problems.to_string(), percent(mean), within]
        }));
        text.push_str(&aligned(&rows));
    }
    if let Some(ids) = contaminated {
        let (number, asked) = (ids.len(), summary.asked);
        let _ = write!(text, "\n{set}: {number} of {asked} problems are in the training data");
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

/// The first few of many.
fn few(ids: &[&str]) -> String {
    let more = if ids.len() > 5 { ", ..." } else { "" };
    let short = |id: &&str| excerpt(id, 60);
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
pub(super) mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::eval::compare;
    use crate::eval::settings::tests::settings;

    fn line(number: u64, correct: usize) -> ProblemLine {
        let outcome = |at| if at < correct { Outcome::Correct } else { Outcome::Wrong };
        ProblemLine {
            number,
            id: format!("p{number}"),
            source: "here".into(),
            level: Some((number % 2 + 1).to_string()),
            problem: "1+1".into(),
            gold: "2".into(),
            n: 2,
            correct,
            distinct_correct: correct.min(1),
            rewards: vec![0.0; 2],
            outcomes: (0..2).map(outcome).collect(),
            lengths: vec![3, 5],
            truncated: vec![false, true],
            classes: Vec::new(),
            votes: vec![None; 2],
            greedy: None,
            texts: Vec::new(),
        }
    }

    pub(in crate::eval) fn found(name: &str, correct: [usize; 4]) -> Found {
        let lines: Vec<_> = (0..).zip(correct).map(|(number, c)| line(number, c)).collect();
        let summary = Summary {
            set: "sums".into(),
            samples: 2,
            asked: 4,
            data_sha256: "a".into(),
            ..Summary::default()
        };
        Found {
            root: PathBuf::from(name),
            settings: settings(),
            summaries: vec![summary.with_figures(&lines)],
            lines: [("sums".to_owned(), lines)].into(),
        }
    }

    #[test]
    fn a_table_has_every_figure_and_the_comparison() {
        let (now, base) = (found("now", [2, 2, 1, 0]), found("base", [0, 1, 1, 0]));
        let mut against = compare(std::slice::from_ref(&now), &base).unwrap();
        against[0].differs.push("seed: 1 there, 2 here".into());
        let text = markdown(&Shown { found: vec![now], against });
        let mut lines = text.lines();
        let head = lines.next().unwrap();
        for column in ["avg@2", "pass@2", "maj@2", "truncated", "tokens", "against"] {
            assert!(head.contains(column), "{head}");
        }
        assert!(!head.contains("greedy"), "no set has it: {head}");
        let row = lines.nth(1).unwrap();
        for cell in
            ["| sums", "| 4 ", "| 62.5 ", "| 75.0 ", "| 50.0 % ", "| 4 ", "2 better, 0 worse"]
        {
            assert!(row.contains(cell), "{row}");
        }
        assert!(row.contains("+37.5 (") && row.contains("p 0.500"), "{row}");
        assert!(text.contains("sums by level:") && !text.contains("by source"), "{text}");
        let end = "sums: better: p0 0.00 → 1.00, p1 0.50 → 1.00\n\
                   settings that differ besides the model: seed: 1 there, 2 here\n";
        assert!(text.ends_with(end), "{text}");
    }

    #[test]
    fn every_run_is_compared() {
        let (one, two) = (found("one", [2, 2, 1, 0]), found("two", [0, 0, 1, 2]));
        let base = found("base", [0, 1, 1, 0]);
        let against = compare(&[one.clone(), two.clone()], &base).unwrap();
        let shown = Shown { found: vec![one, two], against };
        let text = markdown(&shown);
        let row = |name: &str| text.lines().find(|line| line.starts_with(name)).unwrap();
        assert!(row("| one").contains("2 better, 0 worse"), "{text}");
        assert!(row("| two").contains("1 better, 1 worse"), "{text}");
        for line in [
            "one, sums: better: p0 0.00 → 1.00, p1 0.50 → 1.00",
            "two, sums: better: p3 0.00 → 1.00",
            "two, sums: worse: p1 0.50 → 0.00",
        ] {
            assert!(text.lines().any(|one| one == line), "{line}: {text}");
        }
        let json: serde_json::Value = serde_json::from_str(&json(&shown)).unwrap();
        let worse = &json["runs"][1]["against"]["problems"]["sums"]["worse"];
        let expected = json!([{"number": 1, "id": "p1", "there": 0.5, "here": 0.0}]);
        assert_eq!(*worse, expected);
    }

    #[test]
    fn many_flips_are_counted_and_a_hostile_id_is_excerpted() {
        let flip = |number| Flip { number, id: format!("p{number}"), there: 0.25, here: 1.0 };
        let mut flips: Vec<_> = (0..23).map(flip).collect();
        flips[0].id = "a\u{1b}[2J\nb".into();
        let mut text = String::new();
        flipped(&mut text, "sums: better", &flips);
        assert!(text.starts_with("sums: better: a�[2J ⏎ b 0.25 → 1.00, p1 0.25"), "{text}");
        assert!(text.ends_with("p19 0.25 → 1.00, and 3 more\n"), "{text}");
        text.clear();
        flipped(&mut text, "sums: better", &flips[..20]);
        assert!(text.ends_with("p19 0.25 → 1.00\n"), "{text}");
    }

    #[test]
    fn what_is_unfinished_or_left_out_is_said() {
        let mut one = found("now", [1; 4]);
        one.summaries[0].asked = 9;
        let shown = |one: Found| markdown(&Shown { found: vec![one], against: Vec::new() });
        assert!(shown(one.clone()).contains("| 4 of 9 "), "{}", shown(one));
        let none = Summary { set: "sums".into(), asked: 4, ..Summary::default() };
        let empty = Found { summaries: vec![none], ..found("now", [0; 4]) };
        assert!(shown(empty.clone()).contains("| 0 of 4 "), "{}", shown(empty));
        let mut known = found("now", [1; 4]);
        known.summaries[0].contaminated = Some(vec!["p1".into(), "p3".into()]);
        assert!(
            shown(known.clone()).contains("2 of 4 problems are in the training data: p1, p3\n")
        );
    }

    #[test]
    fn a_name_cannot_break_the_table() {
        let text = aligned(&[vec!["a".into(), "b".into()], vec!["x|y\nz".into(), "1".into()]]);
        assert_eq!(text, "| a      | b   |\n|--------|-----|\n| x\\|y z | 1   |\n");
    }
}
