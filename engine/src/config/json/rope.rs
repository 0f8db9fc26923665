//! The rope settings of a `config.json`, wherever they stand.
//!
//! Source: `RotaryEmbeddingConfigMixin` of transformers 5: `rope_scaling` is the older name of
//! `rope_parameters` and goes before it, a base inside a table goes before the one at the top
//! level, and for llama3 an `original_max_position_embeddings` at the top level goes before the one
//! inside. transformers passes over keys that a type does not use; here they are errors.

use serde_json::{Map, Value};

use super::keys::Keys;
use crate::{Error, Family, Result, RopeScaling};

const DEFAULT_THETA: f64 = 10_000.0;
const ORIGINAL: &str = "original_max_position_embeddings";
/// The label of the layers that the block function covers, in tables by layer type.
const FULL: &str = "full_attention";

/// Keys that do nothing at this value, where the type does not use them.
const NEUTRAL: [(&str, f64); 5] = [
    ("factor", 1.0),
    ("attention_factor", 1.0),
    ("partial_rotary_factor", 1.0),
    ("mscale", 1.0),
    ("mscale_all_dim", 1.0),
];

/// One of the two tables, read.
struct Table {
    name: &'static str,
    theta: Option<f64>,
    scaling: RopeScaling,
}

/// Base and scaling.
pub(super) fn read(
    keys: Keys<'_>,
    family: Family,
    context: usize,
    notes: &mut Vec<String>,
) -> Result<(f64, RopeScaling)> {
    let outer = keys.number("rope_theta")?;
    let mut tables = Vec::new();
    for name in ["rope_scaling", "rope_parameters"] {
        match keys.get(name) {
            None => {}
            Some(Value::Object(map)) if map.is_empty() => {}
            Some(Value::Object(map)) => {
                let inner = Keys(of_full_layers(name, map, family)?);
                let theta = inner.number("rope_theta")?;
                let scaling = scaling(name, inner, keys, context, notes)?;
                tables.push(Table { name, theta, scaling });
            }
            Some(other) => {
                return Err(Error::Config(format!("{name} is {other}, expected an object")));
            }
        }
    }
    let Some(table) = tables.first() else {
        return Ok((outer.unwrap_or(DEFAULT_THETA), RopeScaling::None));
    };
    let theta = table.theta.or(outer).unwrap_or(DEFAULT_THETA);
    if let Some(other) = tables.get(1) {
        agree(table, other, theta)?;
    }
    if let Some(outer) = outer.filter(|&outer| differ(outer, theta)) {
        notes.push(format!(
            "config.json has rope_theta {outer} at the top level and {theta} in {}: {theta} is \
             used, as transformers does",
            table.name
        ));
    }
    Ok((theta, table.scaling))
}

/// Whether a table holds others by layer type, which only some classes of transformers read.
pub(super) fn by_layer_type(keys: Keys<'_>) -> bool {
    ["rope_scaling", "rope_parameters"]
        .iter()
        .filter_map(|name| keys.get(name)?.as_object())
        .any(|table| table.values().any(Value::is_object))
}

fn differ(a: f64, b: f64) -> bool {
    (a - b).abs() > 1e-9 * a.abs()
}

fn agree(table: &Table, other: &Table, theta: f64) -> Result<()> {
    let (a, b) = (table.name, other.name);
    if table.scaling != other.scaling {
        return Err(Error::Config(format!(
            "{a} says {} and {b} says {}: remove the one that does not hold",
            table.scaling, other.scaling
        )));
    }
    match other.theta {
        Some(inner) if differ(inner, theta) => Err(Error::Config(format!(
            "rope_theta is {theta} by {a} or the top level, and {inner} in {b}: remove the one that \
             does not hold"
        ))),
        _ => Ok(()),
    }
}

/// The table that holds for layers with full attention, which all layers have.
fn of_full_layers<'a>(
    name: &str,
    table: &'a Map<String, Value>,
    family: Family,
) -> Result<&'a Map<String, Value>> {
    let Some((label, _)) = table.iter().find(|(_, value)| value.is_object()) else {
        return Ok(table);
    };
    if family == Family::Llama {
        return Err(Error::Config(format!(
            "{name} has a table for {label}, but llama has one rope for all layers, and \
             transformers would pass over it: put its settings into {name} itself"
        )));
    }
    let known = |label: &str| [FULL, "sliding_attention"].contains(&label);
    if let Some((key, value)) = table.iter().find(|(key, value)| !value.is_object() || !known(key))
    {
        return Err(Error::Config(format!(
            "{name} has {key} = {value} beside tables by layer type, expected tables for {FULL} and \
             sliding_attention only"
        )));
    }
    let full = table.get(FULL).and_then(Value::as_object);
    full.ok_or_else(|| {
        Error::Config(format!("{name} has a table for {label}, but none for {FULL}"))
    })
}

fn scaling(
    section: &str,
    inner: Keys<'_>,
    outer: Keys<'_>,
    context: usize,
    notes: &mut Vec<String>,
) -> Result<RopeScaling> {
    let kind = match (inner.get("rope_type"), inner.get("type")) {
        (Some(new), Some(old)) if new != old => {
            return Err(Error::Config(format!(
                "{section} has rope_type {new} and type {old}: remove the one that does not hold"
            )));
        }
        (new, old) => new.or(old),
    };
    let used: &[&str] = match kind.map(Value::as_str) {
        None | Some(Some("default")) => &[],
        Some(Some("linear")) => &["factor"],
        Some(Some("llama3")) => &["factor", "low_freq_factor", "high_freq_factor"],
        Some(_) => {
            return Err(Error::Config(format!(
                "{section} has rope_type {}, supported: default, linear, llama3",
                kind.unwrap_or(&Value::Null)
            )));
        }
    };
    refuse_others(section, inner, kind.and_then(Value::as_str), used)?;
    let need = |name: &str| {
        inner.number(name)?.ok_or_else(|| Error::Config(format!("{section} has no {name}")))
    };
    match *used {
        [] => Ok(RopeScaling::None),
        [factor] => Ok(RopeScaling::Linear { factor: need(factor)? }),
        _ => Ok(RopeScaling::Llama3 {
            factor: need("factor")?,
            low_freq_factor: need("low_freq_factor")?,
            high_freq_factor: need("high_freq_factor")?,
            original_context: original_context(section, inner, outer, context, notes)?,
        }),
    }
}

fn original_context(
    section: &str,
    inner: Keys<'_>,
    outer: Keys<'_>,
    context: usize,
    notes: &mut Vec<String>,
) -> Result<usize> {
    let size = |keys: Keys<'_>| keys.get(ORIGINAL).map(|_| keys.size(ORIGINAL)).transpose();
    match (size(outer)?, size(inner)?) {
        (Some(top), Some(inner)) if top != inner => {
            notes.push(format!(
                "config.json has {ORIGINAL} {top} at the top level and {inner} in {section}: {top} \
                 is used, as transformers does"
            ));
            Ok(top)
        }
        (Some(size), _) | (None, Some(size)) => Ok(size),
        (None, None) => {
            notes.push(format!(
                "{section} in config.json has no {ORIGINAL}: max_position_embeddings {context} is \
                 used, as transformers does"
            ));
            Ok(context)
        }
    }
}

fn refuse_others(section: &str, inner: Keys<'_>, kind: Option<&str>, used: &[&str]) -> Result<()> {
    let known = ["rope_type", "type", "rope_theta", ORIGINAL];
    for (key, value) in inner.0 {
        let at_rest = |&(name, neutral): &(&str, f64)| {
            name == key && value.as_f64().is_some_and(|value| !differ(neutral, value))
        };
        let fine = value.is_null()
            || known.contains(&key.as_str())
            || used.contains(&key.as_str())
            || NEUTRAL.iter().any(at_rest);
        if !fine {
            let of_kind = kind.map_or_else(
                || "but no rope_type, and the default one does not use it".to_owned(),
                |kind| format!("which rope_type \"{kind}\" does not use"),
            );
            return Err(Error::Config(format!(
                "{section} has {key} = {value}, {of_kind}: remove it, or name the rope_type that it \
                 belongs to"
            )));
        }
    }
    Ok(())
}
