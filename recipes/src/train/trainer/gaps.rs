//! Steps that the record of a resumed run lacks.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::Result;
use evals::run::read_log;

use crate::console::Console;
use crate::run_dir::TrainerState;

/// Prints which steps up to `state` have no values in `metrics.jsonl` under `root`, if any.
pub(super) fn note_gaps(root: &Path, state: &TrainerState, console: &Console) -> Result<()> {
    let lines = read_log(&root.join("metrics.jsonl"))?;
    let found: BTreeSet<_> = lines.iter().map(|line| line.step).collect();
    // The values of a pending step are yet to be written.
    let last = state.step - u64::from(state.pending.is_some());
    let missing: Vec<_> = (1..=last).filter(|step| !found.contains(step)).collect();
    if !missing.is_empty() {
        console.print(&format!(
            "note: metrics.jsonl has no values of {}: its lines were lost, and the run goes on \
             without them",
            spans(&missing)
        ));
    }
    Ok(())
}

/// Ascending steps in words, as in "steps 3, 5 to 7".
fn spans(steps: &[u64]) -> String {
    let spans = steps.chunk_by(|one, next| one + 1 == *next).map(|span| match span {
        [first, .., last] => format!("{first} to {last}"),
        _ => span[0].to_string(),
    });
    let noun = if steps.len() == 1 { "step" } else { "steps" };
    format!("{noun} {}", spans.collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_named_in_spans() {
        assert_eq!(spans(&[4]), "step 4");
        assert_eq!(spans(&[3, 5, 6, 7, 9]), "steps 3, 5 to 7, 9");
    }
}
