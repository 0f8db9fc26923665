//! What a model is built from: its configuration and its weights.

use candle::{DType, Device, Tensor};
use engine::{Error, Family, Model, ModelConfig};

use crate::support::config;

/// A model whose weights are `value` everywhere, stored in `stored` and used in `dtype`.
fn uniform(value: f64, stored: DType, dtype: DType) -> engine::Result<Model> {
    let mut get =
        |_: &str, shape: &[usize]| Ok(Tensor::full(value, shape, &Device::Cpu)?.to_dtype(stored)?);
    Model::new(config(Family::Llama), &mut get, dtype, &Device::Cpu)
}

#[test]
fn a_configuration_that_contradicts_itself_makes_no_model() {
    for (wrong, named) in [
        (ModelConfig { head_dim: 1, ..config(Family::Llama) }, "head_dim is 1"),
        (ModelConfig { head_dim: 0, ..config(Family::Llama) }, "head_dim is 0"),
        (ModelConfig { num_kv_heads: 3, ..config(Family::Llama) }, "num_key_value_heads 3"),
        (ModelConfig { rms_norm_eps: f64::NAN, ..config(Family::Llama) }, "rms_norm_eps is NaN"),
    ] {
        match Model::random(wrong, 1, DType::F32, &Device::Cpu) {
            Err(Error::Config(problem)) => assert!(problem.contains(named), "{problem}"),
            other => panic!("expected a refusal that names {named}, got {other:?}"),
        }
    }
}

/// The sum of a weight's elements may overflow where every element is finite.
#[test]
fn weights_whose_sum_overflows_are_sound() {
    for dtype in [DType::F16, DType::BF16, DType::F32] {
        let largest = if dtype == DType::F16 { 6e4 } else { 3e38 };
        uniform(largest, dtype, dtype).unwrap();
        uniform(-largest, dtype, dtype).unwrap();
    }
}

#[test]
fn a_weight_that_is_not_finite_is_refused_in_every_type() {
    for dtype in [DType::F16, DType::BF16, DType::F32, DType::F64] {
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let error = uniform(value, dtype, dtype).unwrap_err().to_string();
            assert!(error.contains("not finite: the file is damaged"), "{dtype:?}: {error}");
        }
    }
}

#[test]
fn a_weight_too_large_for_the_type_asked_for_is_told_from_a_damaged_one() {
    let error = uniform(7e4, DType::F32, DType::F16).unwrap_err().to_string();
    assert!(error.contains("too large for f16: load the model as f32"), "{error}");
}
