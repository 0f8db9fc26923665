//! The parameters of a model as an optimizer takes them.

use candle::Var;
use engine::{Parameter, Variables};
use optim::Param;

/// The trainable variables; norms, biases and adapters have no weight decay. The rate of every `B`
/// of an adapter is `ratio_b` times the others'.
pub(crate) fn params(variables: Variables<'_>, ratio_b: f64) -> Vec<Param> {
    let param = |(parameter, variable): (&Parameter, &Var)| {
        let is_b = parameter.name.ends_with(".lora_B.weight");
        Param {
            name: parameter.name.clone(),
            var: variable.clone(),
            decay: parameter.is_base_matrix(),
            lr_scale: if is_b { ratio_b } else { 1.0 },
        }
    };
    variables.trainable().map(param).collect()
}

#[cfg(test)]
mod tests {
    use candle::{DType, Device};
    use engine::{Adapter, AdapterConfig, Module, Scaling};

    use super::*;
    use crate::builtin::Builtin;

    #[test]
    fn only_b_of_an_adapter_has_a_rate_of_its_own_and_neither_half_decays() {
        let builtin = Builtin::find("atom").unwrap();
        let (model, _) = builtin.make(1, DType::F32, &Device::Cpu).unwrap();
        let all = model.update(|variables| params(variables, 16.0));
        assert!(all.iter().all(|one| (one.lr_scale - 1.0).abs() < f64::EPSILON), "no adapter");
        assert!(all.iter().any(|one| one.decay) && all.iter().any(|one| !one.decay));
        let targets = vec![Module::Q, Module::Down];
        let config = AdapterConfig { rank: 2, alpha: 4.0, scaling: Scaling::Rank, targets };
        let adapter = Adapter::fresh(config, model.config(), 1, DType::F32, &Device::Cpu).unwrap();
        let model = model.with_adapter(adapter).unwrap();
        let own = model.update(|variables| params(variables, 16.0));
        let scales: Vec<_> = own.iter().map(|one| one.lr_scale).collect();
        assert_eq!(scales, [1.0, 16.0].repeat(2 * 2), "A and B of two maps in two blocks");
        assert!(own.iter().all(|one| !one.decay));
    }
}
