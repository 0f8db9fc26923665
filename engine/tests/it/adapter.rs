//! Adapters: PEFT's golden vectors, finite differences, what is trained and what is not, files.

mod arithmetic;
mod files;
pub(crate) mod golden;
mod llama_cpp;

pub(crate) use golden::assert_golden;

use candle::{DType, Tensor};
use engine::{
    Activations, Adapter, AdapterConfig, MatmulPrecision, Model, Module, Packed, Scaling, Target,
    backward,
};

use crate::packing::gradients;
use crate::support::{adapted, adapter, close, configs, groups, model, pack, set, tokens, values};

fn config(rank: usize, targets: &[Module]) -> AdapterConfig {
    AdapterConfig { rank, alpha: 3.0, scaling: Scaling::Rank, targets: targets.to_vec() }
}

/// Log-probabilities, entropies and the logits of decoding, as bits.
fn computed(policy: engine::Policy<'_>) -> Vec<u32> {
    let (packed, targets) = pack(&groups(37));
    let scores = policy.score(&packed, &targets, 0.7).unwrap();
    let mut all = [scores.log_probs, scores.entropies, scores.phi_sums].concat();
    let mut cache = policy.cache(1, 4).unwrap();
    cache.attach(0, policy.prefill(&tokens(1, 17, 37)).unwrap()).unwrap();
    for token in 0..4 {
        let mut logits = Vec::new();
        policy.decode(&mut cache, &[(0, token)], &mut logits).unwrap();
        all.extend(logits);
    }
    // Both zeros are one number.
    all.iter().map(|x| (x + 0.0).to_bits()).collect()
}

/// Every configuration in every form in which it computes.
fn forms() -> impl Iterator<Item = Model> {
    configs().into_iter().flat_map(|config| {
        let cpu = model(config.clone(), DType::F32);
        let rounded = model(config.clone(), DType::F32);
        let rounded = rounded.with_precision(MatmulPrecision::Bf16).unwrap();
        [cpu, rounded, model(config, DType::F64)]
    })
}

#[test]
fn an_adapter_that_is_off_or_fresh_leaves_the_base_to_the_bit() {
    for base in forms() {
        let want = computed(base.policy());
        let (name, dtype) = (format!("{:?}", base.policy().backend()), base.dtype());
        let fresh = Adapter::fresh(config(4, &Module::ALL), base.config(), 5, dtype, base.device());
        let fresh = fresh.unwrap();
        let with_fresh = base.policy().with_adapter(Some(&fresh)).unwrap();
        assert_eq!(computed(with_fresh), want, "fresh, {name}");
        let model = adapted(base, 4);
        assert_ne!(computed(model.policy()), want, "on, {name}");
        assert_eq!(computed(model.policy().with_adapter(None).unwrap()), want, "off, {name}");
        assert_eq!(
            computed(model.policy().with_adapter(Some(&fresh)).unwrap()),
            want,
            "another, {name}"
        );
    }
}

/// The same functions with `W + s B A` in place of an adapter.
#[test]
fn an_adapter_computes_what_the_sum_of_the_matrices_computes() {
    for config in configs() {
        let (base, model) = (model(config.clone(), DType::F64), model(config, DType::F64));
        let model = adapted(model, 4);
        let lora = |name: &str, half: &str| {
            let name = format!("{}.lora_{half}.weight", name.strip_suffix(".weight")?);
            Some(model.parameters().iter().find(|own| own.name == name)?.tensor.clone())
        };
        for own in base.parameters() {
            let (Some(a), Some(b)) = (lora(&own.name, "A"), lora(&own.name, "B")) else { continue };
            let sum = (&own.tensor + (b.matmul(&a).unwrap() * 0.75).unwrap()).unwrap();
            set(&base, &own.name, &sum);
        }
        let (packed, targets) = pack(&groups(37));
        let scored = |model: &Model| {
            let scores = model.score(&packed, &targets, 0.7).unwrap();
            [scores.log_probs, scores.entropies].concat()
        };
        let wide = |x: Vec<f32>| x.into_iter().map(f64::from).collect::<Vec<_>>();
        close(&wide(scored(&model)), &wide(scored(&base)), 1e-6);
    }
}

#[test]
fn gradients_of_both_backends_are_finite_differences() {
    for config in configs() {
        let exact = adapted(model(config.clone(), DType::F64), 2);
        let batches = [pack(&groups(37))];
        let want = gradients(&exact, &batches, Activations::Keep);
        let fused = adapted(model(config, DType::F32), 2);
        for activations in [Activations::Keep, Activations::Recompute] {
            let of = gradients(&fused, &batches, activations);
            for (of, want) in of.iter().zip(&want) {
                close(of, want, 2e-4);
            }
            let of = gradients(&exact, &batches, activations);
            assert_eq!(of, want, "{activations:?}");
        }
        let names: Vec<String> = exact.trainable().map(|own| own.name.clone()).collect();
        for (name, gradient) in names.iter().zip(&want) {
            check_differences(&exact, name, gradient, &batches[0]);
        }
    }
}

/// A parameter's gradient in a few places against the values of the loss around them.
fn check_differences(
    model: &Model,
    name: &str,
    gradient: &[f64],
    (packed, targets): &(Packed, Vec<Target>),
) {
    const STEP: f64 = 1e-5;
    let weights: Vec<f64> = targets.iter().map(|t| f64::from(t.token % 5) - 1.7).collect();
    let weights = Tensor::new(weights, model.device()).unwrap();
    let loss = || {
        let mut loss = |columns: &engine::ScoreTensors| {
            let log_probs = (&columns.log_probs * &weights)?.sum_all()?;
            Ok((log_probs + (columns.entropies.sum_all()? * 0.3)?)?)
        };
        engine::forward(model, packed, targets, 0.7, &mut loss).unwrap().loss
    };
    let own = model.trainable().find(|own| own.name == name).unwrap();
    let (before, shape) = (values(&own.tensor), own.tensor.shape().clone());
    let norm = gradient.iter().map(|x| x * x).sum::<f64>().sqrt();
    assert!(norm > 1e-4, "{name}: gradient norm {norm}");
    for at in [0, before.len() / 3, before.len() - 1] {
        let shifted = |shift: f64| {
            let mut moved = before.clone();
            moved[at] += shift;
            set(model, name, &Tensor::from_vec(moved, &shape, model.device()).unwrap());
            loss()
        };
        let difference = (shifted(STEP) - shifted(-STEP)) / (2.0 * STEP);
        close(&[gradient[at]], &[difference], 1e-6);
    }
    set(model, name, &Tensor::from_vec(before, &shape, model.device()).unwrap());
}

#[test]
fn only_an_adapters_own_parameters_are_trained() {
    for base in forms() {
        let model = adapted(base, 3);
        let names: Vec<&str> = model.trainable().map(|own| own.name.as_str()).collect();
        assert_eq!(names.len(), 2 * 7 * model.config().num_layers);
        assert!(names.iter().all(|name| name.contains(".lora_")));
        assert_eq!(
            names[..2],
            [
                "model.layers.0.self_attn.q_proj.lora_A.weight",
                "model.layers.0.self_attn.q_proj.lora_B.weight"
            ]
        );
        let frozen = |own: &&engine::Parameter| !own.trainable;
        let base = |model: &Model| -> Vec<Vec<f64>> {
            model.parameters().iter().filter(frozen).map(|own| values(&own.tensor)).collect()
        };
        let before = base(&model);
        let (packed, targets) = pack(&groups(37));
        let mut seen = vec![0; names.len()];
        let mut update = |index: usize, gradient: Tensor| {
            seen[index] += 1;
            let own = model.trainable().nth(index).unwrap();
            assert_eq!(own.tensor.dims(), gradient.dims(), "{}", own.name);
            model.update(|variables| -> engine::Result<()> {
                let (_, variable) = variables.trainable().nth(index).unwrap();
                let step = (gradient.to_dtype(variable.dtype())? * 0.1)?;
                Ok(variable.set(&(variable.as_detached_tensor() - step)?)?)
            })
        };
        let mut loss = |columns: &engine::ScoreTensors| Ok(columns.log_probs.mean_all()?.neg()?);
        let keep = Activations::Keep;
        backward(&model, &packed, &targets, 1.0, keep, &mut loss, &mut update).unwrap();
        assert!(seen.iter().all(|&times| times == 1), "{seen:?}");
        assert_eq!(base(&model), before);
    }
}

#[test]
fn the_first_values_of_a_map_do_not_depend_on_what_else_is_adapted() {
    let base = model(configs()[0].clone(), DType::F32);
    let fresh = |targets: &[Module], seed| {
        let config = config(4, targets);
        Adapter::fresh(config, base.config(), seed, DType::F32, base.device()).unwrap()
    };
    let name = "model.layers.1.mlp.down_proj.lora_A.weight";
    let of = |adapter: &Adapter| {
        let own = adapter.parameters().into_iter().find(|(own, _)| *own == name);
        values(own.unwrap().1)
    };
    let all = of(&fresh(&Module::ALL, 5));
    assert_eq!(all, of(&fresh(&[Module::K, Module::Down], 5)));
    assert_ne!(all, of(&fresh(&Module::ALL, 6)));
}

/// `B` of a fresh adapter is zero, so the first gradient of `A` is zero, but it is there.
#[test]
fn the_first_gradient_of_a_fresh_adapter_moves_b_alone() {
    for base in forms() {
        let (dtype, device) = (base.dtype(), base.device().clone());
        let fresh = Adapter::fresh(config(4, &Module::ALL), base.config(), 5, dtype, &device);
        let model = base.with_adapter(fresh.unwrap()).unwrap();
        let found = gradients(&model, &[pack(&groups(37))], Activations::Recompute);
        for (gradient, own) in found.iter().zip(model.trainable()) {
            let norm: f64 = gradient.iter().map(|x| x * x).sum();
            assert_eq!(norm == 0.0, own.name.contains("lora_A"), "{}: {norm}", own.name);
        }
    }
}

#[test]
fn fresh_values_are_a_function_of_the_seed_within_their_bound() {
    let base = model(configs()[0].clone(), DType::F32);
    let fresh = |seed| {
        let config = config(4, &[Module::Q, Module::Down]);
        let fresh = Adapter::fresh(config, base.config(), seed, DType::F32, base.device()).unwrap();
        fresh.parameters().iter().map(|(_, tensor)| values(tensor)).collect::<Vec<_>>()
    };
    assert_eq!(fresh(1), fresh(1));
    assert_ne!(fresh(1), fresh(2));
    let mut drawn = fresh(1);
    // The first is A of q with 16 columns, the second its B.
    let bound = 0.25;
    assert!(drawn[0].iter().all(|x| x.abs() < bound));
    assert!(drawn[0].iter().any(|x| x.abs() > 0.8 * bound));
    assert!(drawn[1].iter().all(|&x| x == 0.0));
    let firsts: Vec<f64> = drawn.iter_mut().step_by(2).map(|a| a[0]).collect();
    assert_eq!(firsts.len(), 4);
    assert!((1..4).all(|i| !firsts[..i].contains(&firsts[i])), "{firsts:?}");
}

#[test]
fn another_adapter_is_another_policy() {
    let base = model(configs()[0].clone(), DType::F32);
    let one = adapter(&base, config(2, &Module::ALL), 1);
    let other = adapter(&base, config(3, &[Module::V]), 2);
    let policy = |adapter| base.policy().with_adapter(adapter).unwrap();
    let versions = [None, Some(&one), Some(&other)].map(|adapter| policy(adapter).version());
    assert!(versions[0] != versions[1] && versions[1] != versions[2] && versions[0] != versions[2]);
    let mut cache = policy(Some(&one)).cache(1, 4).unwrap();
    for adapter in [None, Some(&other)] {
        let prefix = policy(adapter).prefill(&[1, 2, 3]).unwrap();
        let error = cache.attach(0, prefix).unwrap_err().to_string();
        assert!(error.contains("other weights"), "{error}");
    }
    // The values of an adapter change while the base, from another source, stays the same.
    let other = adapted(model(configs()[0].clone(), DType::F32), 4);
    let policy = other.policy_with(&base);
    let mut cache = policy.cache(1, 4).unwrap();
    cache.attach(0, policy.prefill(&[1, 2, 3]).unwrap()).unwrap();
    other.update(|_| ());
    let error = policy.decode(&mut cache, &[(0, 1)], &mut Vec::new()).unwrap_err().to_string();
    assert!(error.contains("other weights"), "{error}");
    // A frozen copy stays as it is while the model goes on.
    let model = adapted(base, 4);
    let frozen = model.adapter().unwrap().frozen().unwrap();
    let with_frozen = || computed(model.policy().with_adapter(Some(&frozen)).unwrap());
    let before = with_frozen();
    assert_eq!(before, computed(model.policy()));
    let name = "model.layers.1.mlp.down_proj.lora_B.weight";
    let own = model.parameters().iter().find(|own| own.name == name).unwrap();
    set(&model, name, &(&own.tensor * 2.0).unwrap());
    assert_eq!(before, with_frozen());
    assert_ne!(before, computed(model.policy()));
}

#[test]
fn an_adapter_that_does_not_fit_is_refused() {
    let base = model(configs()[0].clone(), DType::F32);
    let refused = |config: AdapterConfig, words: &str| {
        let error = Adapter::fresh(config, base.config(), 1, DType::F32, base.device());
        let error = error.unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    };
    let good = config(4, &[Module::K, Module::Up]);
    let zero = AdapterConfig { rank: 0, ..good.clone() };
    refused(zero, "rank is 0");
    let large = AdapterConfig { rank: 9, ..good.clone() };
    refused(large, "rank is 9, expected at most 8, the smaller side of k_proj");
    for alpha in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        refused(AdapterConfig { alpha, ..good.clone() }, "expected a positive number");
    }
    for alpha in [1e40, 1e-320] {
        refused(AdapterConfig { alpha, ..good.clone() }, "is no number in f32");
    }
    refused(AdapterConfig { targets: Vec::new(), ..good.clone() }, "no targets");
    let twice = vec![Module::K, Module::K];
    refused(AdapterConfig { targets: twice, ..good.clone() }, "each once");

    let mut wider = base.config().clone();
    wider.intermediate_size = 32;
    let fresh = Adapter::fresh(good.clone(), &wider, 1, DType::F32, base.device()).unwrap();
    let error = base.policy().with_adapter(Some(&fresh)).unwrap_err().to_string();
    assert!(error.contains("another base") && error.contains("mlp"), "{error}");
    let error = base.with_adapter(fresh).unwrap_err().to_string();
    assert!(error.contains("another base"), "{error}");
    let twice = adapted(model(configs()[0].clone(), DType::F32), 2);
    let again = adapter(&twice, good, 3);
    let error = twice.with_adapter(again).unwrap_err().to_string();
    assert!(error.contains("already"), "{error}");
}
