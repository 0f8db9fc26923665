//! Functions, named quantities, equations still to be solved and parameters, with whatever letters and
//! numbers.

use proptest::{prelude::*, sample::select, test_runner::FileFailurePersistence};
use rewards::{Equivalence, Policy, equivalent};

const POLICIES: [Policy; 2] = [Policy::Rl, Policy::Eval];

/// Left sides in an unknown, `@`, of whose value the unknown is another one.
const UNSOLVED: [&str; 16] = [
    "-@",
    "@+@",
    "3@",
    r"@ \cdot @",
    "@^3",
    "@-1",
    r"\frac{@}{2}",
    r"\frac{1}{@}",
    r"\sqrt{@}",
    r"\sqrt[3]{@}",
    r"\ln @",
    r"\log_{2} @",
    "e^{@}",
    "|@|",
    r"\lfloor @ \rfloor",
    r"\pi @",
];

/// Names of quantities, `@` being a capital letter.
const NAMED: [&str; 24] = [
    "@",
    "P(@=2)",
    r"P(@ \ge 1)",
    r"\Pr(@|B)",
    r"P(@ \cup B)",
    r"\mathbb{E}[@]",
    "E[@^2]",
    r"\operatorname{Var}(@)",
    r"\det @",
    r"\det(2@)",
    r"\operatorname{rank} @",
    r"\dim @",
    "|@|",
    "|@B|",
    "@B",
    "@B+BC",
    r"\angle @BC",
    "[@BC]",
    r"n(@ \cap B)",
    "f(2)",
    "f(g(2))",
    r"(f \circ g)(2)",
    "f^{-1}(2)",
    r"\sin @",
];

fn accepts(gold: &str, answer: &str, policy: Policy) -> bool {
    equivalent(gold, answer, policy) == Equivalence::Equal
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 300,
        failure_persistence: Some(Box::new(FileFailurePersistence::Off)),
        ..ProptestConfig::default()
    })]

    #[test]
    fn an_equation_gives_no_value_until_it_is_solved(
        left in select(&UNSOLVED[..]), letter in select(&["x", "y", "t", "n"][..]), value in -60i64..60,
    ) {
        let left = left.replace('@', letter);
        for policy in POLICIES {
            for answer in [format!("{left}={value}"), format!("{value}={left}")] {
                prop_assert!(!accepts(&value.to_string(), &answer, policy), "{answer}");
            }
        }
    }

    #[test]
    fn a_named_quantity_gives_its_value_and_no_other(
        name in select(&NAMED[..]), letter in select(&["A", "X", "M", "T"][..]), value in -60i64..60,
    ) {
        let answer = format!("{}={value}", name.replace('@', letter));
        for policy in POLICIES {
            prop_assert!(accepts(&value.to_string(), &answer, policy), "{answer}");
            prop_assert!(accepts(&answer, &value.to_string(), policy) || name.contains('+'), "{answer}");
            for other in [value + 1, -value - 1, 10 * value + 1] {
                prop_assert!(!accepts(&other.to_string(), &answer, policy), "{other} against {answer}");
            }
            // a multiple, an opposite or a sum with a number are other quantities
            for near in [format!("2{answer}"), format!("-{answer}"), format!("1+{answer}")] {
                prop_assert!(!accepts(&value.to_string(), &near, policy), "{near}");
            }
        }
    }

    #[test]
    fn a_function_of_a_sum_is_none_of_its_products(
        name in select(&["f", "g", "h", "F", "P", "Q", "f_1", "f'", r"\Gamma"][..]),
        letter in select(&["x", "n", "t", "a"][..]),
        number in 2i64..30,
    ) {
        let gold = format!("{name}({letter}+{number})");
        for policy in POLICIES {
            let same = format!(r"{name}\left({number}+{letter}\right)");
            prop_assert!(accepts(&gold, &same, policy), "{gold} against {same}");
            for answer in [
                format!(r"{name} {letter}+{number}{name}"),
                format!(r"{name} \cdot ({letter}+{number})"),
                format!(r"({letter}+{number}) {name}"),
                format!("{name}({letter})+{number}"),
                format!("{name}({letter})+{name}({number})"),
                format!("{name}({letter}-{number})"),
            ] {
                prop_assert!(!accepts(&gold, &answer, policy), "{gold} against {answer}");
            }
        }
    }

    #[test]
    fn a_factor_is_none_of_its_functions(
        factor in select(&["a", "b", "c", "k", "m", "x", r"\lambda"][..]), number in 2i64..30,
    ) {
        let gold = format!("{factor}(y+{number})");
        for policy in POLICIES {
            let (same, other) = (format!("{number}{factor}+{factor} y"), format!("{factor} y+{number}"));
            prop_assert!(accepts(&gold, &same, policy), "{gold} against {same}");
            prop_assert!(!accepts(&gold, &other, policy), "{gold} against {other}");
        }
    }

    #[test]
    fn a_parameter_may_have_any_name(
        start in 0i64..12, step in 2i64..12, name in select(&["n", "m", "j"][..]), shift in -2i64..3,
    ) {
        let gold = format!(r"{start}+{step}k, k\in\mathbb{{Z}}");
        let other = |start: i64, step: i64, set: &str| format!(r"{start}+{step}{name}, {name}\in\mathbb{{{set}}}");
        for policy in POLICIES {
            let same = other(start + shift * step, step, "Z");
            prop_assert!(accepts(&gold, &same, policy), "{gold} against {same}");
            for near in [
                other(start + 1, step, "Z"),
                other(start, step + 1, "Z"),
                other(start, 2 * step, "Z"),
                other(start, step, "N"),
            ] {
                prop_assert!(!accepts(&gold, &near, policy), "{gold} against {near}");
            }
        }
    }
}
