//! Weights from other sources, frozen parameters, and what refuses weights that have changed.

use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use candle::{DType, Device, Tensor};
use engine::{
    Activations, Backend, BlockWeights, Cache, Family, MatmulPrecision, Model, ModelConfig, Policy,
    Prefix, Spec, Value, Version, WeightSource, Weights,
};

use crate::support::{config, configs, draws, groups, model, pack, tokens, values};

/// A model's weights, each plus a multiple of noise that is drawn again whenever a block is asked
/// for.
#[derive(Debug)]
struct Perturbed<'a> {
    model: &'a Model,
    specs: Weights<Spec>,
    scale: f64,
    version: Version,
    asked: AtomicUsize,
}

impl<'a> Perturbed<'a> {
    fn new(model: &'a Model, scale: f64) -> Self {
        let (specs, version) = (Weights::of(model.config()), Version::unique());
        Self { model, specs, scale, version, asked: AtomicUsize::new(0) }
    }

    fn perturb(&self, spec: &Spec, weight: &Value) -> engine::Result<Tensor> {
        let weight = weight.tensor(self.model.dtype(), self.model.device())?;
        let seed = spec.name.bytes().fold(1u64, |seed, byte| seed * 31 % 65_521 + u64::from(byte));
        let mut draw = draws(seed);
        let noise: Vec<f64> = (0..spec.elem_count()).map(|_| self.scale * draw()).collect();
        let noise = Tensor::from_vec(noise, spec.shape.as_slice(), &Device::Cpu)?;
        Ok((weight.detach() + noise.to_dtype(weight.dtype())?)?)
    }
}

impl WeightSource for Perturbed<'_> {
    fn version(&self) -> Version {
        self.version
    }

    fn embed(&self) -> engine::Result<Value> {
        Ok(self.perturb(&self.specs.embed, &self.model.embed()?)?.into())
    }

    fn block(&self, layer: usize) -> engine::Result<Cow<'_, BlockWeights<Value>>> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let block = self.model.block(layer)?;
        let pairs = self.specs.blocks[layer].as_ref().zip((*block).as_ref())?;
        let perturb = |(spec, weight)| self.perturb(spec, weight).map(Value::Tensor);
        Ok(Cow::Owned(pairs.try_map(perturb)?))
    }

    fn norm(&self) -> engine::Result<Tensor> {
        self.perturb(&self.specs.norm, &self.model.norm()?.into())
    }

    fn head(&self) -> engine::Result<Value> {
        Ok(self.perturb(self.specs.head(), &self.model.head()?)?.into())
    }
}

/// The model that holds the weights that a source hands out.
fn holding(source: &Perturbed<'_>, dtype: DType) -> Model {
    let mut get = |name: &str, shape: &[usize]| {
        let own = source.model.parameters().iter().find(|own| own.name == name).unwrap();
        let spec = Spec { name: name.to_owned(), shape: shape.to_vec() };
        source.perturb(&spec, &own.tensor.clone().into())
    };
    Model::new(source.model.config().clone(), &mut get, dtype, &Device::Cpu).unwrap()
}

/// The gradients of a loss by the name of their parameter, topmost first.
fn gradients(
    policy: Policy<'_>,
    model: &Model,
    activations: Activations,
) -> Vec<(String, Vec<f64>)> {
    let (packed, targets) = pack(&groups(37));
    let names: Vec<&str> = model.trainable().map(|parameter| parameter.name.as_str()).collect();
    let mut loss = |columns: &engine::ScoreTensors| {
        Ok((columns.log_probs.sqr()?.sum_all()? + columns.entropies.sum_all()?)?)
    };
    let mut gradients = Vec::new();
    engine::backward(policy, &packed, &targets, 0.7, activations, &mut loss, &mut |index, g| {
        gradients.push((names[index].to_owned(), values(&g)));
        Ok(())
    })
    .unwrap();
    gradients
}

/// Logits of a prompt and of the steps after it.
fn decoded(policy: Policy<'_>) -> Vec<Vec<f32>> {
    let mut cache = policy.cache(2, 5).unwrap();
    let prompt = policy.prefill(&tokens(1, 17, 37)).unwrap();
    let mut all = vec![prompt.logits().to_vec()];
    for slot in 0..2 {
        cache.attach(slot, prompt.clone()).unwrap();
    }
    for token in 0..5 {
        let mut logits = Vec::new();
        policy.decode(&mut cache, &[(0, token), (1, token + 5)], &mut logits).unwrap();
        all.push(logits);
    }
    all
}

#[test]
fn weights_of_a_source_compute_as_a_model_that_holds_them() {
    for config in configs() {
        for dtype in [DType::F32, DType::F64] {
            let model = model(config.clone(), dtype);
            let source = Perturbed::new(&model, 0.1);
            let holding = holding(&source, dtype);
            let (policy, want) = (model.policy_with(&source), holding.policy());
            let (packed, targets) = pack(&groups(37));
            let hidden = values(&policy.hidden(&packed).unwrap());
            assert_eq!(hidden, values(&want.hidden(&packed).unwrap()));
            assert_ne!(hidden, values(&model.hidden(&packed).unwrap()), "nothing was perturbed");
            let scores = policy.score(&packed, &targets, 0.7).unwrap();
            assert_eq!(scores, want.score(&packed, &targets, 0.7).unwrap());
            assert_eq!(decoded(policy), decoded(want));
            for activations in [Activations::Keep, Activations::Recompute] {
                let got = gradients(policy, &model, activations);
                assert_eq!(got, gradients(want, &holding, activations));
                assert_eq!(got.len(), model.parameters().len());
            }
            assert!(source.asked.load(Ordering::Relaxed) > 0);
        }
    }
}

#[test]
fn rounded_copies_are_made_of_the_weights_of_the_source() {
    for config in configs() {
        let bf16 = |model: Model| model.with_precision(MatmulPrecision::Bf16).unwrap();
        let model = bf16(model(config, DType::F32));
        let source = Perturbed::new(&model, 0.1);
        let holding = bf16(holding(&source, DType::F32));
        let got = decoded(model.policy_with(&source));
        assert_eq!(got, decoded(holding.policy()));
        assert_ne!(got, decoded(model.policy()));
    }
}

/// Hands out a final norm that is not the model's.
#[derive(Debug)]
struct Misfit<'a>(&'a Model, Tensor);

impl WeightSource for Misfit<'_> {
    fn version(&self) -> Version {
        self.0.version()
    }

    fn embed(&self) -> engine::Result<Value> {
        self.0.embed()
    }

    fn block(&self, layer: usize) -> engine::Result<Cow<'_, BlockWeights<Value>>> {
        self.0.block(layer)
    }

    fn norm(&self) -> engine::Result<Tensor> {
        Ok(self.1.clone())
    }

    fn head(&self) -> engine::Result<Value> {
        self.0.head()
    }
}

#[test]
fn a_source_whose_weights_do_not_fit_is_refused() {
    let model = model(config(Family::Llama), DType::F32);
    for (norm, found) in [
        (Tensor::ones(15, DType::F32, &Device::Cpu), "[15] of f32"),
        (Tensor::ones(16, DType::F64, &Device::Cpu), "[16] of f64"),
    ] {
        let source = Misfit(&model, norm.unwrap());
        let error = model.policy_with(&source).hidden(&pack(&groups(37)).0).unwrap_err();
        let expected = format!("model.norm.weight: expected [16] of f32, its source has {found}");
        assert!(error.to_string().contains(&expected), "{error}");
    }
}

/// Whether a parameter of this name is frozen.
type Frozen<'a> = &'a dyn Fn(&str) -> bool;

#[test]
fn frozen_parameters_get_no_gradient_and_the_others_the_same_bits() {
    let norms = |name: &str| !name.contains("norm");
    let embedding = |name: &str| name == "model.embed_tokens.weight";
    let head = |name: &str| name != "lm_head.weight" && name != "model.embed_tokens.weight";
    let top = |name: &str| !name.contains("layers.1.mlp");
    let final_norm = |name: &str| name != "model.norm.weight";
    let bottom = |name: &str| !name.contains("layers.0.self_attn.k_proj");
    let head_alone = |name: &str| name != "lm_head.weight";
    let cases: [(&str, Frozen<'_>); 7] = [
        ("all but the norms", &norms),
        ("the embedding alone", &embedding),
        ("all but the embedding and the head", &head),
        ("all but one feed-forward layer", &top),
        ("all but the final norm", &final_norm),
        ("all but the keys of the lowest block", &bottom),
        ("all but the head", &head_alone),
    ];
    for config in configs() {
        for dtype in [DType::F32, DType::F64] {
            let mut model = model(config.clone(), dtype);
            for activations in [Activations::Keep, Activations::Recompute] {
                model.freeze(|_| false).unwrap();
                let all = gradients(model.policy(), &model, activations);
                for (case, frozen) in cases {
                    if all.iter().all(|(name, _)| frozen(name)) {
                        assert!(config.tie_embeddings, "{case}");
                        continue;
                    }
                    model.freeze(frozen).unwrap();
                    let got = gradients(model.policy(), &model, activations);
                    let want: Vec<_> =
                        all.iter().filter(|(name, _)| !frozen(name)).cloned().collect();
                    assert!(got == want, "{:?} {dtype:?}, frozen: {case}", config.family);
                    assert_eq!(got.len(), model.trainable().count());
                }
            }
        }
    }
}

#[test]
fn a_model_with_nothing_to_train_is_refused() {
    let mut model = model(config(Family::Qwen3), DType::F32);
    model.freeze(|name| name.contains("mlp")).unwrap();
    let before = model.trainable().count();
    let error = model.freeze(|_| true).unwrap_err().to_string();
    assert!(error.contains("all 25 parameters would be frozen"), "{error}");
    assert_eq!(model.trainable().count(), before, "a refusal changes nothing");
}

#[test]
fn a_cache_of_weights_that_have_changed_is_refused() {
    for dtype in [DType::F32, DType::F64] {
        let model = model(config(Family::Llama), dtype);
        let mut cache = model.cache(1, 3).unwrap();
        cache.attach(0, model.prefill(&[1, 2]).unwrap()).unwrap();
        model.decode(&mut cache, &[(0, 1)], &mut Vec::new()).unwrap();
        model.update(|_| ());
        let error = model.decode(&mut cache, &[(0, 1)], &mut Vec::new()).unwrap_err().to_string();
        assert!(error.contains("make a new cache, and prefill the prompts again"), "{error}");
        let mut cache = model.cache(1, 3).unwrap();
        let model = model.with_precision(MatmulPrecision::F32).unwrap();
        let error = model.decode(&mut cache, &[], &mut Vec::new()).unwrap_err().to_string();
        assert!(error.contains("made for other weights"), "{error}");
        let source = Perturbed::new(&model, 0.1);
        let mut cache = model.cache(1, 3).unwrap();
        cache.attach(0, model.prefill(&[1, 2]).unwrap()).unwrap();
        let policy = model.policy_with(&source);
        let error = policy.decode(&mut cache, &[(0, 1)], &mut Vec::new()).unwrap_err().to_string();
        assert!(error.contains("made for other weights"), "{error}");
    }
}

/// Hands out a model's weights until there are none left.
#[derive(Debug)]
struct Failing<'a>(&'a Model, AtomicUsize);

impl WeightSource for Failing<'_> {
    fn version(&self) -> Version {
        self.0.version()
    }

    fn embed(&self) -> engine::Result<Value> {
        self.0.embed()
    }

    fn block(&self, layer: usize) -> engine::Result<Cow<'_, BlockWeights<Value>>> {
        let left = self.1.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1));
        left.map_err(|_| engine::Error::Input("the disk is gone".into()))?;
        self.0.block(layer)
    }

    fn norm(&self) -> engine::Result<Tensor> {
        self.0.norm()
    }

    fn head(&self) -> engine::Result<Value> {
        self.0.head()
    }
}

#[test]
fn a_step_whose_weights_are_not_available_adds_no_row() {
    for dtype in [DType::F32, DType::F64] {
        let model = model(config(Family::Llama), dtype);
        let (feed, mut want) = ([(0, 1), (1, 2), (2, 3)], Vec::new());
        let cache = || {
            let mut cache = model.cache(3, 4).unwrap();
            let prompt = model.prefill(&[1, 2]).unwrap();
            for slot in 0..3 {
                cache.attach(slot, prompt.clone()).unwrap();
            }
            cache
        };
        model.decode(&mut cache(), &feed, &mut want).unwrap();
        let mut cache = cache();
        for available in 0..2 {
            let source = Failing(&model, AtomicUsize::new(available));
            let policy = model.policy_with(&source);
            let error = policy.decode(&mut cache, &feed, &mut Vec::new()).unwrap_err();
            assert!(error.to_string().contains("the disk is gone"), "{error}");
        }
        let mut got = Vec::new();
        model.decode(&mut cache, &feed, &mut got).unwrap();
        assert_eq!(got, want);
    }
}

#[test]
fn a_prefix_that_cannot_be_attached_is_refused() {
    let model = model(config(Family::Llama), DType::F32);
    let stale = model.prefill(&[1, 2]).unwrap();
    model.update(|_| ());
    let mut cache = model.cache(1, 3).unwrap();
    let prefix = model.prefill(&[1, 2]).unwrap();
    let mut refused = |slot, prefix: &Arc<Prefix>, why: &str| {
        let error = cache.attach(slot, prefix.clone()).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    };
    refused(0, &stale, "slot 0: the prefix was made from other weights");
    refused(1, &prefix, "slot 1: the cache has 1 slots");
    cache.attach(0, prefix.clone()).unwrap();
    let error = cache.attach(0, prefix).unwrap_err().to_string();
    assert!(error.contains("slot 0: a prompt is attached already"), "{error}");
    model.decode(&mut cache, &[(0, 1)], &mut Vec::new()).unwrap();
}

#[test]
fn a_cache_from_before_or_during_an_update_is_refused_even_when_the_update_panics() {
    let model = model(config(Family::Llama), DType::F32);
    let new_cache = || {
        let mut cache = model.cache(1, 3).unwrap();
        cache.attach(0, model.prefill(&[1, 2]).unwrap()).unwrap();
        cache
    };
    let refused = |cache: &mut Cache| {
        let error = model.decode(cache, &[(0, 1)], &mut Vec::new()).unwrap_err().to_string();
        assert!(error.contains("made for other weights"), "{error}");
    };
    for panics in [false, true] {
        let (mut before, mut during) = (new_cache(), None);
        let update = || {
            model.update(|_| {
                refused(&mut before);
                during = Some(new_cache());
                assert!(!panics, "half of the weights are written");
            });
        };
        assert_eq!(catch_unwind(AssertUnwindSafe(update)).is_err(), panics);
        refused(&mut before);
        refused(&mut during.unwrap());
        model.decode(&mut new_cache(), &[(0, 1)], &mut Vec::new()).unwrap();
    }
}

#[test]
fn a_precision_that_the_backend_does_not_have_is_refused() {
    let model = |dtype| model(config(Family::Llama), dtype);
    assert!(matches!(model(DType::F32).policy().backend(), Backend::Cpu { .. }));
    assert_eq!(model(DType::F64).policy().backend(), Backend::Reference);
    model(DType::F64).with_precision(MatmulPrecision::F32).unwrap();
    let error = model(DType::F64).with_precision(MatmulPrecision::Bf16).unwrap_err().to_string();
    assert!(error.contains("need f32 weights on a CPU"), "{error}");
}

#[test]
fn every_parameter_has_one_name_and_the_order_of_the_list() {
    for config in configs().into_iter().flat_map(|config| {
        [true, false].map(|tie_embeddings| ModelConfig { tie_embeddings, ..config.clone() })
    }) {
        let model = model(config.clone(), DType::F32);
        let mut listed = Vec::new();
        Weights::of(&config).visit(|spec| listed.push((spec.name.clone(), spec.shape.clone())));
        let built: Vec<_> = model
            .parameters()
            .iter()
            .map(|parameter| (parameter.name.clone(), parameter.tensor.dims().to_vec()))
            .collect();
        assert_eq!(built, listed);
        let mut names: Vec<_> = built.iter().map(|(name, _)| name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), built.len(), "no name twice");
    }
}
