//! What is computed of the values of adapters themselves.

use candle::{DType, Tensor};
use engine::{Adapter, Family, ModelConfig, Module};

use super::config;
use crate::support::{self, adapted, adapter, close, configs, model};

/// The values of an adapter, parameter after parameter.
fn numbers(adapter: &Adapter) -> Vec<f32> {
    let value = |tensor: &Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    adapter.parameters().into_iter().flat_map(|(_, tensor)| value(tensor)).collect()
}

#[test]
fn the_norm_of_what_is_added_is_that_of_the_products_themselves() {
    for config in configs() {
        let model = adapted(model(config, DType::F32), 4);
        let adapter = model.adapter().unwrap();
        let direct = direct_norm(adapter);
        assert!(direct > 0.1, "{direct}");
        close(&[adapter.update_norm().unwrap()], &[direct], 1e-12);
    }
}

/// The norm of the products themselves.
fn direct_norm(adapter: &Adapter) -> f64 {
    let all = adapter.parameters();
    let products = all.chunks(2).map(|pair| {
        let [a, b] = [&pair[0], &pair[1]].map(|(_, one)| one.to_dtype(DType::F64).unwrap());
        let product = b.matmul(&a).unwrap() * adapter.config().scale();
        product.unwrap().sqr().unwrap().sum_all().unwrap().to_scalar::<f64>().unwrap()
    });
    products.sum::<f64>().sqrt()
}

/// Widths of more than two of the parts in which rows are multiplied, with a rest.
#[test]
fn the_norm_of_wide_maps_does_not_depend_on_the_number_of_threads() {
    let llama = support::config(Family::Llama);
    let wide = ModelConfig { hidden_size: 300, intermediate_size: 605, ..llama };
    let adapter = adapter(&model(wide, DType::F32), config(5, &Module::ALL), 3);
    let norm = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| adapter.update_norm().unwrap())
    };
    let one = norm(1);
    close(&[one], &[direct_norm(&adapter)], 1e-12);
    for threads in 2..6 {
        assert_eq!(norm(threads).to_bits(), one.to_bits(), "{threads} threads");
    }
}

#[test]
fn a_fresh_adapter_adds_nothing() {
    let base = model(configs()[0].clone(), DType::F32);
    let fresh =
        Adapter::fresh(config(4, &Module::ALL), base.config(), 5, DType::F32, base.device());
    assert_eq!(fresh.unwrap().update_norm().unwrap().to_bits(), 0.0_f64.to_bits());
}

#[test]
fn a_moved_adapter_is_between_the_two() {
    let base = model(configs()[0].clone(), DType::F32);
    let [one, other] = [1, 2].map(|seed| adapter(&base, config(4, &Module::ALL), seed));
    let bits = |adapter: &Adapter| numbers(adapter).iter().map(|x| x.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(&one.moved(&other, 0.0).unwrap()), bits(&one));
    assert_eq!(bits(&one.moved(&one, 0.3).unwrap()), bits(&one), "equal values stay, to the bit");
    let quarter = numbers(&one.moved(&other, 0.25).unwrap());
    let (ones, others) = (numbers(&one), numbers(&other));
    for ((own, one), other) in quarter.iter().zip(&ones).zip(&others) {
        let expected = 0.75 * one + 0.25 * other;
        assert!((own - expected).abs() < 1e-6, "{own} is not {expected}");
    }
    let rank = adapter(&base, config(2, &Module::ALL), 1);
    let targets = adapter(&base, config(4, &[Module::Q]), 1);
    for wrong in [rank, targets] {
        let error = one.moved(&wrong, 0.5).unwrap_err().to_string();
        assert!(error.contains("of different sizes"), "{error}");
    }
}
