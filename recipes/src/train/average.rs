//! An exponential moving average of the trained values, as a policy to look back at.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use candle::{DType, Shape, Tensor};
use engine::{Adapter, Model, Policy};
use optim::SavedState;

/// An average of the values that a stage trains. It begins as they are, and moves a share of the
/// way to them after every `every`-th update: `average <- decay average + (1 - decay) values`.
///
/// Source: TRL's `SyncRefModelCallback`, whose `ref_model_mixup_alpha` is `1 - decay`.
#[derive(Debug)]
pub(super) struct Average {
    values: Values,
    decay: f64,
    every: u64,
}

#[derive(Debug)]
enum Values {
    /// Of all weights.
    Weights(Box<Model>),
    /// Of the adapter's `A` and `B`, which is no average of their products.
    Adapter(Box<Adapter>),
}

/// What the names of its tensors in a checkpoint begin with.
const PREFIX: &str = "reference.";

impl Average {
    /// One that begins now.
    pub(super) fn begin(model: &Model, decay: f64, every: u64) -> Result<Self> {
        let values = match model.adapter() {
            Some(adapter) => Values::Adapter(Box::new(adapter.frozen()?)),
            None => Values::Weights(Box::new(copy(model)?)),
        };
        Ok(Self { values, decay, every })
    }

    /// It as a policy; `model` is the one that is trained.
    pub(super) fn policy<'a>(&'a self, model: &'a Model) -> engine::Result<Policy<'a>> {
        match &self.values {
            Values::Weights(own) => Ok(own.policy()),
            Values::Adapter(own) => model.policy().with_adapter(Some(own)),
        }
    }

    /// Moves towards the values of `model`, where that is due after so many updates of the stage.
    pub(super) fn follow(&mut self, model: &Model, updates: u64) -> Result<()> {
        if !updates.is_multiple_of(self.every) {
            return Ok(());
        }
        let share = 1.0 - self.decay;
        match &mut self.values {
            Values::Weights(own) => {
                let values = model.parameters().iter().map(|one| &one.tensor);
                own.update(|variables| -> Result<()> {
                    for ((_, own), value) in variables.all().zip(values) {
                        let step = ((value.detach() - own.as_tensor())? * share)?;
                        own.set(&(own.as_tensor() + step)?)?;
                    }
                    Ok(())
                })
            }
            Values::Adapter(own) => {
                let policy = model.adapter().context("the model has no adapter any more")?;
                **own = own.moved(policy, share)?;
                Ok(())
            }
        }
    }

    /// Its values with their names in a checkpoint.
    pub(super) fn tensors(&self) -> Vec<(String, Tensor)> {
        let named = |(name, tensor): (&str, &Tensor)| (format!("{PREFIX}{name}"), tensor.clone());
        match &self.values {
            Values::Weights(own) => {
                let all = own.parameters().iter().map(|one| (one.name.as_str(), &one.tensor));
                all.map(named).collect()
            }
            Values::Adapter(own) => own.parameters().into_iter().map(named).collect(),
        }
    }

    /// Takes the values of a checkpoint of `model`.
    pub(super) fn restore(&mut self, model: &Model, saved: &dyn SavedState) -> Result<()> {
        match &mut self.values {
            Values::Weights(own) => own.update(|variables| -> Result<()> {
                for (parameter, own) in variables.all() {
                    own.set(&read(saved, &parameter.name, own.dims())?.to_device(own.device())?)?;
                }
                Ok(())
            }),
            Values::Adapter(own) => {
                let config = own.config().clone();
                let mut get = |name: &str, shape: &[usize]| read(saved, name, shape);
                let (dtype, device) = (model.dtype(), model.device());
                **own = Adapter::new(config, model.config(), &mut get, dtype, device)?;
                Ok(())
            }
        }
    }
}

/// A model with the weights of `model` as they are now.
fn copy(model: &Model) -> engine::Result<Model> {
    let values: BTreeMap<_, _> =
        model.parameters().iter().map(|one| (one.name.as_str(), &one.tensor)).collect();
    let mut get = |name: &str, _: &[usize]| Ok(values[name].detach());
    let copy = Model::new(model.config().clone(), &mut get, model.dtype(), model.device())?;
    copy.with_precision(model.precision())
}

/// The value of a parameter of the average.
fn read(saved: &dyn SavedState, name: &str, shape: &[usize]) -> engine::Result<Tensor> {
    let key = format!("{PREFIX}{name}");
    let got = match saved.layout(&key) {
        Some((got, _)) if got.dims() == shape => return Ok(saved.tensor(&key)?),
        Some((got, _)) => format!("{got:?}"),
        None => "nothing".to_owned(),
    };
    Err(engine::Error::Input(format!(
        "{key}, a part of the average that the stage looks back at: expected {shape:?}, got {got}"
    )))
}

/// A saved state without the values of an average, which are not the optimizer's.
pub(super) struct WithoutAverage<'a>(pub(super) &'a dyn SavedState);

impl SavedState for WithoutAverage<'_> {
    fn names(&self) -> Vec<String> {
        let mut names = self.0.names();
        names.retain(|name| !name.starts_with(PREFIX));
        names
    }

    fn layout(&self, name: &str) -> Option<(Shape, DType)> {
        self.0.layout(name)
    }

    fn tensor(&self, name: &str) -> candle::Result<Tensor> {
        self.0.tensor(name)
    }
}

#[cfg(test)]
mod tests {
    use candle::Device;
    use engine::{AdapterConfig, Module, Scaling};

    use super::*;
    use crate::builtin::Builtin;

    fn model() -> Model {
        Builtin::find("atom").unwrap().make(1, DType::F32, &Device::Cpu).unwrap().0
    }

    fn adapted() -> Model {
        let model = model();
        let targets = vec![Module::Q, Module::Down];
        let config = AdapterConfig { rank: 2, alpha: 4.0, scaling: Scaling::Rank, targets };
        let fresh = Adapter::fresh(config, model.config(), 1, DType::F32, &Device::Cpu).unwrap();
        model.with_adapter(fresh).unwrap()
    }

    /// Adds `by` to every trained value.
    fn advance(model: &Model, by: f64) {
        model.update(|variables| {
            for (_, variable) in variables.trainable() {
                variable.set(&(variable.as_tensor() + by).unwrap()).unwrap();
            }
        });
    }

    fn numbers<'a>(tensors: impl Iterator<Item = &'a Tensor>) -> Vec<f64> {
        let value = |one: &Tensor| one.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        tensors.flat_map(value).map(f64::from).collect()
    }

    fn trained(model: &Model) -> Vec<f64> {
        numbers(model.trainable().map(|one| &one.tensor))
    }

    fn averaged(average: &Average) -> Vec<f64> {
        numbers(average.tensors().iter().map(|(_, tensor)| tensor))
    }

    /// With values that grow by `c` an update, the average is behind them by
    /// `c (d + d^2 + ... + d^k)` after `k` updates.
    #[test]
    fn behind_values_that_grow_evenly_it_lags_by_a_geometric_series() {
        for model in [model(), adapted()] {
            let (decay, step) = (0.75, 0.5);
            let mut average = Average::begin(&model, decay, 1).unwrap();
            assert_eq!(averaged(&average), trained(&model), "it begins as they are");
            for update in 1..=12 {
                advance(&model, step);
                average.follow(&model, update).unwrap();
                let lag = step * decay * (1.0 - decay.powi(update as i32)) / (1.0 - decay);
                for (value, own) in trained(&model).iter().zip(averaged(&average)) {
                    assert!((value - own - lag).abs() < 1e-5, "{update}: {value}, {own}, {lag}");
                }
            }
        }
    }

    #[test]
    fn it_moves_after_every_so_many_updates_only() {
        let model = adapted();
        let mut average = Average::begin(&model, 0.5, 3).unwrap();
        let moves: Vec<_> = (1..=7)
            .filter(|update| {
                let before = averaged(&average);
                advance(&model, 0.1);
                average.follow(&model, *update).unwrap();
                before != averaged(&average)
            })
            .collect();
        assert_eq!(moves, [3, 6]);
    }

    #[test]
    fn it_is_restored_to_the_bit_and_the_optimizer_sees_nothing_of_it() {
        for model in [model(), adapted()] {
            let mut average = Average::begin(&model, 0.9, 1).unwrap();
            advance(&model, 0.3);
            average.follow(&model, 1).unwrap();
            let mut saved: BTreeMap<_, _> = average.tensors().into_iter().collect();
            saved.insert("adamw.updates".to_owned(), Tensor::new(&[1_i64], &Device::Cpu).unwrap());
            assert_eq!(WithoutAverage(&saved).names(), ["adamw.updates"]);
            let mut other = Average::begin(&model, 0.9, 1).unwrap();
            assert_ne!(averaged(&other), averaged(&average));
            other.restore(&model, &saved).unwrap();
            assert_eq!(averaged(&other), averaged(&average));
            let name = saved.keys().find(|name| name.starts_with(PREFIX)).unwrap().clone();
            saved.remove(&name);
            let error = format!("{:#}", other.restore(&model, &saved).unwrap_err());
            assert!(error.contains(&name) && error.contains("got nothing"), "{error}");
        }
    }
}
