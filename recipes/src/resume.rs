//! Whether a run may go on, and from where.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use toml::Value;

use crate::run_dir::{Environment, RunDir, Saved};

/// What a run goes on with.
#[derive(Debug)]
pub struct Resumed {
    /// The newest complete checkpoint; none if the run ended before its first.
    pub saved: Option<Saved>,
    /// Files that are other ones than at the run's start, one line each: accepted.
    pub changed: Vec<String>,
}

/// Where a run may go on with this recipe here; with `accept_files` also on other files.
///
/// # Errors
///
/// Fails, and says what differs, when the recipe, the thread count, the kernel of bf16 or a file is
/// not that of the run's start, and when no step is left to do.
pub fn resume(
    run: &RunDir,
    recipe: &str,
    environment: &Environment,
    total_steps: u64,
    accept_files: bool,
) -> Result<Resumed> {
    let mut differences = differences(&run.recipe()?, recipe)?;
    let before = run.environment()?;
    if before.threads != environment.threads {
        differences.push(format!("threads: {} then, {} now", before.threads, environment.threads));
    }
    if let (Some(then), Some(now)) = (&before.bf16_kernel, &environment.bf16_kernel)
        && then != now
    {
        differences.push(format!("bf16 kernel: {then} then, {now} now: another processor"));
    }
    let changed = match (&environment.files, &before.files) {
        (Some(now), Some(then)) => now.changes_since(then),
        _ => Vec::new(),
    };
    let (mut refused, mut acts) = (differences, "restore these".to_owned());
    if !accept_files && !changed.is_empty() {
        refused.extend(changed.iter().cloned());
        acts.push_str(", or accept the changed files with --accept-changed-files");
    }
    if !refused.is_empty() {
        bail!(
            "cannot resume {}: a resumed run equals an unbroken one, and this one would not\n  {}\n\
             {acts}, or start a new run in another --run-dir",
            run.root().display(),
            refused.join("\n  ")
        );
    }
    let saved = run.checkpoints()?.pop();
    if saved.as_ref().is_some_and(|saved| saved.state.step >= total_steps) {
        bail!(
            "nothing to resume: all {total_steps} steps of {} are done\n\
             start a new run in another --run-dir",
            run.root().display()
        );
    }
    Ok(Resumed { saved, changed })
}

/// Keys whose values differ between two recipes, with both values.
fn differences(then: &str, now: &str) -> Result<Vec<String>> {
    let flat = |text: &str| -> Result<BTreeMap<String, Value>> {
        let mut leaves = BTreeMap::new();
        flatten("", Value::Table(text.parse().context("reading recipe.toml")?), &mut leaves);
        Ok(leaves)
    };
    let (then, now) = (flat(then)?, flat(now)?);
    let show = |value: Option<&Value>| value.map_or("not set".into(), Value::to_string);
    let mut keys: Vec<_> = then.keys().chain(now.keys()).collect();
    keys.sort_unstable();
    keys.dedup();
    Ok(keys
        .into_iter()
        .map(|key| (key, then.get(key), now.get(key)))
        .filter(|(_, then, now)| then != now)
        .map(|(key, then, now)| format!("{key}: {} then, {} now", show(then), show(now)))
        .collect())
}

fn flatten(path: &str, value: Value, leaves: &mut BTreeMap<String, Value>) {
    let below = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    match value {
        Value::Table(table) => {
            table.into_iter().for_each(|(key, value)| flatten(&below(&key), value, leaves));
        }
        Value::Array(items) if items.iter().any(Value::is_table) => {
            let items = items.into_iter().enumerate();
            items.for_each(|(at, value)| flatten(&below(&at.to_string()), value, leaves));
        }
        leaf => {
            leaves.insert(path.to_owned(), leaf);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differing_keys_are_named_with_both_values() {
        let then = "seed = 1\nname = \"a\"\n[[stage]]\nkind = \"rl\"\nsteps = 3\nlr = 0.1\n";
        let now = "seed = 1\nname = \"b\"\n[[stage]]\nkind = \"rl\"\nsteps = 6\n";
        assert_eq!(
            differences(then, now).unwrap(),
            [
                "name: \"a\" then, \"b\" now",
                "stage.0.lr: 0.1 then, not set now",
                "stage.0.steps: 3 then, 6 now",
            ]
        );
        assert!(differences(then, then).unwrap().is_empty());
    }
}
