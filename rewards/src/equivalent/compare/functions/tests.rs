use dashu_float::{FBig, round::mode::HalfEven};
use dashu_ratio::RBig;
use proptest::prelude::*;

use super::*;
use crate::equivalent::compare::fuel::Fuel;

type Oracle = FBig<HalfEven, 2>;

/// Panics unless `expected`, worked out far more finely, lies in the ball, and the ball is
/// fine.
fn encloses(what: &str, ball: &Ball, expected: &Oracle, fineness: i64) {
    let middle = Oracle::from_parts(ball.mantissa.clone(), ball.exponent as isize)
        .with_precision(4096)
        .value();
    let error = ball.error.unwrap_or(-3000);
    let radius = Oracle::from_parts(IBig::ONE, error as isize).with_precision(64).value();
    let off = (middle - expected).abs();
    assert!(off <= radius, "{what}: off by {off:?}, radius 2^{error}");
    assert!(error <= fineness, "{what}: radius 2^{error}");
}

fn oracle(value: &RBig) -> Oracle {
    let above = Oracle::from(value.numerator().clone()).with_precision(2048).value();
    let below = Oracle::from(IBig::from(value.denominator().clone())).with_precision(2048).value();
    above / below
}

fn with(bits: usize, check: impl FnOnce(&mut Context<'_>)) {
    let mut fuel = Fuel::new();
    check(&mut Context::new(bits, &mut fuel));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn functions_enclose_their_values(above in -60_000i64..60_000, below in 1i64..3_000, wide: bool) {
        let x = RBig::from_parts(above.into(), (below as u64).into());
        let exact = oracle(&x);
        let bits = if wide { 700 } else { 256 };
        let fine = -exponent(bits) + 24;
        with(bits, |context| {
            let ball = context.rational(&x).unwrap();
            let (sine, cosine) = context.sin_cos(&ball).unwrap();
            encloses("sin", &sine, &exact.sin(), fine + 16);
            encloses("cos", &cosine, &exact.cos(), fine + 16);
            encloses("atan", &context.atan(&ball).unwrap(), &exact.atan(), fine);
            if above > 0 {
                encloses("ln", &context.ln(&ball).unwrap(), &exact.ln(), fine);
                let root = context.root(&ball, 2).unwrap();
                encloses("root", &root, &SquareRoot::sqrt(&exact), fine + 10);
            }
            if above.abs() < below * 40 {
                let power = context.exp(&ball).unwrap();
                encloses("exp", &power, &exact.exp(), fine + 60);
            }
            if above.abs() < below {
                encloses("asin", &context.asin(&ball).unwrap(), &exact.asin(), fine + 16);
            }
        });
    }
}

#[test]
fn pi_is_enclosed() {
    with(512, |context| {
        let pi = context.pi().unwrap();
        let exact = Oracle::from(4).with_precision(2048).value()
            * Oracle::ONE.with_precision(2048).value().atan();
        encloses("pi", &pi, &exact, -480);
    });
}

#[test]
fn roots_of_higher_index_are_enclosed() {
    with(256, |context| {
        for index in [3u32, 4, 5, 7, 16] {
            let ball = context.rational(&RBig::from_parts(22.into(), 7u8.into())).unwrap();
            let root = context.root(&ball, index).unwrap();
            let again = context.power(&root, &UBig::from(index)).unwrap();
            let off = context.difference(&again, &ball).unwrap();
            assert_eq!(off.sign(), None, "root {index}");
            assert!(off.bound() < -230, "root {index}: {off:?}");
        }
    });
}
