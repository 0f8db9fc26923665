//! How often 95 % intervals hold the truth, by simulation. docs/evaluation.md has these figures.

use evals::Estimate;
use evals::interval::standard_error;
use rand_philox::{Philox, u32_to_unit_f64};

const EVALUATIONS: u32 = 4000;

/// Evaluations whose problems have rates from the distribution Beta(a, b).
struct Case {
    rates: [f64; 2],
    problems: usize,
    samples: u32,
}

/// What came of a case.
#[derive(Debug)]
struct Coverage {
    /// Share of intervals that hold the truth.
    held: f64,
    /// Share that is below it.
    below: f64,
    /// Mean width.
    width: f64,
}

fn unit(words: &mut Philox) -> f64 {
    u32_to_unit_f64(words.next_u32())
}

/// A draw from Beta(a, b), by Jöhnk's rejection: a power of a uniform number, of two that add up to
/// at most 1, divided by their sum.
fn beta([a, b]: [f64; 2], words: &mut Philox) -> f64 {
    loop {
        let (x, y) = (unit(words).powf(1.0 / a), unit(words).powf(1.0 / b));
        if x + y > 0.0 && x + y <= 1.0 {
            return x / (x + y);
        }
    }
}

impl Case {
    fn measure(&self, interval: impl Fn(&[f64]) -> [f64; 2]) -> Coverage {
        let Self { rates: [a, b], problems, samples } = *self;
        let truth = a / (a + b);
        let mut words = Philox::from_u64_seed_stream(31, u64::from(samples));
        let mut found = Coverage { held: 0.0, below: 0.0, width: 0.0 };
        for _ in 0..EVALUATIONS {
            let values: Vec<f64> = (0..problems)
                .map(|_| {
                    let rate = beta(self.rates, &mut words);
                    let solved = (0..samples).filter(|_| unit(&mut words) < rate).count();
                    solved as f64 / f64::from(samples)
                })
                .collect();
            let [low, high] = interval(&values);
            found.held += f64::from(u8::from(low <= truth && truth <= high));
            found.below += f64::from(u8::from(high < truth));
            found.width += high - low;
        }
        let Coverage { held, below, width } = found;
        let all = f64::from(EVALUATIONS);
        Coverage { held: held / all, below: below / all, width: width / all }
    }
}

fn ours(values: &[f64]) -> [f64; 2] {
    let Estimate { low, high, .. } = Estimate::over_problems(values, 1.0);
    [low, high]
}

#[test]
fn intervals_hold_the_truth_as_often_as_documented() {
    // Rates, problems, samples, and the coverage with three standard errors of the simulation.
    for (rates, problems, samples, held, near) in [
        ([0.1, 4.0], 30, 32, 0.96, 0.01),
        ([0.2, 4.0], 30, 4, 0.97, 0.01),
        ([0.2, 4.0], 40, 32, 0.96, 0.01),
        ([0.05, 2.0], 30, 32, 0.915, 0.013),
        ([4.0, 0.2], 30, 4, 0.97, 0.01),
        ([0.7, 0.9], 40, 8, 0.955, 0.01),
        ([1.0, 1.0], 8, 4, 0.97, 0.01),
        ([0.2, 4.0], 8, 32, 0.99, 0.01),
        ([1.0, 1.0], 100, 4, 0.955, 0.01),
        ([1.0, 1.0], 60, 32, 0.96, 0.01),
        ([1.0, 1.0], 200, 1, 0.945, 0.011),
        ([0.2, 4.0], 100, 1, 0.945, 0.011),
        ([1.0, 1.0], 500, 4, 0.95, 0.011),
        ([0.1, 4.0], 500, 32, 0.95, 0.011),
    ] {
        let found = Case { rates, problems, samples }.measure(ours);
        let Coverage { held: share, below, width } = found;
        println!(
            "{rates:?} {problems} x {samples}: {share:.3}, below {below:.3}, width {width:.3}"
        );
        assert!((share - held).abs() < near, "{rates:?} {problems} x {samples}: {found:?}");
    }
}

/// The simulation tells methods apart: 1.96 standard errors are too narrow where few problems are
/// solved, and right for uniform rates.
#[test]
fn standard_errors_alone_are_too_narrow_for_hard_problems() {
    let plain = |values: &[f64]| {
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let half = 1.959_963_984_540_054 * standard_error(values);
        [mean - half, mean + half]
    };
    let hard = Case { rates: [0.1, 4.0], problems: 30, samples: 32 }.measure(plain);
    assert!((0.81..0.85).contains(&hard.held) && hard.below > 0.15, "{hard:?}");
    let even = Case { rates: [1.0, 1.0], problems: 100, samples: 4 }.measure(plain);
    assert!((0.93..0.96).contains(&even.held), "{even:?}");
}
