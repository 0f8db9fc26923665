//! Conformance rows from elsewhere, which lie beside the project and not in it: the folder that
//! `STEARIN_DATA` names. Accuracy has a floor, and no false answer is accepted.
#![expect(clippy::print_stdout, reason = "what was skipped, and the figures")]

use std::{
    collections::BTreeMap,
    path::PathBuf,
    time::{Duration, Instant},
};

use rewards::{Equivalence, Extracted, Marker, Strictness, equivalent, extract};
use serde::Deserialize;

#[derive(Deserialize)]
struct Row {
    id: String,
    gold: Option<String>,
    gold_rle: Option<Vec<(String, usize)>>,
    prediction: Option<String>,
    prediction_rle: Option<Vec<(String, usize)>>,
    expected: bool,
    mode: String,
    #[serde(default)]
    core: Option<bool>,
    #[serde(default)]
    tier: Option<String>,
    #[serde(default, rename = "policy")]
    flag: Option<String>,
    #[serde(default)]
    max_ms: Option<u64>,
    #[serde(default)]
    kind: Option<String>,
    /// The strictness that a row of `trials` is for: `rl`, `eval` or `both`.
    #[serde(default)]
    expected_policy: Option<String>,
}

impl Row {
    fn is_for(&self, strictness: Strictness) -> bool {
        match self.expected_policy.as_deref() {
            Some("rl") => strictness == Strictness::Rl,
            Some("eval") => strictness == Strictness::Eval,
            _ => true,
        }
    }
}

/// A text as it is, or run-length coded.
fn text(plain: Option<&String>, coded: Option<&Vec<(String, usize)>>) -> String {
    match (plain, coded) {
        (Some(plain), _) => plain.clone(),
        (None, Some(runs)) => runs.iter().map(|(text, count)| text.repeat(*count)).collect(),
        (None, None) => String::new(),
    }
}

/// What was said of a row.
struct Judged {
    row: Row,
    rl: Equivalence,
    eval: Equivalence,
    /// The longest of several runs is what counts against a budget; the least is the machine's own.
    took: Duration,
}

impl Judged {
    fn accepted(&self, strictness: Strictness) -> bool {
        let verdict = if strictness == Strictness::Rl { self.rl } else { self.eval };
        verdict == Equivalence::Equal
    }
}

fn judge(gold: &str, prediction: &str, mode: &str, strictness: Strictness) -> Equivalence {
    if mode == "answer" {
        return equivalent(gold, prediction, strictness);
    }
    match extract(prediction, strictness, Marker::Boxed) {
        Extracted::Answer(answer) => equivalent(gold, answer, strictness),
        _ => Equivalence::Different,
    }
}

/// All rows of a file, judged; `None` where the file is not there.
fn judged(file: &str) -> Option<Vec<Judged>> {
    let Some(data) = std::env::var_os("STEARIN_DATA") else {
        println!("skipped: STEARIN_DATA is not set");
        return None;
    };
    let path = PathBuf::from(data).join(file);
    if !path.exists() {
        println!("skipped: {} does not exist", path.display());
        return None;
    }
    let rows = std::fs::read_to_string(path).unwrap();
    let judged = rows.lines().map(|line| {
        let row: Row = serde_json::from_str(line).unwrap();
        let gold = text(row.gold.as_ref(), row.gold_rle.as_ref());
        let prediction = text(row.prediction.as_ref(), row.prediction_rle.as_ref());
        let mut took = Duration::MAX;
        let mut verdicts = (Equivalence::Different, Equivalence::Different);
        for _ in 0..3 {
            let start = Instant::now();
            let eval = judge(&gold, &prediction, &row.mode, Strictness::Eval);
            took = took.min(start.elapsed());
            verdicts = (judge(&gold, &prediction, &row.mode, Strictness::Rl), eval);
            if took < Duration::from_millis(1) {
                break;
            }
        }
        Judged { row, rl: verdicts.0, eval: verdicts.1, took }
    });
    Some(judged.collect())
}

/// Prints what disagrees, and the share that agrees.
fn accuracy<'a>(
    what: &str,
    rows: impl Iterator<Item = &'a Judged>,
    strictness: Strictness,
) -> (f64, Vec<String>) {
    let (mut right, mut all, mut false_positives) = (0usize, 0usize, Vec::new());
    for judged in rows {
        let said = judged.accepted(strictness);
        all += 1;
        right += usize::from(said == judged.row.expected);
        if said != judged.row.expected {
            let verdict = if strictness == Strictness::Rl { judged.rl } else { judged.eval };
            println!(
                "  {what} {strictness:?}: row {} is {verdict:?}, expected {}",
                judged.row.id, judged.row.expected
            );
        }
        if said && !judged.row.expected {
            false_positives.push(judged.row.id.clone());
        }
    }
    let share = right as f64 / all.max(1) as f64;
    println!(
        "{what}, {strictness:?}: {right} of {all} right, {} false positives",
        false_positives.len()
    );
    (share, false_positives)
}

fn rl_implies_eval(rows: &[Judged]) {
    for judged in rows {
        assert!(
            !judged.accepted(Strictness::Rl) || judged.accepted(Strictness::Eval),
            "row {}: correct for a reward and wrong for a score",
            judged.row.id
        );
    }
}

fn slowest(what: &str, rows: &[Judged]) {
    let mut times: Vec<_> = rows.iter().map(|judged| (judged.took, &judged.row.id)).collect();
    times.sort();
    let (median, worst) = (times[times.len() / 2].0, times[times.len() - 1]);
    println!("{what}: median {median:?}, slowest {:?} in row {}", worst.0, worst.1);
}

#[test]
fn cases() {
    let Some(rows) = judged("grader/cases.jsonl") else { return };
    slowest("cases", &rows);
    rl_implies_eval(&rows);
    let core = || rows.iter().filter(|judged| judged.row.core == Some(true));
    let (share, false_positives) = accuracy("cases core", core(), Strictness::Eval);
    assert!(false_positives.is_empty(), "false positives: {false_positives:?}");
    assert!(share >= 0.98, "accuracy {share}");
    let (_, false_positives) = accuracy("cases core", core(), Strictness::Rl);
    assert!(false_positives.is_empty(), "false positives: {false_positives:?}");
}

/// What we do with the rows of one flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Choice {
    /// As they are labelled.
    Label,
    Accept,
    Refuse,
    /// Some of them so, some otherwise: the rows of one flag are of several kinds.
    Mixed,
}

/// The rows on which suites differ, by their flag: what we chose for a score, and for a reward of
/// the boxed prompt. docs/grader.md says why.
const CHOICES: [(&str, Choice, Choice); 41] = {
    use Choice::{Accept, Label, Mixed, Refuse};
    [
        ("ambiguous", Label, Label),
        ("bracket-extraction", Label, Refuse),
        ("case", Label, Label),
        ("decimal-comma", Label, Label),
        ("digit-space", Label, Label),
        ("empty-last-box", Label, Label),
        ("equation-unwrap", Label, Label),
        ("gold-in-prose", Mixed, Refuse),
        ("gsm8k", Label, Refuse),
        ("inline-newline", Accept, Refuse),
        ("last-number", Label, Refuse),
        ("lenient", Mixed, Mixed),
        ("macros", Label, Label),
        ("malformed-escape", Accept, Refuse),
        ("mcq-gold-text", Mixed, Refuse),
        ("multi-box-join", Mixed, Mixed),
        ("newline-answer", Label, Refuse),
        ("non-english-extraction", Mixed, Refuse),
        ("nonstrict-variables", Refuse, Refuse),
        ("number-words", Label, Label),
        ("order", Label, Label),
        ("percent-as-fraction", Label, Refuse),
        ("percent-as-number", Accept, Mixed),
        ("percent-one-sided", Accept, Mixed),
        ("prose", Label, Label),
        ("real-branch", Accept, Accept),
        ("reasoning-split", Label, Label),
        ("repeating", Accept, Accept),
        ("resource", Refuse, Refuse),
        ("resource-any", Mixed, Mixed),
        ("security-reject", Refuse, Refuse),
        ("set-relation-asymmetry", Accept, Refuse),
        ("stop-token", Accept, Accept),
        ("strict-answer-marker", Accept, Refuse),
        ("strict-box", Accept, Refuse),
        ("time-of-day", Refuse, Refuse),
        ("tolerance", Mixed, Refuse),
        ("unclosed-box", Refuse, Refuse),
        ("unit-spacing", Refuse, Refuse),
        ("unsimplified", Accept, Accept),
        ("zero-width", Accept, Accept),
    ]
};

#[test]
fn policy_rows_follow_the_choices() {
    let mut flags: BTreeMap<String, [usize; 3]> = BTreeMap::new();
    for file in ["grader/cases.jsonl", "grader/adversarial.jsonl"] {
        let Some(rows) = judged(file) else { return };
        for judged in &rows {
            if judged.row.tier.as_deref() == Some("parser") {
                continue;
            }
            let Some(flag) = &judged.row.flag else { continue };
            let counts = flags.entry(flag.clone()).or_default();
            counts[0] += 1;
            let choice = CHOICES.iter().find(|choice| choice.0 == flag);
            let choices = choice.map_or([Choice::Mixed; 2], |choice| [choice.1, choice.2]);
            for (at, strictness) in [Strictness::Eval, Strictness::Rl].into_iter().enumerate() {
                let said = judged.accepted(strictness);
                counts[at + 1] += usize::from(said == judged.row.expected);
                let wanted = match choices[at] {
                    Choice::Label => judged.row.expected,
                    Choice::Accept => true,
                    Choice::Refuse => false,
                    Choice::Mixed => continue,
                };
                assert_eq!(said, wanted, "{flag}, {strictness:?}: row {}", judged.row.id);
            }
        }
    }
    for (flag, [all, eval, rl]) in &flags {
        println!("{flag}: of {all} as labelled: {eval} in eval, {rl} in rl");
    }
}

#[test]
fn parser_rows() {
    let Some(rows) = judged("grader/cases.jsonl") else { return };
    let parser = rows.iter().filter(|judged| judged.row.tier.as_deref() == Some("parser"));
    accuracy("cases of parsers", parser, Strictness::Eval);
}

#[test]
fn variants() {
    let Some(rows) = judged("grader/variants.jsonl") else { return };
    slowest("variants", &rows);
    rl_implies_eval(&rows);
    for strictness in [Strictness::Eval, Strictness::Rl] {
        let (share, false_positives) = accuracy("variants", rows.iter(), strictness);
        assert!(false_positives.is_empty(), "false positives: {false_positives:?}");
        assert!(strictness == Strictness::Rl || share >= 0.999, "accuracy {share}");
    }
}

#[test]
fn bulk() {
    let Some(rows) = judged("grader/bulk.jsonl") else { return };
    slowest("bulk", &rows);
    rl_implies_eval(&rows);
    let (share, _) = accuracy("bulk", rows.iter(), Strictness::Eval);
    assert!(share >= 1.0, "agreement {share}");
}

#[test]
fn adversarial() {
    let Some(rows) = judged("grader/adversarial.jsonl") else { return };
    slowest("adversarial", &rows);
    rl_implies_eval(&rows);
    let core = || rows.iter().filter(|judged| judged.row.core == Some(true));
    let (share, _) = accuracy("adversarial core", core(), Strictness::Eval);
    let (_, false_positives) = accuracy("adversarial core", core(), Strictness::Rl);
    for judged in &rows {
        let budget = Duration::from_millis(judged.row.max_ms.unwrap_or(1000));
        assert!(judged.took <= budget, "row {}: {:?} of {budget:?}", judged.row.id, judged.took);
    }
    assert!(false_positives.is_empty(), "false positives: {false_positives:?}");
    assert!(share >= 1.0, "accuracy {share}");
}

/// Rows that are judged otherwise, for reasons that docs/grader.md gives.
const DOCUMENTED: [&str; 3] = ["gt-0352", "gt-0362", "gt-1306"];

/// Reports from users of graders, by kind. `STEARIN_KINDS`, names with commas between them, picks
/// some kinds and prints their rows whole.
#[test]
fn trials() {
    let Some(rows) = judged("trials/grader.jsonl") else { return };
    let picked = std::env::var("STEARIN_KINDS").ok();
    let mut kinds: BTreeMap<&str, Vec<(&Judged, Strictness)>> = BTreeMap::new();
    for judged in &rows {
        let kind = judged.row.kind.as_deref().unwrap_or_default();
        if picked.as_deref().is_some_and(|picked| !picked.split(',').any(|name| name == kind)) {
            continue;
        }
        let tries = kinds.entry(kind).or_default();
        for strictness in [Strictness::Rl, Strictness::Eval] {
            if judged.row.is_for(strictness) {
                tries.push((judged, strictness));
            }
        }
    }
    let (mut wrong, mut undocumented) = ([0, 0], Vec::new());
    for (kind, tries) in &kinds {
        let failed: Vec<_> = tries
            .iter()
            .filter(|(judged, strictness)| judged.accepted(*strictness) != judged.row.expected)
            .collect();
        if !failed.is_empty() {
            println!("{kind}: {} of {} wrong", failed.len(), tries.len());
        }
        for (judged, strictness) in failed {
            wrong[usize::from(judged.row.expected)] += 1;
            let verdict = if *strictness == Strictness::Rl { judged.rl } else { judged.eval };
            let Row { id, gold, prediction, .. } = &judged.row;
            undocumented.extend((!DOCUMENTED.contains(&&**id)).then_some(id));
            let short = |text: &Option<String>| -> String {
                let limit = if picked.is_some() { usize::MAX } else { 60 };
                text.as_deref().unwrap_or_default().chars().take(limit).collect()
            };
            println!(
                "  {id} {strictness:?} {verdict:?}: {:?} <- {:?}",
                short(gold),
                short(prediction)
            );
        }
    }
    println!("trials: {} false positives, {} false negatives", wrong[0], wrong[1]);
    assert!(undocumented.is_empty(), "rows without a reason: {undocumented:?}");
}
