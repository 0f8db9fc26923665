//! Rows of Parquet files.

use std::ops::ControlFlow;
use std::path::Path;

use anyhow::{Result, anyhow, bail};
use rewards::rows::Fields;

use super::row::{At, Take, within};

/// Hands the rows to `take`; nested columns are objects and lists, dates are text.
///
/// # Errors
///
/// Fails when the file is damaged or packed with a codec that this build lacks, at the first row
/// that is refused, and when there is none.
pub(super) fn read(path: &Path, take: &mut Take<'_>) -> Result<()> {
    let mut taken = Ok(());
    let read = evals::parquet::read(path, &mut |at, row| {
        let at = At::Row(at);
        let json = row.to_string();
        taken = within(at, json.len(), || {
            Fields::read(json.as_bytes()).and_then(|fields| take(at, &fields))
        });
        if taken.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    taken?;
    if read.map_err(|problem| anyhow!(problem))? == 0 {
        bail!("no rows in the Parquet file");
    }
    Ok(())
}
