//! Which linear maps the tensors of a file adapt.

use std::collections::BTreeMap;
use std::path::Path;

use crate::weights::Module;
use crate::{Error, ModelConfig};

/// The names of all linear maps of a model's blocks, in checkpoint order.
pub(super) fn maps(model: &ModelConfig) -> impl Iterator<Item = String> {
    let of = |layer| Module::ALL.map(|map| format!("model.layers.{layer}.{}", map.module()));
    (0..model.num_layers).flat_map(of)
}

/// The name of half an adapter, `A` or `B`, without a file's own prefixes and suffixes.
pub(crate) fn half_name(layer: usize, module: Module, half: &str) -> String {
    format!("model.layers.{layer}.{}.lora_{half}.weight", module.module())
}

/// The maps that are adapted in every block of a model. `stored` has what a file calls each of its
/// tensors, by the name that [`half_name`] gives it, or by the same where it is no half.
///
/// # Errors
///
/// Says what is missing or left over.
pub(crate) fn targets(
    stored: &BTreeMap<String, String>,
    model: &ModelConfig,
) -> Result<Vec<Module>, String> {
    let (mut targets, mut used) = (Vec::new(), 0);
    for module in Module::ALL {
        let halves = |layer| ["A", "B"].map(|half| half_name(layer, module, half));
        let all: Vec<String> = (0..model.num_layers).flat_map(halves).collect();
        let Some(found) = all.iter().find_map(|name| stored.get(name)) else { continue };
        if let Some(missing) = all.iter().find(|name| !stored.contains_key(*name)) {
            other_depth(stored, model)?;
            return Err(format!(
                "has {found} and no {missing}: expected A and B in all {} blocks of the base; fetch \
                 or save the adapter again",
                model.num_layers
            ));
        }
        targets.push(module);
        used += all.len();
    }
    if used == stored.len() && used > 0 {
        return Ok(targets);
    }
    other_depth(stored, model)?;
    let is_half = |name: &str| {
        let mut halves = (0..model.num_layers).flat_map(|layer| {
            Module::ALL
                .into_iter()
                .flat_map(move |module| ["A", "B"].map(move |half| half_name(layer, module, half)))
        });
        halves.any(|half| half == name)
    };
    Err(match stored.iter().find(|(name, _)| !is_half(name)) {
        None => "has no tensor of an adapter".into(),
        Some((_, other)) => format!(
            "has the tensor {other}, which adapts no linear map of a block: expected A and B of {} \
             alone; train an adapter of these",
            Module::ALL.map(Module::name).join(", ")
        ),
    })
}

/// Fails where the adapter has another number of blocks than the model: it was trained on another.
fn other_depth(stored: &BTreeMap<String, String>, model: &ModelConfig) -> Result<(), String> {
    let block = |name: &String| name.strip_prefix("model.layers.")?.split('.').next()?.parse().ok();
    let blocks = stored.keys().filter_map(block).max().map_or(0, |last: usize| last + 1);
    if blocks == 0 || blocks == model.num_layers {
        return Ok(());
    }
    Err(format!(
        "has tensors of {blocks} blocks, and the base has {}: {OTHER_BASE}",
        model.num_layers
    ))
}

/// The error of a tensor of another shape than the base asks for, in `file`.
pub(crate) fn misfit(name: &str, expected: &[usize], file: &Path, got: &[usize]) -> Error {
    // The side that the rank is not.
    let side = usize::from(name.ends_with(".lora_A.weight"));
    let act = if got.get(side) == expected.get(side) {
        "its settings have another rank: they are of another adapter; take both from one"
    } else {
        OTHER_BASE
    };
    let file = file.display();
    let problem = format!("expected shape {expected:?}, {file} has {got:?}: {act}");
    Error::Weight { name: name.to_owned(), problem }
}

/// What there is to do about an adapter that does not fit.
pub(crate) const OTHER_BASE: &str =
    "the adapter was trained on another model; name that as the base";
