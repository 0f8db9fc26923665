//! An f64 in JSON that comes back bit for bit: as text, in the shortest decimal form that means it.
//!
//! A JSON number would not do: a parser may miss the nearest f64 by one unit in the last place, and
//! JSON has no word for what is not finite.

use serde::{Deserialize, Deserializer, Serializer, de::Error as _};

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes fields by reference")]
pub(crate) fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(|_| D::Error::custom(format!("expected a number in quotes, got `{text}`")))
}
