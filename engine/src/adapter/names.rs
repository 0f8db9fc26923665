//! Which linear maps the tensors of a file adapt.

use std::collections::BTreeMap;

use crate::ModelConfig;
use crate::weights::Module;

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
            return Err(format!(
                "has {found} and no {missing}: expected A and B in all {} blocks of the base",
                model.num_layers
            ));
        }
        targets.push(module);
        used += all.len();
    }
    if used == stored.len() && used > 0 {
        return Ok(targets);
    }
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
            "has the tensor {other}, which adapts no linear map of a block of this base ({} blocks): \
             expected A and B of {} alone",
            model.num_layers,
            Module::ALL.map(Module::name).join(", ")
        ),
    })
}
