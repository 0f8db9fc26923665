//! Expressions rewritten by identities stay equal, and changed ones do not; comparing is reflexive,
//! symmetric and total.

use proptest::{prelude::*, test_runner::FileFailurePersistence};
use rewards::{Equivalence, Strictness, equivalent};

const POLICIES: [Strictness; 2] = [Strictness::Rl, Strictness::Eval];

/// An expression, and how it is written.
#[derive(Debug, Clone)]
enum Expression {
    Number(i64),
    Symbol(char),
    Sum(Box<Self>, Box<Self>),
    Product(Box<Self>, Box<Self>),
    Negated(Box<Self>),
    Quotient(Box<Self>, i64),
    Power(Box<Self>, u8),
    Root(u32),
}

use Expression as E;

impl Expression {
    fn write(&self) -> String {
        match self {
            Self::Number(value) if *value < 0 => format!("({value})"),
            Self::Number(value) => value.to_string(),
            Self::Symbol(symbol) => symbol.to_string(),
            Self::Sum(a, b) => format!("({} + {})", a.write(), b.write()),
            Self::Product(a, b) => format!(r"{} \cdot {}", a.write(), b.write()),
            Self::Negated(a) => format!("(-{})", a.write()),
            Self::Quotient(a, b) => format!(r"\frac{{{}}}{{{b}}}", a.write()),
            Self::Power(a, times) => format!(r"\left({}\right)^{{{times}}}", a.write()),
            Self::Root(of) => format!(r"\sqrt{{{of}}}"),
        }
    }

    /// The same value, written otherwise; `choices` says how, one number for each node.
    fn rewritten(&self, choices: &mut impl Iterator<Item = u8>) -> Self {
        let choice = choices.next().unwrap_or(0);
        let number = |value| Box::new(Self::Number(value));
        match self {
            Self::Number(_) | Self::Symbol(_) | Self::Root(_) => self.rewritten_leaf(choice),
            Self::Sum(a, b) => {
                let (a, b) = (Box::new(a.rewritten(choices)), Box::new(b.rewritten(choices)));
                match choice % 3 {
                    0 => Self::Sum(a, b),
                    1 => Self::Sum(b, a),
                    _ => Self::Negated(Box::new(Self::Sum(
                        Box::new(Self::Negated(a)),
                        Box::new(Self::Negated(b)),
                    ))),
                }
            }
            Self::Product(a, b) => {
                let a = Box::new(a.rewritten(choices));
                match (&**b, choice % 3) {
                    // a (b + c) = ab + ac
                    (Self::Sum(b, c), 2) => {
                        let (b, c) = (b.rewritten(choices), c.rewritten(choices));
                        Self::Sum(
                            Box::new(Self::Product(a.clone(), Box::new(b))),
                            Box::new(Self::Product(a, Box::new(c))),
                        )
                    }
                    (b, 0) => Self::Product(a, Box::new(b.rewritten(choices))),
                    (b, _) => Self::Product(Box::new(b.rewritten(choices)), a),
                }
            }
            Self::Negated(a) => match choice % 2 {
                0 => Self::Negated(Box::new(a.rewritten(choices))),
                _ => Self::Product(number(-1), Box::new(a.rewritten(choices))),
            },
            Self::Quotient(a, b) => {
                let a = Box::new(a.rewritten(choices));
                match choice % 2 {
                    0 => Self::Quotient(a, *b),
                    _ => Self::Quotient(Box::new(Self::Product(a, number(3))), 3 * b),
                }
            }
            Self::Power(a, times) => {
                let a = Box::new(a.rewritten(choices));
                match choice % 2 {
                    0 => Self::Power(a, *times),
                    _ => Self::Product(a.clone(), Box::new(Self::Power(a, times - 1))),
                }
            }
        }
    }
}

impl Expression {
    fn rewritten_leaf(&self, choice: u8) -> Self {
        let number = |value| Box::new(Self::Number(value));
        let this = || Box::new(self.clone());
        match (self, choice % 4) {
            (_, 0) => self.clone(),
            (Self::Number(value), 1) => Self::Sum(number(value - 3), number(3)),
            (Self::Number(value), 2) => Self::Quotient(number(value * 2), 2),
            (Self::Number(value), _) => Self::Negated(number(-value)),
            (Self::Root(of), 1) => Self::Quotient(Box::new(Self::Root(of * 9)), 3),
            (_, 2) => Self::Sum(this(), number(0)),
            _ => Self::Quotient(Box::new(Self::Product(number(2), this())), 2),
        }
    }
}

fn expressions(symbols: bool) -> impl Strategy<Value = Expression> {
    let symbol = prop_oneof![Just('x'), Just('y'), Just('n')];
    let leaf = prop_oneof![
        4 => (-40i64..40).prop_map(E::Number),
        2 => if symbols { symbol.prop_map(E::Symbol).boxed() } else { (2u32..12).prop_map(E::Root).boxed() },
    ];
    leaf.prop_recursive(4, 14, 2, |inner| {
        let boxed = || inner.clone().prop_map(Box::new);
        prop_oneof![
            3 => (boxed(), boxed()).prop_map(|(a, b)| E::Sum(a, b)),
            3 => (boxed(), boxed()).prop_map(|(a, b)| E::Product(a, b)),
            1 => boxed().prop_map(E::Negated),
            1 => (boxed(), 1i64..9).prop_map(|(a, b)| E::Quotient(a, b)),
            1 => (boxed(), 2u8..4).prop_map(|(a, times)| E::Power(a, times)),
        ]
    })
}

/// Answers of every kind, written in the usual way; none has a mark or a name, about which the
/// strictnesses are not symmetric.
fn answers() -> impl Strategy<Value = String> {
    let scalar = prop_oneof![
        (-30i64..30).prop_map(|n| n.to_string()),
        (-30i64..30, 1u32..12).prop_map(|(n, d)| format!(r"\frac{{{n}}}{{{d}}}")),
        (2u32..20).prop_map(|n| format!(r"\sqrt{{{n}}}")),
        (1u32..9).prop_map(|n| format!(r"{n}\pi")),
        Just("x+1".to_owned()),
        Just("2x".to_owned()),
        Just(r"e^2".to_owned()),
        Just("1+2i".to_owned()),
        Just(r"\pm 3".to_owned()),
    ]
    .boxed();
    let several = proptest::collection::vec(scalar.clone(), 2..4).boxed();
    prop_oneof![
        3 => scalar.clone(),
        1 => several.clone().prop_map(|of| format!("({})", of.join(", "))),
        1 => several.clone().prop_map(|of| format!(r"\{{{}\}}", of.join(", "))),
        1 => several.prop_map(|of| of.join(", ")),
        1 => (-9i64..0, 1i64..9, any::<bool>(), any::<bool>()).prop_map(|(low, high, left, right)| {
            let (left, right) = (if left { '[' } else { '(' }, if right { ']' } else { ')' });
            format!("{left}{low}, {high}{right}")
        }),
        1 => scalar.clone().prop_map(|of| format!("x < {of}")),
        1 => scalar.prop_map(|of| format!("x^2 + y = {of} + z")),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 2000,
        failure_persistence: Some(Box::new(FileFailurePersistence::Off)),
        ..ProptestConfig::default()
    })]

    #[test]
    fn rewritten_expressions_are_equal(
        expression in prop_oneof![expressions(true), expressions(false)],
        choices in proptest::collection::vec(any::<u8>(), 40),
    ) {
        let other = expression.rewritten(&mut choices.into_iter());
        let (gold, answer) = (expression.write(), other.write());
        for strictness in POLICIES {
            prop_assert_eq!(
                equivalent(&gold, &answer, strictness), Equivalence::Equal,
                "{} against {}", gold, answer
            );
        }
    }

    #[test]
    fn changed_expressions_are_different(
        expression in prop_oneof![expressions(true), expressions(false)],
        choices in proptest::collection::vec(any::<u8>(), 40),
        above in prop_oneof![-9i64..0, 1i64..9],
        below in prop_oneof![Just(1i64), Just(7), Just(1_000_003), Just(1_000_000_007)],
    ) {
        let other = expression.rewritten(&mut choices.into_iter());
        let change = E::Quotient(Box::new(E::Number(above)), below);
        let (gold, answer) = (expression.write(), E::Sum(Box::new(other), Box::new(change)).write());
        for strictness in POLICIES {
            prop_assert_eq!(
                equivalent(&gold, &answer, strictness), Equivalence::Different,
                "{} against {}", gold, answer
            );
        }
    }

    #[test]
    fn comparing_is_reflexive_and_symmetric(one in answers(), other in answers()) {
        for strictness in POLICIES {
            prop_assert_eq!(equivalent(&one, &one, strictness), Equivalence::Equal, "{}", one);
            prop_assert_eq!(
                equivalent(&one, &other, strictness), equivalent(&other, &one, strictness),
                "{} and {}", one, other
            );
        }
    }

    #[test]
    fn what_earns_a_reward_is_right_in_a_score(one in answers(), other in answers()) {
        if equivalent(&one, &other, Strictness::Rl) == Equivalence::Equal {
            prop_assert_eq!(equivalent(&one, &other, Strictness::Eval), Equivalence::Equal);
        }
    }

    #[test]
    fn any_text_has_a_verdict(
        gold in r"[-0-9a-eixn+*/^_(){}\[\]\\,.<>=%$! ]{0,40}",
        answer in r"(\\(frac|sqrt|pi|sin|cup|pm|le|text|binom|infty|ln)|[-0-9xie+^_(){}\[\],.<=%! ]){0,30}",
    ) {
        for strictness in POLICIES {
            let _ = equivalent(&gold, &answer, strictness);
            if !matches!(equivalent(&answer, &answer, strictness), Equivalence::GoldUnparseable | Equivalence::Limit) {
                prop_assert_eq!(equivalent(&answer, &answer, strictness), Equivalence::Equal, "{}", answer);
            }
        }
    }
}
