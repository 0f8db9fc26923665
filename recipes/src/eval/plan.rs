//! What an evaluation would do.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Result;
use engine::text::Text;

use super::{Set, Settings};
use crate::printable::{both_ends, counted};

/// Characters of a prompt that are shown of its start and of its end.
const SHOWN: usize = 1500;

/// The settings, the sets, and of each set the first prompt with its gold answer, as text.
///
/// # Errors
///
/// Fails when a prompt cannot be made.
pub fn plan(settings: &Settings, sets: &[Set], text: &Text, root: &Path) -> Result<String> {
    let sampling = &settings.sampling;
    let mut out = format!(
        "model        {}\n\
         prompt       {}\n\
         sampling     temperature {}, top-p {}, at most {} new tokens, seed {}\n\
         results      {}\n",
        settings.shown(),
        settings.style,
        sampling.temperature,
        sampling.top_p,
        sampling.max_new_tokens,
        settings.seed,
        root.display(),
    );
    for (set, of) in sets.iter().zip(&settings.sets) {
        let greedy = if settings.greedy { " and a greedy one" } else { "" };
        writeln!(
            out,
            "\nset {}: {} of {}, {} each{greedy}, graded by {}",
            set.name,
            of.asked,
            counted(set.problems.len(), "problem"),
            counted(of.samples, "completion"),
            of.criterion
        )?;
        let Some(problem) = set.chosen.first().map(|&number| &set.problems[number]) else {
            continue;
        };
        let prompt = settings.prompt.prompt(text, problem)?;
        let tokens = text.encode(&prompt)?.len();
        write!(
            out,
            "first prompt ({tokens} tokens), whose gold answer is {}:\n{}",
            both_ends(&problem.answer, 200),
            indented(&prompt)
        )?;
    }
    Ok(out)
}

/// The prompt with a mark before each line, so that its own lines are seen as they are.
fn indented(prompt: &str) -> String {
    let count = prompt.chars().count();
    let line = |text: &str| format!("  | {}\n", text.replace('\n', "\n  | "));
    if count <= 2 * SHOWN {
        return line(prompt);
    }
    let head: String = prompt.chars().take(SHOWN).collect();
    let tail: String = prompt.chars().skip(count - SHOWN).collect();
    format!("{}  … {} more characters …\n{}", line(&head), count - 2 * SHOWN, line(&tail))
}
