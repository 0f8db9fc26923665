//! Accumulation, missing names, the norm.

use candle::{DType, Device, Tensor};
use optim::Gradients;
use proptest::prelude::*;

use crate::objectives::{param, values};

#[test]
fn additions_leave_the_callers_tensor_alone_and_names_are_missing_until_added() {
    for dtype in [DType::F32, DType::F64, DType::BF16] {
        let params = ["a", "b", "c"].map(|name| param(name, &[0.0, 0.0], dtype));
        let mut gradients = Gradients::new(&params).unwrap();
        assert_eq!(gradients.missing(), ["a", "b", "c"]);
        let gradient =
            Tensor::new(&[1.0_f64, -2.0], &Device::Cpu).unwrap().to_dtype(dtype).unwrap();
        for times in 1..=3 {
            gradients.add(1, gradient.clone()).unwrap();
            assert_eq!(
                values(gradients.get(1).unwrap()),
                [1.0, -2.0].map(|x| x * f64::from(times))
            );
            assert_eq!(values(&gradient), [1.0, -2.0]);
        }
        assert_eq!(gradients.missing(), ["a", "c"]);
        assert!(gradients.get(0).is_none());
        assert!(gradients.norm().is_err());
        gradients.clear();
        assert!(gradients.get(1).is_none());
        gradients.add(1, gradient).unwrap();
        assert_eq!(values(gradients.get(1).unwrap()), [1.0, -2.0]);
    }
}

#[test]
fn a_transposed_view_is_added_in_row_major_order() {
    let start = Tensor::zeros((2, 3), DType::F32, &Device::Cpu).unwrap();
    let var = candle::Var::from_tensor(&start).unwrap();
    let mut gradients =
        Gradients::new(&[optim::Param { name: "w".into(), var, decay: true, lr_scale: 1.0 }])
            .unwrap();
    let view = Tensor::arange(0.0_f32, 6.0, &Device::Cpu).unwrap().reshape((3, 2)).unwrap();
    gradients.add(0, view.t().unwrap()).unwrap();
    gradients.add(0, view.t().unwrap()).unwrap();
    assert_eq!(values(gradients.get(0).unwrap()), [0.0, 4.0, 8.0, 2.0, 6.0, 10.0]);
}

#[test]
fn every_gradient_is_reduced_by_name_and_none_is_made_up() {
    let params = ["a", "b", "c"].map(|name| param(name, &[0.0, 0.0], DType::F32));
    let mut gradients = Gradients::new(&params).unwrap();
    let gradient = Tensor::new(&[1.0_f32, -2.0], &Device::Cpu).unwrap();
    gradients.add(0, gradient.clone()).unwrap();
    gradients.add(2, gradient.clone()).unwrap();
    let mut seen = Vec::new();
    let mut double = |name: &str, own: &Tensor| {
        seen.push(name.to_owned());
        Ok((own * 2.0)?)
    };
    gradients.reduce(&mut double).unwrap();
    assert_eq!(seen, ["a", "c"]);
    assert_eq!(gradients.missing(), ["b"]);
    // Further parts add to the result, and the caller's tensor stays as it is.
    gradients.add(2, gradient.clone()).unwrap();
    assert_eq!(values(gradients.get(2).unwrap()), [3.0, -6.0]);
    assert_eq!(values(&gradient), [1.0, -2.0]);
    let wrong = gradients.reduce(&mut |_, own| Ok(own.narrow(0, 0, 1)?)).unwrap_err();
    assert!(wrong.to_string().starts_with("gradient of a: expected shape [2]"), "{wrong}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Lengths on both sides of the chunk of 16384 that one thread takes.
    #[test]
    fn the_norm_is_the_root_of_all_squares(len in 1..40_000_usize, scale in -3.0..3.0_f64) {
        let numbers: Vec<f64> = (0..len).map(|i| (i as f64).sin() * scale).collect();
        for (dtype, bound) in [(DType::F64, 1e-13), (DType::F32, 1e-7)] {
            let params = [param("a", &numbers, dtype), param("b", &[1.0, 2.0], dtype)];
            let mut gradients = Gradients::new(&params).unwrap();
            for (index, param) in params.iter().enumerate() {
                gradients.add(index, param.var.as_detached_tensor()).unwrap();
            }
            let squares: f64 = numbers.iter().map(|x| x * x).sum();
            let expected = (squares + 5.0).sqrt();
            let norm = gradients.norm().unwrap();
            prop_assert!((norm / expected - 1.0).abs() < bound, "{norm} and {expected}");
        }
    }
}
