//! What is said of columns that are missing, ambiguous or of another type.

use rewards::rows::{Fields, brief};

use super::super::roles::Role;
use super::Found;
use crate::names::nearest;

/// What is said where several columns may have a role.
pub(super) fn several(role: Role, found: &[Found<'_>]) -> String {
    let names: Vec<_> = found.iter().map(|one| format!("`{}`", brief(&one.column))).collect();
    let (key, first) = (role.name(), &found[0].column);
    format!(
        "the {key} may be in any of {}\nset columns.{key} to one of them, such as \
         columns = {{ {key} = \"{first}\" }}",
        names.join(", ")
    )
}

/// The columns of a row, for a message.
pub(super) fn has(row: &Fields<'_>) -> String {
    listed(row, None)
}

/// The columns of a row, for a message, `first` before the others.
fn listed(row: &Fields<'_>, first: Option<&str>) -> String {
    const SHOWN: usize = 8;
    let others = row.all().map(|(name, _)| name).filter(|name| Some(*name) != first);
    let names = first.into_iter().chain(others);
    let names: Vec<_> = names.map(|name| format!("`{}`", brief(name))).take(SHOWN + 1).collect();
    match names.as_slice() {
        [] => "the row has none".into(),
        [shown @ .., _] if names.len() > SHOWN => format!("the row has {}, ...", shown.join(", ")),
        all => format!("the row has {}", all.join(", ")),
    }
}

/// What is said of a column that `key` names and a row lacks: the columns of the row, the nearest
/// in spelling first.
pub(super) fn missing(name: &str, key: &str, row: &Fields<'_>) -> String {
    let near = nearest(name, row.all().map(|(own, _)| own));
    let hint = near
        .map_or_else(String::new, |near| format!("\ndid you mean {key} = \"{}\"?", brief(near)));
    format!("column `{}` ({key}) is missing: {}{hint}", brief(name), listed(row, near))
}

/// What is said of a value of another type.
pub(super) fn unlike(found: &Found<'_>, expected: &str) -> String {
    format!("column `{}`: expected {expected}, got {}", brief(&found.column), brief(found.value))
}
