//! Packing changes nothing: shared prompts, many completions in a pack, many micro-batches.

use candle::{DType, Device, Tensor};
use engine::{Activations, Model, Packed, Target, backward};

use crate::support::{close, configs, groups, model, pack, values, wide};

#[test]
fn shared_prompts_score_as_one_sequence_at_a_time() {
    for config in configs() {
        for (dtype, tolerance) in [(DType::F64, 1e-6), (DType::F32, 2e-5)] {
            let model = model(config.clone(), dtype);
            let groups = groups(37);
            let (packed, targets) = pack(&groups);
            let together = model.score(&packed, &targets, 0.7).unwrap();
            let (mut log_probs, mut entropies) = (Vec::new(), Vec::new());
            for (prompt, completions) in &groups {
                for completion in completions {
                    let whole: Vec<u32> = prompt.iter().chain(completion).copied().collect();
                    let mut alone = Packed::default();
                    alone.push(&whole, None).unwrap();
                    let targets: Vec<Target> = (0..completion.len())
                        .map(|i| Target { row: prompt.len() - 1 + i, token: completion[i] })
                        .collect();
                    let scores = model.score(&alone, &targets, 0.7).unwrap();
                    log_probs.extend(wide(&scores.log_probs));
                    entropies.extend(wide(&scores.entropies));
                }
            }
            close(&wide(&together.log_probs), &log_probs, tolerance);
            close(&wide(&together.entropies), &entropies, tolerance);
        }
    }
}

/// Gradients of a loss that is a weighted sum over targets, summed over micro-batches.
pub(crate) fn gradients(
    model: &Model,
    batches: &[(Packed, Vec<Target>)],
    activations: Activations,
) -> Vec<Vec<f64>> {
    let mut sums: Vec<Option<Tensor>> = vec![None; model.trainable().count()];
    for (packed, targets) in batches {
        // A weight by token, so that the loss of a batch is the sum over its parts.
        let weights: Vec<f64> = targets.iter().map(|t| f64::from(t.token % 5) - 1.7).collect();
        let weights = Tensor::new(weights, &Device::Cpu).unwrap();
        let mut loss = |columns: &engine::ScoreTensors| {
            let log_probs = (&columns.log_probs * &weights)?.sum_all()?;
            Ok((log_probs + (columns.entropies.sum_all()? * 0.3)?)?)
        };
        let mut seen = vec![false; sums.len()];
        let mut sink = |index: usize, gradient: Tensor| {
            assert!(!std::mem::replace(&mut seen[index], true), "parameter {index} came twice");
            sums[index] = Some(match sums[index].take() {
                Some(sum) => (sum + gradient)?,
                None => gradient,
            });
            Ok(())
        };
        backward(model, packed, targets, 0.7, activations, &mut loss, &mut sink).unwrap();
        assert!(seen.iter().all(|&seen| seen), "a parameter got no gradient");
    }
    sums.iter().map(|sum| values(sum.as_ref().unwrap())).collect()
}

#[test]
fn every_parameter_has_a_gradient_that_is_not_zero() {
    for config in configs() {
        let model = model(config.clone(), DType::F32);
        let batch = pack(&groups(37));
        let gradients = gradients(&model, &[batch], Activations::Keep);
        for (gradient, parameter) in gradients.iter().zip(model.parameters()) {
            let norm: f64 = gradient.iter().map(|g| g * g).sum::<f64>().sqrt();
            assert!(norm > 1e-4, "{}: gradient norm {norm}", parameter.name);
        }
    }
}

#[test]
fn recompute_equals_plain_backward() {
    for config in configs() {
        for dtype in [DType::F32, DType::F64] {
            let model = model(config.clone(), dtype);
            let batches = [pack(&groups(37))];
            let kept = gradients(&model, &batches, Activations::Keep);
            let again = gradients(&model, &batches, Activations::Recompute);
            assert_eq!(kept, again, "{:?} {dtype:?}", config.family);
        }
    }
}

#[test]
fn many_micro_batches_equal_one() {
    for config in configs() {
        let model = model(config.clone(), DType::F32);
        let groups = groups(37);
        let one = gradients(&model, &[pack(&groups)], Activations::Keep);
        let parts: Vec<_> = groups
            .iter()
            .flat_map(|(prompt, completions)| {
                completions.iter().map(|c| pack(&[(prompt.clone(), vec![c.clone()])]))
            })
            .collect();
        // The entropy of a prompt's last row counts once a target in both forms.
        let many = gradients(&model, &parts, Activations::Keep);
        for (one, many) in one.iter().zip(&many) {
            close(many, one, 3e-5);
        }
    }
}
