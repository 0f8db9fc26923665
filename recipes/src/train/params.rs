//! The parameters of a model as an optimizer takes them.

use candle::Var;
use engine::{Model, Parameter, Variables};
use optim::{OptimConfig, Optimizer, Param};

/// The trainable variables; norms and biases have no weight decay.
pub(crate) fn params(variables: Variables<'_>) -> Vec<Param> {
    let param = |(parameter, variable): (&Parameter, &Var)| Param {
        name: parameter.name.clone(),
        var: variable.clone(),
        decay: variable.rank() > 1,
    };
    variables.trainable().map(param).collect()
}

/// An optimizer of the model's trainable parameters.
pub(crate) fn optimizer(config: &OptimConfig, model: &Model) -> optim::Result<Box<dyn Optimizer>> {
    model.update(|variables| config.build(&params(variables)))
}
