//! Models in bf16 and f16: what is summed, exponentiated or subtracted is computed in f32 or f64.

use candle::{D, DType, Device, Tensor};
use engine::backend::reference::ops;
use engine::loss::{LossColumns, LossConfig, LossSums};
use engine::{Activations, Family, Model, ModelConfig, Packed, Target};

use crate::support::{close, config, configs, draws, groups, model, pack, tokens, values, wide};

const HALF: [DType; 2] = [DType::BF16, DType::F16];

/// The usual loss of a pack by each way to compute it, with the old log-probs that `old` makes of
/// the present ones.
fn losses(
    model: &Model,
    (packed, targets): &(Packed, Vec<Target>),
    old: fn(f32) -> f32,
) -> [(f64, LossSums); 3] {
    let scores = model.score(packed, targets, 0.7).unwrap();
    let old: Vec<f32> = scores.log_probs.iter().map(|&x| old(x)).collect();
    let ones = vec![1.0; targets.len()];
    let columns = LossColumns {
        old_log_probs: &old,
        advantages: &ones,
        weights: &ones,
        coefficients: &ones,
        lengths: &[targets.len()],
        ..LossColumns::default()
    };
    let config = LossConfig { entropy_coefficient: 0.25, ..LossConfig::default() };
    [None, Some(Activations::Keep), Some(Activations::Recompute)].map(|activations| {
        let mut sums = LossSums::default();
        let mut loss = |scores: &engine::ScoreTensors| {
            let (loss, own) = config.loss(&scores.log_probs, &scores.entropies, &columns)?;
            sums += own;
            Ok(loss)
        };
        let passed = match activations {
            None => engine::forward(model, packed, targets, 0.7, &mut loss),
            Some(activations) => {
                let sink = &mut |_, _| Ok(());
                engine::backward(model, packed, targets, 0.7, activations, &mut loss, sink)
            }
        };
        let passed = passed.unwrap();
        assert_eq!(passed.scores, scores);
        (passed.loss, sums)
    })
}

#[test]
fn the_loss_is_the_same_number_with_and_without_its_gradient() {
    for config in configs() {
        for dtype in [DType::F32, DType::BF16, DType::F16, DType::F64] {
            let model = model(config.clone(), dtype);
            let [alone, kept, recomputed] = losses(&model, &pack(&groups(37)), |x| x + 0.1);
            for (loss, sums) in [kept, recomputed] {
                assert_eq!(alone.0.to_bits(), loss.to_bits(), "{:?} {dtype:?}", config.family);
                assert_eq!(alone.1, sums, "{:?} {dtype:?}", config.family);
            }
        }
    }
}

#[test]
fn log_probs_of_a_half_width_model_are_not_rounded_before_they_are_compared() {
    for dtype in HALF {
        let model = model(config(Family::Llama), dtype);
        let batch = pack(&groups(37));
        let [same, ..] = losses(&model, &batch, |x| x);
        assert!(same.1.old_kl == 0.0, "{dtype:?}: equal log-probs have a ratio of 1");
        let [near, ..] = losses(&model, &batch, |x| x + 1e-3);
        close(&[near.1.ppo_kl()], &[1e-3], 1e-6);
    }
}

/// The head of several chunks against f64 on the same hidden states and weights. Sums in the
/// model's type would be off by some hundredths.
#[test]
fn a_half_width_head_is_summed_in_f32() {
    let vocab = 5000;
    let config = ModelConfig { vocab_size: vocab, ..config(Family::Qwen3) };
    for dtype in HALF {
        let model = model(config.clone(), dtype);
        let mut packed = Packed::default();
        let prompt = packed.push(&[1, 2, 3], None).unwrap();
        let targets = packed.push_completion(prompt, &tokens(5, 12, vocab)).unwrap();
        let scores = model.score(&packed, &targets, 0.7).unwrap();
        let f64s = |x: &Tensor| x.to_dtype(DType::F64).unwrap();
        let head = model.parameters().last().unwrap();
        assert_eq!(head.name, "lm_head.weight");
        let (hidden, head) = (f64s(&model.hidden(&packed).unwrap()), f64s(&head.tensor));
        let logits = (hidden.matmul(&head.t().unwrap()).unwrap() / 0.7).unwrap();
        let exp = logits.exp().unwrap().sum(D::Minus1).unwrap();
        let (logits, sums) = (logits.to_vec2::<f64>().unwrap(), values(&exp));
        let want: Vec<f64> =
            targets.iter().map(|t| logits[t.row][t.token as usize] - sums[t.row].ln()).collect();
        close(&wide(&scores.log_probs), &want, 2e-6);
        // Decoding reads the same head.
        let prefix = model.prefill(&[1, 2, 3]).unwrap();
        let scaled: Vec<f64> = wide(prefix.logits()).iter().map(|x| x / 0.7).collect();
        close(&scaled, &logits[2], 2e-6);
    }
}

/// Only the result is rounded: half a unit in the last place, and the error of f32.
#[test]
fn norms_and_softmax_of_half_width_numbers_are_computed_in_f32() {
    for (dtype, unit) in [(DType::BF16, 1.0 / 256.0), (DType::F16, 1.0 / 2048.0)] {
        let mut draw = draws(3);
        let mut half = |len: usize| {
            let values: Vec<f64> = (0..len).map(|_| 4.0 * draw()).collect();
            Tensor::new(values, &Device::Cpu).unwrap().to_dtype(dtype).unwrap()
        };
        let (x, weight) = (half(3000).reshape((2, 1500)).unwrap(), half(1500));
        let wide = |x: &Tensor| x.to_dtype(DType::F64).unwrap();
        let got = ops::rms_norm(&x, &weight, 1e-5).unwrap();
        let want = ops::rms_norm(&wide(&x), &wide(&weight), 1e-5).unwrap();
        let pairs = [(got, want), (ops::softmax(&x).unwrap(), ops::softmax(&wide(&x)).unwrap())];
        for (got, want) in pairs {
            assert_eq!(got.dtype(), dtype);
            for (got, want) in values(&got).into_iter().zip(values(&want)) {
                // Below the smallest normal number of f16 its steps are 2^-24.
                let allowed = 1.0001 * unit * want.abs() + 1e-6 * want.abs() + 2f64.powi(-25);
                assert!((got - want).abs() <= allowed, "{dtype:?}: got {got}, want {want}");
            }
        }
    }
}
