//! Factorials, binomials and powers of a whole number against exact arithmetic: what is accepted
//! for a reward is equal at numbers that no comparison looks at.

use dashu_int::IBig;
use dashu_ratio::RBig;
use proptest::{prelude::*, test_runner::FileFailurePersistence};
use rewards::{Equivalence, Strictness, equivalent};

/// A factor of a product, with what it is at a whole number.
#[derive(Debug, Clone)]
enum Factor {
    /// `(cn + d)!`
    Factorial(i64, i64),
    /// `(cn + d)!!`
    Double(i64, i64),
    /// `\binom{cn + d}{k}`
    Binomial(i64, i64, i64),
    /// `\binom{cn + d}{n}`
    Middle(i64, i64),
    /// `b^{cn + d}`
    Power(i64, i64, i64),
    /// `n + d`
    Linear(i64),
}

fn linear(times: i64, plus: i64) -> String {
    format!("{times}n + {plus}")
}

fn product(numbers: impl Iterator<Item = i64>) -> RBig {
    RBig::from(numbers.fold(IBig::ONE, |product, number| product * number))
}

fn factorial(n: i64) -> RBig {
    product(1..=n)
}

fn binomial(n: i64, k: i64) -> RBig {
    product(n - k + 1..=n) / factorial(k)
}

impl Factor {
    fn written(&self) -> String {
        match self {
            Self::Factorial(c, d) => format!("({})!", linear(*c, *d)),
            Self::Double(c, d) => format!("({})!!", linear(*c, *d)),
            Self::Binomial(c, d, k) => format!(r"\binom{{{}}}{{{k}}}", linear(*c, *d)),
            Self::Middle(c, d) => format!(r"\binom{{{}}}{{n}}", linear(*c, *d)),
            Self::Power(b, c, d) => format!("({b})^{{{}}}", linear(*c, *d)),
            Self::Linear(d) => format!("(n + {d})"),
        }
    }

    /// The same by the law of its kind.
    fn rewritten(&self) -> String {
        match *self {
            Self::Factorial(c, d) => format!("({})({})!", linear(c, d), linear(c, d - 1)),
            Self::Double(c, d) => format!("({})({})!!", linear(c, d), linear(c, d - 2)),
            Self::Binomial(c, d, k) => {
                format!(r"\frac{{({})!}}{{{k}!({})!}}", linear(c, d), linear(c, d - k))
            }
            Self::Middle(c, d) => {
                format!(r"\frac{{({})!}}{{n!({})!}}", linear(c, d), linear(c - 1, d))
            }
            Self::Power(b, c, d) => format!("({})^n ({})", b.pow(c as u32), b.pow(d as u32)),
            Self::Linear(_) => self.written(),
        }
    }

    /// Another number in it.
    fn changed(&self) -> Self {
        match *self {
            Self::Factorial(c, d) => Self::Factorial(c, d + 1),
            Self::Double(c, d) => Self::Double(c, d + 2),
            Self::Binomial(c, d, k) => Self::Binomial(c, d, k - 1),
            Self::Middle(c, d) => Self::Middle(c, d + 1),
            Self::Power(b, c, d) => Self::Power(b, c + 1, d),
            Self::Linear(d) => Self::Linear(d + 1),
        }
    }

    fn at(&self, n: i64) -> RBig {
        match *self {
            Self::Factorial(c, d) => factorial(c * n + d),
            Self::Double(c, d) => product((1..=c * n + d).rev().step_by(2)),
            Self::Binomial(c, d, k) => binomial(c * n + d, k),
            Self::Middle(c, d) => binomial(c * n + d, n),
            Self::Power(b, c, d) => RBig::from(IBig::from(b).pow((c * n + d) as usize)),
            Self::Linear(d) => RBig::from(IBig::from(n + d)),
        }
    }
}

fn factors() -> impl Strategy<Value = Vec<Factor>> {
    let factor = prop_oneof![
        (1i64..4, 1i64..4).prop_map(|(c, d)| Factor::Factorial(c, d)),
        (1i64..4, 2i64..5).prop_map(|(c, d)| Factor::Double(c, d)),
        (1i64..4, 4i64..7, 1i64..5).prop_map(|(c, d, k)| Factor::Binomial(c, d, k)),
        (2i64..4, 0i64..3).prop_map(|(c, d)| Factor::Middle(c, d)),
        (prop_oneof![-6i64..-1, 2i64..13], 1i64..3, 0i64..3)
            .prop_map(|(b, c, d)| Factor::Power(b, c, d)),
        (0i64..4).prop_map(Factor::Linear),
    ];
    proptest::collection::vec(factor, 1..4)
}

fn written(factors: &[Factor], write: impl Fn(&Factor) -> String) -> String {
    factors.iter().map(write).collect::<Vec<_>>().join(r" \cdot ")
}

fn at(factors: &[Factor], n: i64) -> RBig {
    factors.iter().fold(RBig::ONE, |product, factor| product * factor.at(n))
}

/// Farther out than any place at which symbols stand in a comparison.
fn agree(gold: &[Factor], answer: &[Factor]) -> bool {
    (40..44).all(|n| at(gold, n) == at(answer, n))
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 600,
        failure_persistence: Some(Box::new(FileFailurePersistence::Off)),
        ..ProptestConfig::default()
    })]

    #[test]
    fn what_a_law_rewrites_is_equal(factors in factors()) {
        let (gold, answer) = (written(&factors, Factor::written), written(&factors, Factor::rewritten));
        let said = equivalent(&gold, &answer, Strictness::Rl);
        prop_assert_eq!(said, Equivalence::Equal, "{} against {}", gold, answer);
        let said = equivalent(&answer, &gold, Strictness::Rl);
        prop_assert_eq!(said, Equivalence::Equal, "{} against {}", answer, gold);
    }

    #[test]
    fn what_differs_far_out_earns_nothing(gold in factors(), at in 0usize..3, other in factors()) {
        let mut changed = gold.clone();
        let at = at % changed.len();
        changed[at] = changed[at].changed();
        for answer in [&changed, &other] {
            let texts = (written(&gold, Factor::written), written(answer, Factor::rewritten));
            let said = equivalent(&texts.0, &texts.1, Strictness::Rl);
            prop_assert!(
                said != Equivalence::Equal || agree(&gold, answer),
                "{} against {}", texts.0, texts.1
            );
        }
    }

    /// A polynomial through the first values is no sequence of another kind.
    #[test]
    fn a_polynomial_through_the_first_values_earns_nothing(
        factor in prop_oneof![
            (1i64..4, 1i64..4).prop_map(|(c, d)| Factor::Factorial(c, d)),
            (2i64..4, 0i64..3).prop_map(|(c, d)| Factor::Middle(c, d)),
            (-6i64..-1, 1i64..3, 0i64..3).prop_map(|(b, c, d)| Factor::Power(b, c, d)),
        ],
        many in 20i64..24,
    ) {
        let factor = &[factor];
        // Newton's form by forward differences
        let mut row: Vec<RBig> = (0..many).map(|n| at(factor, n)).collect();
        let mut terms = Vec::new();
        for k in 0..many {
            terms.push(format!(r"({}) \binom{{n}}{{{k}}}", row[0]));
            row = row.windows(2).map(|pair| &pair[1] - &pair[0]).collect();
        }
        let answer = terms.join(" + ");
        let said = equivalent(&written(factor, Factor::written), &answer, Strictness::Rl);
        prop_assert_ne!(said, Equivalence::Equal, "{}", answer);
    }
}
