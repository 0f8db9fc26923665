//! PEFT's golden vectors: `testdata/lora/README.md`.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use candle::{DType, Device, Tensor};
use engine::{Activations, Adapter, Model, Packed, Target, WeightSource, backward, load};
use kernels::adamw::Update;

use crate::support::values;

pub(crate) const MODELS: [&str; 2] = ["llama", "qwen2"];

pub(crate) fn folder(model: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/lora").join(model)
}

pub(crate) fn expected(name: &str) -> HashMap<String, Tensor> {
    let path = folder(name).join("expected.safetensors");
    candle::safetensors::load(path, &Device::Cpu).unwrap()
}

fn base(name: &str, dtype: DType) -> Model {
    load(&folder(name).join("base"), &Device::Cpu, dtype).unwrap().0
}

fn with_adapter(name: &str, dtype: DType) -> Model {
    let base = base(name, dtype);
    let adapter = folder(name).join("adapter");
    let adapter = Adapter::open(&adapter, base.config(), dtype, &Device::Cpu).unwrap();
    base.with_adapter(adapter).unwrap()
}

/// Both sequences, and what follows each token.
pub(crate) fn batch(expected: &HashMap<String, Tensor>) -> (Packed, Vec<Target>) {
    let ids = expected["input_ids"].to_dtype(DType::U32).unwrap().to_vec2::<u32>().unwrap();
    let (mut packed, mut targets) = (Packed::default(), Vec::new());
    for ids in ids {
        let start = packed.rows();
        packed.push(&ids, None).unwrap();
        targets.extend((1..ids.len()).map(|i| Target { row: start + i - 1, token: ids[i] }));
    }
    (packed, targets)
}

/// Logits of every row, from the hidden states.
pub(crate) fn logits(policy: engine::Policy<'_>, model: &Model, packed: &Packed) -> Tensor {
    let head = model.head().unwrap().tensor(model.dtype(), model.device()).unwrap().detach();
    policy.hidden(packed).unwrap().matmul(&head.t().unwrap()).unwrap()
}

/// Largest difference over largest value.
pub(crate) fn distance(got: &Tensor, want: &Tensor) -> f64 {
    let (got, want) = (values(got), values(want));
    assert_eq!(got.len(), want.len());
    let largest = want.iter().fold(0.0, |most: f64, x| most.max(x.abs()));
    got.iter().zip(&want).fold(0.0, |most: f64, (a, b)| most.max((a - b).abs())) / largest
}

/// The value of the loss, and the gradient of each parameter of the adapter.
fn descend(
    model: &Model,
    (packed, targets): &(Packed, Vec<Target>),
    activations: Activations,
) -> (f64, Vec<Tensor>) {
    let mut gradients = vec![None; model.trainable().count()];
    let mut loss = |columns: &engine::ScoreTensors| Ok(columns.log_probs.mean_all()?.neg()?);
    let mut sink = |index: usize, gradient: Tensor| {
        gradients[index] = Some(gradient);
        Ok(())
    };
    let output = backward(model, packed, targets, 1.0, activations, &mut loss, &mut sink).unwrap();
    (output.loss, gradients.into_iter().map(Option::unwrap).collect())
}

#[test]
fn logits_loss_and_gradients_are_those_of_peft() {
    for name in MODELS {
        let expected = expected(name);
        let losses = std::fs::read_to_string(folder(name).join("expected.json")).unwrap();
        let losses: serde_json::Value = serde_json::from_str(&losses).unwrap();
        let batch = batch(&expected);
        for dtype in [DType::F32, DType::F64] {
            let model = with_adapter(name, dtype);
            let on = logits(model.policy(), &model, &batch.0);
            let off = model.policy().with_adapter(None).unwrap();
            let off = logits(off, &model, &batch.0);
            for (got, want) in [(&on, "logits_on"), (&off, "logits_off")] {
                let far = distance(got, &expected[want]);
                assert!(far < 1e-5, "{name}, {dtype:?}: {want} is {far} away");
            }
            let want = losses["loss_on"].as_f64().unwrap();
            assert_gradients(&model, &expected, want, name);
        }
    }
}

/// Compares the logits, the value of the loss and the gradients with expected ones.
pub(crate) fn assert_golden(model: &Model, expected: &HashMap<String, Tensor>, name: &str) {
    let batch = batch(expected);
    let far = distance(&logits(model.policy(), model, &batch.0), &expected["logits_on"]);
    assert!(far < 1e-5, "{name}: logits are {far} away");
    let off = model.policy().with_adapter(None).unwrap();
    let far = distance(&logits(off, model, &batch.0), &expected["logits_off"]);
    assert!(far < 1e-5, "{name}: logits of the base are {far} away");
    let losses = std::fs::read_to_string(folder(name).join("expected.json")).unwrap();
    let losses: serde_json::Value = serde_json::from_str(&losses).unwrap();
    let want = losses["blocks"]["loss_on"].as_f64().unwrap();
    assert_gradients(model, expected, want, name);
}

fn assert_gradients(model: &Model, expected: &HashMap<String, Tensor>, want: f64, name: &str) {
    for activations in [Activations::Keep, Activations::Recompute] {
        let (loss, gradients) = descend(model, &batch(expected), activations);
        assert!((loss - want).abs() < 1e-5, "{name}: loss {loss}, expected {want}");
        for (own, gradient) in model.trainable().zip(&gradients) {
            let want = &expected[&format!("grad.base_model.model.{}", own.name)];
            let far = distance(gradient, want);
            assert!(far < 1e-5, "{name}, {activations:?}: gradient of {} is {far}", own.name);
        }
        let all = expected.keys().filter(|key| key.starts_with("grad.")).count();
        assert_eq!(gradients.len(), all);
    }
}

/// Negative controls: what a scale that is read wrongly would compute is far from the vectors.
#[test]
fn another_scale_gives_other_logits() {
    for (name, key, value) in [
        ("llama", "\"lora_alpha\": 8", "\"lora_alpha\": 32"),
        ("qwen2", "\"use_rslora\": true", "\"use_rslora\": false"),
    ] {
        let temp = tempfile::TempDir::new().unwrap();
        for file in ["adapter_config.json", "adapter_model.safetensors"] {
            std::fs::copy(folder(name).join("adapter").join(file), temp.path().join(file)).unwrap();
        }
        let path = temp.path().join("adapter_config.json");
        let keys = std::fs::read_to_string(&path).unwrap();
        assert!(keys.contains(key), "{keys}");
        std::fs::write(&path, keys.replace(key, value)).unwrap();
        let base = base(name, DType::F32);
        let adapter = Adapter::open(temp.path(), base.config(), DType::F32, &Device::Cpu).unwrap();
        let (expected, model) = (expected(name), base.with_adapter(adapter).unwrap());
        let got = logits(model.policy(), &model, &batch(&expected).0);
        let far = distance(&got, &expected["logits_on"]);
        assert!(far > 0.05, "{name}: {far}");
    }
}

/// The model with the values of PEFT's adapter changed.
fn with_changed(name: &str, change: fn(&mut HashMap<String, Tensor>)) -> Model {
    let (temp, theirs) = (tempfile::TempDir::new().unwrap(), folder(name).join("adapter"));
    let [settings, file] = ["adapter_config.json", "adapter_model.safetensors"];
    std::fs::copy(theirs.join(settings), temp.path().join(settings)).unwrap();
    let mut tensors = candle::safetensors::load(theirs.join(file), &Device::Cpu).unwrap();
    change(&mut tensors);
    candle::safetensors::save(&tensors, temp.path().join(file)).unwrap();
    let base = base(name, DType::F32);
    let adapter = Adapter::open(temp.path(), base.config(), DType::F32, &Device::Cpu).unwrap();
    base.with_adapter(adapter).unwrap()
}

/// Gives every tensor whose name has this part another value, which is made of it and of that of
/// the other half.
fn replace(
    tensors: &mut HashMap<String, Tensor>,
    part: &str,
    value: fn(&Tensor, &Tensor) -> candle::Result<Tensor>,
) {
    let other = |name: &str| {
        let [a, b] = ["lora_A", "lora_B"];
        if name.contains(a) { name.replace(a, b) } else { name.replace(b, a) }
    };
    let own = |name: &&String| name.contains(part);
    let changed = tensors.keys().filter(own).map(|name| {
        let changed = value(&tensors[name], &tensors[&other(name)]).unwrap();
        (name.clone(), changed)
    });
    let changed: Vec<_> = changed.collect();
    assert!(!changed.is_empty(), "{part}");
    tensors.extend(changed);
}

/// Negative controls of [`logits_loss_and_gradients_are_those_of_peft`]: values in the wrong place
/// give logits and gradients that are far from the vectors, and it is the change that does so.
#[test]
fn values_in_the_wrong_place_give_other_logits_and_gradients() {
    type Change = fn(&mut HashMap<String, Tensor>);
    let changes: [(&str, Change); 5] = [
        ("nothing", |_| ()),
        // Queries are as wide as the model, so the shapes fit.
        ("A and B exchanged", |all| replace(all, "q_proj", |_, other| other.t()?.contiguous())),
        ("A without its last row", |all| {
            replace(all, "lora_A", |own, _| {
                let rows = own.dim(0)? - 1;
                Tensor::cat(&[own.narrow(0, 0, rows)?, own.narrow(0, rows, 1)?.zeros_like()?], 0)
            });
        }),
        ("the upper block left out", |all| {
            replace(all, "layers.1", |own, _| own.zeros_like());
        }),
        ("one map left out", |all| {
            replace(all, "layers.0.self_attn.v_proj.lora_B", |own, _| own.zeros_like());
        }),
    ];
    for name in MODELS {
        let expected = expected(name);
        let batch = batch(&expected);
        for (what, change) in changes {
            let model = with_changed(name, change);
            let got = logits(model.policy(), &model, &batch.0);
            let far = distance(&got, &expected["logits_on"]);
            let (_, gradients) = descend(&model, &batch, Activations::Keep);
            let farthest = model.trainable().zip(&gradients).map(|(own, gradient)| {
                let want = &expected[&format!("grad.base_model.model.{}", own.name)];
                distance(gradient, want)
            });
            let farthest = farthest.fold(0.0, f64::max);
            let bounds = if what == "nothing" { 0.0..1e-5 } else { 1e-3..f64::INFINITY };
            assert!(bounds.contains(&far), "{name}, {what}: logits are {far} away");
            assert!(bounds.contains(&farthest), "{name}, {what}: gradients are {farthest} away");
        }
    }
}

#[test]
fn decoding_gives_the_logits_of_peft() {
    for name in MODELS {
        let expected = expected(name);
        let model = with_adapter(name, DType::F32);
        let ids = expected["input_ids"].to_dtype(DType::U32).unwrap().to_vec2::<u32>().unwrap();
        let mut cache = model.cache(2, 12).unwrap();
        let mut rows = [Vec::new(), Vec::new()];
        for (slot, ids) in ids.iter().enumerate() {
            let prompt = model.prefill(&ids[..3]).unwrap();
            rows[slot].extend_from_slice(prompt.logits());
            cache.attach(slot, prompt).unwrap();
        }
        for (&first, &second) in ids[0][3..].iter().zip(&ids[1][3..]) {
            let (feed, mut logits) = ([(0, first), (1, second)], Vec::new());
            model.decode(&mut cache, &feed, &mut logits).unwrap();
            let (first, second) = logits.split_at(logits.len() / 2);
            rows[0].extend_from_slice(first);
            rows[1].extend_from_slice(second);
        }
        let got = Tensor::new(rows.concat(), &Device::Cpu).unwrap();
        let want = expected["logits_on"].narrow(1, 2, 10).unwrap().contiguous().unwrap();
        let far = distance(&got, &want);
        assert!(far < 1e-5, "{name}: {far}");
    }
}

/// The settings of `expected.safetensors`.
fn adamw(update: i32) -> Update {
    let (beta1, beta2) = (0.9_f64, 0.999_f64);
    Update {
        beta1,
        beta2,
        eps: 1e-8,
        clip: 1.0,
        rate: 1e-3 / (1.0 - beta1.powi(update)),
        root: 1.0 / (1.0 - beta2.powi(update)).sqrt(),
        decay: 0.0,
    }
}

#[test]
fn steps_of_adamw_end_where_those_of_torch_end() {
    for name in MODELS {
        let expected = expected(name);
        let (model, batch) = (with_adapter(name, DType::F32), batch(&expected));
        let mut moments = HashMap::new();
        for update in 1..=3 {
            let (_, gradients) = descend(&model, &batch, Activations::Keep);
            model.update(|variables| {
                for ((own, variable), gradient) in variables.trainable().zip(gradients) {
                    let plain = |x: &Tensor| x.flatten_all().unwrap().to_vec1::<f32>().unwrap();
                    let (mut x, gradient) = (plain(variable.as_tensor()), plain(&gradient));
                    let (first, second) = moments
                        .entry(own.name.clone())
                        .or_insert_with(|| (vec![0.0; x.len()], vec![0.0; x.len()]));
                    adamw(update).apply(&mut x, first, second, &gradient);
                    let x = Tensor::from_vec(x, variable.shape(), &Device::Cpu).unwrap();
                    variable.set(&x).unwrap();
                }
            });
            if update > 1 {
                continue;
            }
            for own in model.trainable() {
                let want = values(&expected[&format!("after_1.base_model.model.{}", own.name)]);
                for (got, want) in values(&own.tensor).iter().zip(want) {
                    assert!((got - want).abs() < 1e-6, "{name}: {}: {got}, {want}", own.name);
                }
            }
        }
        let far = distance(&logits(model.policy(), &model, &batch.0), &expected["logits_after_3"]);
        assert!(far < 1e-4, "{name}: {far}");
    }
}
