//! The table as a page of the documentation.

use std::fmt::Write as _;

use super::{Log, Spec, TABLE, trl_name};

const HEAD: &str = "\
# Metrics

<!-- Generated from the code by `stearin schema metrics --format markdown > docs/metrics.md`. -->

The keys of `metrics.jsonl` and `timings.jsonl` ([record.md](record.md)), which `stearin curves`
exports and the dashboard draws. A part in angle brackets stands for any name or number. The unit 1
is a pure number. A step has only the keys of what it measured; `null` is a value that is not
finite. Keys are verl's where verl logs the same thing; where verl's key means something else, the
row says so. TRL is the name with `stearin curves --names trl`, where it differs.
";

/// The metrics in Markdown: a section for each first part of a key, in the order of the table.
pub fn page() -> String {
    let mut parts: Vec<&str> = Vec::new();
    for spec in TABLE {
        if !parts.contains(&part(spec)) {
            parts.push(part(spec));
        }
    }
    let mut text = HEAD.to_owned();
    for own in parts {
        let rows: Vec<_> = TABLE.iter().filter(|spec| part(spec) == own).collect();
        let all_timings = rows.iter().all(|spec| spec.log == Log::Timings);
        let log = if all_timings { ", in `timings.jsonl`" } else { "" };
        let _ =
            write!(text, "\n## {own}{log}\n\n| key | unit | meaning | TRL |\n|---|---|---|---|\n");
        for Spec { key, unit, meaning, log } in rows {
            let log = if *log == Log::Timings && !all_timings { " (`timings.jsonl`)" } else { "" };
            let trl = trl_name(key).map(|name| format!("`{name}`")).unwrap_or_default();
            let _ = writeln!(text, "| `{key}` | {unit} | {meaning}{log} | {trl} |");
        }
    }
    text
}

/// The first part of a key.
fn part(spec: &Spec) -> &'static str {
    spec.key.split('/').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_is_on_the_page_once() {
        let page = page();
        for Spec { key, meaning, .. } in TABLE {
            assert_eq!(page.matches(&format!("| `{key}` |")).count(), 1, "{key}");
            assert!(page.contains(meaning) && !meaning.contains('|'), "{key}");
        }
        assert!(page.contains("| `actor/entropy` | nats |") && page.contains("| `entropy` |"));
    }
}
