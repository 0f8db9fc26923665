//! The error of what a run has saved and cannot go on with.

use std::fmt;

/// Something that a run has saved is missing or damaged. A run that meets it cannot be resumed as
/// asked, whenever it is found.
#[derive(Debug)]
pub struct Damaged(pub(crate) String);

impl fmt::Display for Damaged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Damaged {}
