//! How a run would be resumed.

use anyhow::Result;

use super::begin::open_existing;
use super::{Job, Options};
use crate::run_dir::RunDir;

/// How the run would go on as `options` say, in lines for people; nothing is touched.
///
/// # Errors
///
/// Fails where [`crate::train::train`] would before it resumes the run.
pub fn outlook(job: &Job<'_>, options: &Options<'_>) -> Result<Vec<String>> {
    let run_dir = RunDir::look(options.run_dir)?;
    let total = job.recipe.total_steps();
    let existing = open_existing(run_dir, job, options)?;
    let resumed = &existing.resumed;
    let root = options.run_dir.display();
    let mut lines = vec![match (&resumed.saved, resumed.is_done) {
        (Some(_), true) => format!("{root}: all {total} steps are done, and the run is ended"),
        (Some(saved), false) => format!(
            "{root}: after step {} of {total}, from {}",
            saved.state.step,
            saved.path.display()
        ),
        (None, _) => format!("{root}: from step 0 of {total}, as there is no checkpoint"),
    }];
    lines.extend(resumed.changes.iter().map(|(_, line)| line.clone()));
    lines.extend(resumed.changed_files.iter().map(|file| format!("{:10}  {file}", "file")));
    if lines.len() == 1 {
        lines.push("no setting and no file is another one than before".to_owned());
    }
    Ok(lines)
}
