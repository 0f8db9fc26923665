//! Mean, variance and independence, on streams that are fixed.

use super::{GOLDEN, KINDS, filled};
use crate::noise::{Kind, Part, Stream};

const COUNT: usize = 1 << 20;

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    values.sum::<f64>() / COUNT as f64
}

#[test]
fn mean_and_variance_are_those_of_the_kinds() {
    for (kind, kurtosis, within) in [
        (Kind::Rademacher, 1.0, 0.0),
        (Kind::Binomial, 3.0 - 2.0 / 32.0, 0.03),
        (Kind::Gaussian, 3.0, 0.04),
    ] {
        let z: Vec<f64> = filled(kind, GOLDEN, 0, COUNT).into_iter().map(f64::from).collect();
        let moment = |power| mean(z.iter().map(|z| z.powi(power)));
        // Four standard errors.
        let error = 4.0 / (COUNT as f64).sqrt();
        assert!(moment(1).abs() < error, "{kind:?} has the mean {}", moment(1));
        let spread = f64::max(kurtosis - 1.0, 1e-12).sqrt();
        assert!((moment(2) - 1.0).abs() < error * spread + 1e-6, "{kind:?}: {}", moment(2));
        assert!((moment(4) - kurtosis).abs() <= within, "{kind:?}: {}", moment(4));
        let next = mean(z.windows(2).map(|z| z[0] * z[1]));
        assert!(next.abs() < error, "{kind:?}: neighbours are correlated by {next}");
    }
}

#[test]
fn streams_that_differ_in_one_field_are_uncorrelated() {
    let others = [
        Stream { seed: GOLDEN.seed + 1, ..GOLDEN },
        Stream { seed: GOLDEN.seed + (1 << 32), ..GOLDEN },
        Stream { tensor: GOLDEN.tensor + 1, ..GOLDEN },
        Stream { part: Part::A, ..GOLDEN },
        Stream { part: Part::B, ..GOLDEN },
        Stream { part: Part::Mask, ..GOLDEN },
    ];
    for kind in KINDS {
        let own = filled(kind, GOLDEN, 0, COUNT);
        for other in others {
            let z = filled(kind, other, 0, COUNT);
            let product = own.iter().zip(&z).map(|(a, b)| f64::from(*a) * f64::from(*b));
            let correlation = mean(product);
            let error = 4.0 / (COUNT as f64).sqrt();
            assert!(correlation.abs() < error, "{kind:?}, {other:?}: {correlation}");
        }
    }
}
