//! Sliding windows: accepted where they hide no position from any layer.

use serde_json::Value;

use super::keys::Keys;
use crate::{Error, Family, Result};

/// First layer with a window, where `max_window_layers` is absent. Source: `Qwen2Config` of
/// transformers.
const FIRST_LAYER: usize = 28;

/// Refuses windows that are shorter than the context.
///
/// Source: `Qwen2Config.__post_init__` of transformers, which qwen3 shares. Its llama has no
/// windows and passes over `sliding_window`.
pub(super) fn refuse(
    keys: Keys<'_>,
    family: Family,
    num_layers: usize,
    context: usize,
    notes: &mut Vec<String>,
) -> Result<()> {
    let wanted = keys.flag_or("use_sliding_window", false)?;
    let window = match keys.get("sliding_window") {
        // Some writers say `false` for none.
        None | Some(Value::Bool(false)) if family == Family::Llama => None,
        None => Some(4096).filter(|_| !keys.0.contains_key("sliding_window")),
        Some(Value::Bool(false)) => None,
        Some(_) => Some(keys.size("sliding_window")?),
    };
    // A window as long as the context hides nothing.
    let hides_nothing = |window: usize| window >= context;
    if let Some(layers) = keys.get("layer_types") {
        return by_layer(layers, num_layers, wanted && window.is_some_and(hides_nothing));
    }
    let Some(window) = window.filter(|&window| !hides_nothing(window)) else { return Ok(()) };
    let first = keys.size_or("max_window_layers", FIRST_LAYER)?;
    if wanted && first < num_layers {
        return Err(Error::Config(format!(
            "use_sliding_window is true: layers from {first} on would see {window} of {context} \
             positions, only full attention is supported"
        )));
    }
    if family == Family::Llama && !wanted && keys.get("use_sliding_window").is_none() {
        notes.push(format!(
            "config.json has sliding_window {window}, which llama in transformers does not use: \
             attention is full"
        ));
    }
    Ok(())
}

/// Refuses a list of layer types with another one than full attention; windows that hide nothing
/// are full attention too.
fn by_layer(layers: &Value, num_layers: usize, hides_nothing: bool) -> Result<()> {
    let Value::Array(layers) = layers else {
        return Err(Error::Config(format!("layer_types is {layers}, expected a list")));
    };
    if layers.len() != num_layers {
        return Err(Error::Config(format!(
            "layer_types has {} entries, but num_hidden_layers is {num_layers}",
            layers.len()
        )));
    }
    // "attention" is the older name.
    let full = |layer: &Value| match layer.as_str() {
        Some("full_attention" | "attention") => true,
        Some("sliding_attention") => hides_nothing,
        _ => false,
    };
    match layers.iter().find(|&layer| !full(layer)) {
        None => Ok(()),
        Some(other) => Err(Error::Config(format!(
            "layer_types has {other}, only \"full_attention\" is supported"
        ))),
    }
}
