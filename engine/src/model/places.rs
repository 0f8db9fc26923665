//! Which of the parameters are trained, by the weight that each is.

use super::Parameter;
use crate::weights::{Spec, Weights};

/// For each weight, its place among the trainable parameters.
pub(super) fn places(specs: &Weights<Spec>, parameters: &[Parameter]) -> Weights<Option<usize>> {
    let (mut parameters, mut count) = (parameters.iter().peekable(), 0);
    specs.as_ref().map(|spec| {
        let parameter = parameters.next_if(|parameter| parameter.name == spec.name)?;
        let place = parameter.trainable.then_some(count);
        count += usize::from(parameter.trainable);
        place
    })
}
