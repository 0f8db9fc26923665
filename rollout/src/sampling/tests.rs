use super::*;
use crate::{Key, Purpose};

/// Probabilities .4, .3, .2, .05, .05 at temperature one, not in order of ids.
const PROBABILITIES: [f64; 5] = [0.05, 0.4, 0.2, 0.05, 0.3];

fn logits() -> Vec<f32> {
    PROBABILITIES.iter().map(|p| p.ln() as f32 + 3.0).collect()
}

/// Share of each token among many draws.
fn shares(sampling: &Sampling, logits: &[f32], suppressed: &[u32]) -> Vec<f64> {
    let key = Key { seed: 5, purpose: Purpose::Sample, step: 0 };
    let mut sampler = TokenSampler::default();
    let mut counts = vec![0.0; logits.len()];
    for i in 0..20_000 {
        let drawn = sampler.draw(sampling, logits, suppressed, key.uniform(i, 0, 0)).unwrap();
        counts[drawn.token as usize] += 1.0 / f64::from(20_000);
    }
    counts
}

/// Shares are what the kept tokens' probabilities say; 3.9 standard deviations are allowed.
#[track_caller]
fn check(sampling: &Sampling, suppressed: &[u32], kept: &[usize]) {
    let total: f64 = kept.iter().map(|&i| PROBABILITIES[i]).sum();
    for (i, share) in shares(sampling, &logits(), suppressed).into_iter().enumerate() {
        if kept.contains(&i) {
            let p = PROBABILITIES[i] / total;
            let allowed = 3.9 * (p * (1.0 - p) / 20_000.0).sqrt() + 1e-12;
            assert!((share - p).abs() <= allowed, "token {i}: {share}, expected {p}");
        } else {
            assert!(share == 0.0, "token {i} is filtered out, but has share {share}");
        }
    }
}

#[test]
fn frequencies_follow_the_distribution() {
    check(&Sampling::default(), &[], &[0, 1, 2, 3, 4]);
}

#[test]
fn frequencies_of_a_wide_distribution_pass_a_chi_square_test() {
    let logits: Vec<f32> = (0..3000).map(|i| ((i * 7919 % 3000) as f32 / 3000.0) * 3.0).collect();
    let temperature = 0.8;
    let e: Vec<f64> = logits.iter().map(|&l| (f64::from(l) / temperature).exp()).collect();
    let total: f64 = e.iter().sum();
    let got = shares(&Sampling { temperature, ..Sampling::default() }, &logits, &[]);
    // Bins of a hundred neighbouring ids.
    let chi_square: f64 = e
        .chunks(100)
        .zip(got.chunks(100))
        .map(|(e, got)| {
            let expected = e.iter().sum::<f64>() / total * 20_000.0;
            (got.iter().sum::<f64>() * 20_000.0 - expected).powi(2) / expected
        })
        .sum();
    assert!(chi_square < 58.3, "29 degrees of freedom, p = 0.001: {chi_square}");
}

#[test]
fn each_filter_keeps_exactly_its_tokens() {
    let with = |top_k, top_p, min_p| Sampling { top_k, top_p, min_p, ..Sampling::default() };
    check(&with(1, 1.0, 0.0), &[], &[1]);
    check(&with(3, 1.0, 0.0), &[], &[1, 2, 4]);
    // Equals: the lower id comes first.
    check(&with(4, 1.0, 0.0), &[], &[0, 1, 2, 4]);
    check(&with(100, 1.0, 0.0), &[], &[0, 1, 2, 3, 4]);
    check(&with(0, 0.39, 0.0), &[], &[1]);
    check(&with(0, 0.41, 0.0), &[], &[1, 4]);
    check(&with(0, 0.69, 0.0), &[], &[1, 4]);
    check(&with(0, 0.91, 0.0), &[], &[0, 1, 2, 4]);
    check(&with(0, 1.0, 0.49), &[], &[1, 2, 4]);
    check(&with(0, 1.0, 0.51), &[], &[1, 4]);
    check(&with(0, 1.0, 1.0), &[], &[1]);
    // Of the two that top-k leaves, the first has 4/7.
    check(&with(2, 0.57, 0.0), &[], &[1]);
    check(&with(2, 0.58, 0.0), &[], &[1, 4]);
    check(&with(3, 0.99, 0.6), &[], &[1, 4]);
    // Stop tokens are gone before the filters look.
    check(&with(2, 1.0, 0.0), &[1], &[2, 4]);
    check(&with(0, 1.0, 0.9), &[1, 999], &[4]);
}

#[test]
fn filters_that_keep_everything_change_nothing() {
    let key = Key { seed: 5, purpose: Purpose::Eval, step: 0 };
    let logits: Vec<f32> = (0..700).map(|i| (i * 37 % 700) as f32 / 90.0).collect();
    let all = Sampling { top_k: 700, ..Sampling::default() };
    let mut sampler = TokenSampler::default();
    for i in 0..500 {
        let u = key.uniform(i, 0, 0);
        let plain = sampler.draw(&Sampling::default(), &logits, &[], u).unwrap();
        assert_eq!(plain, sampler.draw(&all, &logits, &[], u).unwrap());
    }
}

#[test]
fn filters_match_a_plain_sort_on_wide_rows() {
    let key = Key { seed: 8, purpose: Purpose::Eval, step: 0 };
    for spread in [0.5, 4.0, 15.0] {
        let logits: Vec<f32> =
            (0..2000).map(|i| (key.uniform(i, 1, 0) * 2.0 * spread - spread) as f32).collect();
        for (top_k, top_p, min_p) in [
            (50, 1.0, 0.0),
            (0, 0.9, 0.0),
            (0, 0.999_999, 0.0),
            (0, 1.0, 0.05),
            (0, 1.0, 1e-5),
            (300, 0.95, 0.001),
        ] {
            let sampling = Sampling { top_k, top_p, min_p, ..Sampling::default() };
            let mut sampler = TokenSampler::default();
            sampler.draw(&sampling, &logits, &[], 0.5).unwrap();
            let mut got: Vec<u32> = sampler.kept.iter().map(|&(_, token)| token).collect();
            got.sort_unstable();
            let mut order: Vec<(f64, u32)> =
                logits.iter().zip(0..).map(|(&l, i)| (f64::from(l).exp(), i)).collect();
            order.sort_by(|a, b| b.0.total_cmp(&a.0));
            order.truncate(if top_k == 0 { 2000 } else { top_k });
            let base: f64 = order.iter().map(|&(p, _)| p).sum();
            let mut running = 0.0;
            let nucleus = order.iter().position(|&(p, _)| {
                running += p / base;
                running >= top_p
            });
            order.truncate(nucleus.map_or(2000, |n| n + 1));
            let likeliest = order[0].0;
            order.retain(|&(p, _)| p >= min_p * likeliest);
            let mut want: Vec<u32> = order.iter().map(|&(_, token)| token).collect();
            want.sort_unstable();
            assert_eq!(got, want, "{sampling:?}, spread {spread}");
        }
    }
}

#[test]
fn greedy_takes_the_lowest_of_the_likeliest() {
    let greedy = Sampling { temperature: 0.0, ..Sampling::default() };
    let mut sampler = TokenSampler::default();
    let logits = [1.0, 3.0, 2.0, 3.0];
    let drawn = sampler.draw(&greedy, &logits, &[], 0.99).unwrap();
    assert_eq!(drawn.token, 1);
    // Scores are those of temperature one.
    let total: f64 = logits.iter().map(|&l| f64::from(l).exp()).sum();
    assert!((drawn.log_prob - (3.0f64.exp() / total).ln()).abs() < 1e-6);
    assert_eq!(sampler.draw(&greedy, &logits, &[1, 3], 0.0).unwrap().token, 2);
}

#[test]
fn scores_are_of_the_full_distribution_at_the_temperature() {
    let sampling = Sampling { temperature: 0.5, top_k: 1, ..Sampling::default() };
    let drawn = TokenSampler::default().draw(&sampling, &logits(), &[1], 0.5).unwrap();
    assert_eq!(drawn.token, 4);
    let squares: f64 = PROBABILITIES.iter().map(|p| p * p).sum();
    let log_probs = PROBABILITIES.map(|p| (p * p / squares).ln());
    let entropy = -log_probs.iter().map(|l| l.exp() * l).sum::<f64>();
    let phi: f64 = log_probs.iter().map(|l| (2.0 * l).exp() * (l + entropy)).sum();
    assert!((drawn.log_prob - log_probs[4]).abs() < 1e-6);
    assert!((drawn.entropy - entropy).abs() < 1e-6);
    assert!((drawn.phi_sum - phi).abs() < 1e-6);
}

#[test]
fn a_suppressed_certainty_leaves_the_rest() {
    let mut sampler = TokenSampler::default();
    let logits = [900.0, 1.0, 1.0, -500.0];
    for (u, want) in [(0.3, 1), (0.7, 2)] {
        assert_eq!(sampler.draw(&Sampling::default(), &logits, &[0], u).unwrap().token, want);
    }
}

/// Every kind of setting, alone and together.
fn settings() -> Vec<Sampling> {
    let plain = Sampling::default();
    let mut settings = Vec::new();
    for temperature in [0.0, 0.2, 1.0, 3.0] {
        let plain = Sampling { temperature, ..plain.clone() };
        settings.push(Sampling { top_k: 1, ..plain.clone() });
        settings.push(Sampling { top_k: 40, top_p: 0.9, ..plain.clone() });
        settings.push(Sampling { top_p: 0.3, ..plain.clone() });
        settings.push(Sampling { min_p: 0.5, ..plain.clone() });
        settings.push(Sampling { top_k: 2000, top_p: 0.999, min_p: 0.01, ..plain.clone() });
        settings.push(plain);
    }
    settings
}

#[test]
fn suppressing_is_drawing_from_the_others_with_the_scores_of_all() {
    let key = Key { seed: 6, purpose: Purpose::Sample, step: 0 };
    let mut sampler = TokenSampler::default();
    let logits: Vec<f32> = (0..1500).map(|i| key.uniform(i, 0, 9) as f32 * 12.0 - 6.0).collect();
    let mut order: Vec<u32> = (0..1500).collect();
    order.sort_by(|&a, &b| logits[b as usize].total_cmp(&logits[a as usize]));
    // The likeliest one, the likeliest half, the unlikeliest half, every other, all but one.
    let odd = (0..1500).filter(|i| i % 2 == 1).collect();
    let sets: [Vec<u32>; 5] =
        [order[..1].into(), order[..750].into(), order[750..].into(), odd, order[1..].into()];
    for suppressed in &sets {
        let mut masked = logits.clone();
        for &token in suppressed {
            masked[token as usize] = f32::NEG_INFINITY;
        }
        for sampling in settings() {
            for i in 0..60 {
                let u = key.uniform(i, 1, 0);
                let got = sampler.draw(&sampling, &logits, suppressed, u).unwrap();
                let others = sampler.draw(&sampling, &masked, &[], u).unwrap();
                let all = sampler.draw(&sampling, &logits, &[], u).unwrap();
                assert!(!suppressed.contains(&got.token), "{sampling:?}");
                assert_eq!(got.token, others.token, "{sampling:?}");
                assert_eq!((got.entropy, got.phi_sum), (all.entropy, all.phi_sum));
                if got.token == all.token {
                    assert_eq!(got, all);
                } else {
                    assert!(got.log_prob < others.log_prob, "of the whole vocabulary");
                }
            }
        }
    }
}

#[test]
fn a_suppressed_id_outside_the_logits_does_no_harm() {
    let mut sampler = TokenSampler::default();
    for temperature in [0.0, 1.0] {
        let sampling = Sampling { temperature, ..Sampling::default() };
        let drawn = sampler.draw(&sampling, &[0.0, 9.0], &[2, 700], 0.9).unwrap();
        assert_eq!(drawn.token, 1);
    }
}

#[test]
fn extreme_uniforms_and_broken_logits() {
    let mut sampler = TokenSampler::default();
    let logits: Vec<f32> = (0..1030).map(|i| if i < 1025 { 0.0 } else { -1e4 }).collect();
    let plain = Sampling::default();
    let tiny = 1.0 / (1u64 << 53) as f64;
    assert_eq!(sampler.draw(&plain, &logits, &[], tiny).unwrap().token, 0);
    assert_eq!(sampler.draw(&plain, &logits, &[], 1.0 - tiny).unwrap().token, 1024);
    assert_eq!(sampler.draw(&plain, &[f32::NAN, 1.0], &[], 0.5), None);
    assert_eq!(sampler.draw(&plain, &[0.0, f32::INFINITY], &[], 0.5), None);
}

#[test]
fn settings_are_checked_all_at_once() {
    assert!(Sampling::default().problems().is_empty());
    let broken = Sampling {
        temperature: f64::NAN,
        top_p: 0.0,
        min_p: 1.5,
        max_new_tokens: NonZeroUsize::MIN,
        min_new_tokens: 2,
        ..Sampling::default()
    };
    assert_eq!(
        broken.problems(),
        [
            "temperature is NaN, expected 0 (greedy), or 0.000001 to 1000000",
            "top_p is 0, expected above 0 and at most 1",
            "min_p is 1.5, expected 0 to 1",
            "min_new_tokens is 2, expected at most max_new_tokens, which is 1",
        ]
    );
    let error = serde_json::from_str::<Sampling>(r#"{"topp": 1}"#).unwrap_err().to_string();
    assert!(error.contains("unknown field `topp`"), "{error}");
}

#[test]
fn temperatures_at_which_scaled_logits_overflow_are_refused() {
    for temperature in [5e-324, 1e-38, 9e-7, -1.0, f64::INFINITY, 1.1e6] {
        let sampling = Sampling { temperature, ..Sampling::default() };
        assert_eq!(sampling.problems().len(), 1, "{temperature}");
    }
    // The largest that a factor of 1e6 leaves finite in single precision.
    let logits = [-3e32, 0.0, 1e30, 3e32];
    for temperature in [0.0, 1e-6, 1.0, 1e6] {
        let sampling = Sampling { temperature, ..Sampling::default() };
        assert_eq!(sampling.problems(), [""; 0], "{temperature}");
        let sampled = TokenSampler::default().draw(&sampling, &logits, &[3], 0.5).unwrap();
        assert_ne!(sampled.token, 3, "{temperature}");
        assert!(sampled.log_prob.is_finite() && sampled.entropy.is_finite(), "{temperature}");
    }
}

#[test]
fn alternatives_are_the_likeliest_tokens_of_the_full_distribution() {
    // Many of them are equally likely.
    let logits: Vec<f32> = (0..700).map(|at| (at * 7919 % 101) as f32 / 10.0).collect();
    let sampling = Sampling { temperature: 0.7, top_k: 2, ..Sampling::default() };
    let mut sampler = TokenSampler::default();
    let plain = sampler.draw(&sampling, &logits, &[3], 0.3);
    let sum: f64 = logits.iter().map(|&logit| (f64::from(logit) / 0.7).exp()).sum();
    for count in [0, 1, 5, 700, 900] {
        sampler.set_alternatives(count);
        assert_eq!(sampler.draw(&sampling, &logits, &[3], 0.3), plain, "the draw is the same");
        let mut expected: Vec<u32> = (0..700).collect();
        let logit = |token: &u32| logits[*token as usize];
        expected.sort_by(|a, b| logit(b).total_cmp(&logit(a)).then(a.cmp(b)));
        expected.truncate(count);
        let found: Vec<_> = sampler.alternatives().iter().map(|(token, _)| *token).collect();
        assert_eq!(found, expected, "{count}");
        for (token, log_prob) in sampler.alternatives() {
            let own = f64::from(logit(token)) / 0.7 - sum.ln();
            assert!((f64::from(*log_prob) - own).abs() < 1e-5, "{log_prob}, expected {own}");
        }
    }
}
