//! JSON lines: a flat object a step with `_step` and `_timestamp`, as W&B keeps a history; `null`
//! where a value was not finite.

use std::io::{self, Write};

use serde_json::{Map, Value, json};

use super::{Curves, Names, Row};

/// Writes rows.
pub(super) fn rows<'a>(
    to: &mut dyn Write,
    curves: &'a Curves,
    names: Names,
    rows: impl Iterator<Item = Row<'a>>,
) -> io::Result<()> {
    let keys = curves.keys();
    for row in rows {
        let mut line = Map::new();
        line.insert("_step".into(), row.step.into());
        if let Some(time) = row.time() {
            line.insert("_timestamp".into(), time.into());
        }
        for (key, value) in row.values(&keys) {
            line.entry(names.name(key)).or_insert_with(|| json!(value));
        }
        serde_json::to_writer(&mut *to, &Value::Object(line))?;
        to.write_all(b"\n")?;
    }
    Ok(())
}
