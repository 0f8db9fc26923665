//! A perturbed policy computes what a model with the perturbed weights does.

use candle::DType;
use engine::stream::{Arena, Perturbed, Scratch};
use engine::{Activations, Family, MatmulPrecision, ModelConfig, Packed, Policy, Target};

use super::transforms::{Signs, apply, bits};
use crate::support::{config, configs, groups, model, pack, tokens, values};

pub(super) const SIGNS: Signs = Signs { seed: 5, scale: 0.07 };

/// Several chunks of the vocabulary.
pub(super) fn wide(config: &ModelConfig) -> ModelConfig {
    ModelConfig { vocab_size: 4500, ..config.clone() }
}

/// Hidden states, scores, and the logits of prefill and decoding.
pub(super) fn computed(policy: Policy<'_>) -> (Vec<f64>, Vec<u32>) {
    let vocab = policy.config().vocab_size;
    let (packed, targets) = pack(&groups(vocab));
    let hidden = values(&policy.hidden(&packed).unwrap());
    let scores = policy.score_with_alternatives(&packed, &targets, 0.7, 2).unwrap();
    let mut all = [scores.log_probs, scores.entropies, scores.phi_sums].concat();
    all.extend(scores.alternatives.iter().flat_map(|&(token, x)| [token as f32, x]));
    let mut cache = policy.cache(3, 5).unwrap();
    let prompt = tokens(1, 17, vocab);
    for (slot, prefix) in
        policy.prefill_all(&[&prompt, &[3], &prompt]).unwrap().into_iter().enumerate()
    {
        all.extend(prefix.logits());
        cache.attach(slot, prefix).unwrap();
    }
    for token in 0..5 {
        let mut logits = Vec::new();
        let feed = [(0, token), (2, token + 5), (1, token + 7)];
        policy.decode(&mut cache, &feed[..=token as usize % 3], &mut logits).unwrap();
        all.extend(logits);
    }
    (hidden, all.iter().map(|x| x.to_bits()).collect())
}

#[test]
fn a_perturbed_policy_computes_as_a_model_of_the_perturbed_weights() {
    for config in configs().into_iter().flat_map(|config| [config.clone(), wide(&config)]) {
        for (dtype, precision) in [
            (DType::F32, MatmulPrecision::F32),
            (DType::F32, MatmulPrecision::Bf16),
            (DType::BF16, MatmulPrecision::F32),
        ] {
            let make = || model(config.clone(), dtype).with_precision(precision).unwrap();
            let (model, holding) = (make(), make());
            apply(&holding, &SIGNS);
            let arena = Arena::new(None);
            let scratch = Scratch::new(&model.policy(), &arena).unwrap();
            let perturbed = Perturbed::new(&SIGNS, &scratch);
            let policy = model.policy().with_perturbed(Some(&perturbed)).unwrap();
            let (made, before) = (arena.peak(), bits(&model));
            let (hidden, rest) = computed(policy);
            assert_ne!(hidden, computed(model.policy()).0, "nothing was perturbed");
            let (want, want_rest) = computed(holding.policy());
            assert!(hidden == want && rest == want_rest, "{config:?} {dtype:?} {precision:?}");
            assert_eq!(bits(&model), before, "the weights were written");
            assert_eq!(arena.peak(), made, "more scratch than one block");
        }
    }
}

/// The gradients of a loss, topmost first.
fn gradients_of(policy: Policy<'_>, activations: Activations) -> Vec<(usize, Vec<f64>)> {
    let (packed, targets) = pack(&groups(37));
    let mut loss = |columns: &engine::ScoreTensors| Ok(columns.log_probs.sqr()?.sum_all()?);
    let mut all = Vec::new();
    engine::backward(policy, &packed, &targets, 0.7, activations, &mut loss, &mut |index, g| {
        all.push((index, values(&g)));
        Ok(())
    })
    .unwrap();
    all
}

#[test]
fn gradients_are_taken_at_the_perturbed_weights() {
    for config in configs() {
        let make = || model(config.clone(), DType::F32);
        let (model, holding) = (make(), make());
        apply(&holding, &SIGNS);
        let scratch = Scratch::new(&model.policy(), &Arena::default()).unwrap();
        let perturbed = Perturbed::new(&SIGNS, &scratch);
        let policy = model.policy().with_perturbed(Some(&perturbed)).unwrap();
        for activations in [Activations::Keep, Activations::Recompute] {
            let got = gradients_of(policy, activations);
            assert!(got == gradients_of(holding.policy(), activations));
        }
    }
}

/// Only what is not frozen is changed, and only that takes scratch memory.
#[test]
fn frozen_parameters_are_not_perturbed() {
    let head = |name: &str| name != "lm_head.weight";
    let one = |name: &str| !name.contains("layers.1.mlp.up");
    for (frozen, elements) in [(&head as &dyn Fn(&str) -> bool, 37 * 16), (&one, 24 * 16)] {
        let make = || {
            let mut model = model(config(Family::Qwen3), DType::F32);
            model.freeze(frozen).unwrap();
            model
        };
        let (model, holding, arena) = (make(), make(), Arena::new(None));
        apply(&holding, &SIGNS);
        let scratch = Scratch::new(&model.policy(), &arena).unwrap();
        assert_eq!(arena.peak(), 4 * elements);
        let perturbed = Perturbed::new(&SIGNS, &scratch);
        let policy = model.policy().with_perturbed(Some(&perturbed)).unwrap();
        assert!(computed(policy) == computed(holding.policy()));
    }
}

#[test]
fn scratch_of_other_parameters_is_refused() {
    let mut model = model(config(Family::Llama), DType::F32);
    let scratch = Scratch::new(&model.policy(), &Arena::default()).unwrap();
    model.freeze(|name| name.contains("mlp")).unwrap();
    let perturbed = Perturbed::new(&SIGNS, &scratch);
    let error = model.policy().with_perturbed(Some(&perturbed)).unwrap_err().to_string();
    assert!(error.contains("made for other trainable parameters"), "{error}");
}

#[test]
fn scratch_beyond_the_budget_is_refused() {
    let model = model(config(Family::Llama), DType::F32);
    let arena = Arena::new(None);
    Scratch::new(&model.policy(), &arena).unwrap();
    Scratch::new(&model.policy(), &Arena::new(Some(arena.peak()))).unwrap();
    let error = Scratch::new(&model.policy(), &Arena::new(Some(arena.peak() - 1))).unwrap_err();
    assert!(
        matches!(error, engine::Error::Budget { needed, budget, .. } if needed == budget + 1),
        "{error}"
    );
}

/// A cache belongs to the perturbation that it was made with.
#[test]
fn a_cache_of_another_perturbation_is_refused() {
    let model = model(config(Family::Llama), DType::F32);
    let scratch = Scratch::new(&model.policy(), &Arena::default()).unwrap();
    let [one, other] = [&SIGNS, &SIGNS].map(|signs| Perturbed::new(signs, &scratch));
    let [one, other] = [&one, &other].map(|own| model.policy().with_perturbed(Some(own)).unwrap());
    let mut cache = one.cache(1, 3).unwrap();
    cache.attach(0, one.prefill(&[1, 2]).unwrap()).unwrap();
    one.decode(&mut cache, &[(0, 1)], &mut Vec::new()).unwrap();
    for policy in [other, model.policy()] {
        let error = policy.decode(&mut cache, &[(0, 1)], &mut Vec::new()).unwrap_err();
        assert!(error.to_string().contains("made for other weights"), "{error}");
    }
    model.update(|_| ());
    let error = one.decode(&mut cache, &[(0, 1)], &mut Vec::new()).unwrap_err();
    assert!(error.to_string().contains("made for other weights"), "{error}");
}

/// A tied model under noise equals an untied one whose head was given the embedding's noise.
#[test]
fn a_tied_head_has_the_noise_of_the_embedding() {
    let tied = model(wide(&config(Family::Llama)), DType::F32);
    let untied = ModelConfig { tie_embeddings: false, ..tied.config().clone() };
    let mut parameters = tied.parameters().to_vec();
    parameters.push(tied.parameters()[0].clone());
    let mut own = parameters.iter();
    let mut get = |_: &str, _: &[usize]| Ok(own.next().unwrap().tensor.copy()?);
    let untied = engine::Model::new(untied, &mut get, DType::F32, &candle::Device::Cpu).unwrap();
    let last = parameters.len() - 1;
    let (signs, tying) = (SIGNS, Tying(SIGNS, last));
    let run = |model: &engine::Model, transform: &dyn engine::stream::Transform| {
        let scratch = Scratch::new(&model.policy(), &Arena::default()).unwrap();
        let perturbed = Perturbed::new(transform, &scratch);
        computed(model.policy().with_perturbed(Some(&perturbed)).unwrap())
    };
    let want = run(&tied, &signs);
    assert!(run(&untied, &tying) == want);
    assert!(run(&untied, &signs) != want, "a head with noise of its own");
}

/// Gives the last parameter the noise of the first.
#[derive(Debug)]
struct Tying(Signs, usize);

impl engine::stream::Transform for Tying {
    fn apply(&self, parameter: usize, first: usize, from: &[f32], to: &mut [f32]) {
        let parameter = if parameter == self.1 { 0 } else { parameter };
        self.0.apply(parameter, first, from, to);
    }
}

#[test]
fn weights_are_the_same_bits_after_many_probes() {
    let model = model(config(Family::Qwen2), DType::F32);
    let scratch = Scratch::new(&model.policy(), &Arena::default()).unwrap();
    let (before, mut packed) = (bits(&model), Packed::default());
    packed.push(&tokens(3, 6, 37), None).unwrap();
    for seed in 0..300 {
        let signs = Signs { seed, scale: 1e-3 };
        let perturbed = Perturbed::new(&signs, &scratch);
        let policy = model.policy().with_perturbed(Some(&perturbed)).unwrap();
        policy.score(&packed, &[Target { row: 4, token: 2 }], 1.0).unwrap();
    }
    assert_eq!(bits(&model), before);
}
