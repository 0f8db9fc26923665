//! Functions, named quantities, equations still to be solved and parameters, with whatever letters
//! and numbers.

use proptest::{prelude::*, sample::select, test_runner::FileFailurePersistence};
use rewards::{Equivalence, Strictness, equivalent};

const POLICIES: [Strictness; 2] = [Strictness::Rl, Strictness::Eval];

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

/// Quantities that depend on an unknown, `@`.
const OF_UNKNOWN: [&str; 8] =
    ["@", r"\sin @", r"\cos @", r"\tan(@)", r"\cot @", r"\sin^2 @", "f(@)", "g'(@)"];

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

fn accepts(gold: &str, answer: &str, strictness: Strictness) -> bool {
    equivalent(gold, answer, strictness) == Equivalence::Equal
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
        for strictness in POLICIES {
            for answer in [format!("{left}={value}"), format!("{value}={left}")] {
                prop_assert!(!accepts(&value.to_string(), &answer, strictness), "{answer}");
            }
        }
    }

    #[test]
    fn quantities_of_one_unknown_are_no_value_of_their_sum_and_of_two_unknowns_are(
        one in select(&OF_UNKNOWN[..]), other in select(&OF_UNKNOWN[..]),
        sign in select(&["+", "-", r" \cdot "][..]), value in -60i64..60,
    ) {
        prop_assume!(one != other && value != 0);
        for strictness in POLICIES {
            let sum = |letter: &str| {
                format!("{}{sign}{}={value}", one.replace('@', "x"), other.replace('@', letter))
            };
            prop_assert!(!accepts(&value.to_string(), &sum("x"), strictness), "{}", sum("x"));
            prop_assert!(accepts(&value.to_string(), &sum("y"), strictness), "{}", sum("y"));
        }
    }

    #[test]
    fn a_letter_applied_to_itself_is_a_square(
        letters in select(&["x", "n", "a", "f", "P", "X", r"\theta", "x_1"][..]), value in 1i64..60,
    ) {
        for strictness in POLICIES {
            for answer in [format!("{letters}({letters})={value}"), format!("{value}={letters}({letters})")] {
                prop_assert!(!accepts(&value.to_string(), &answer, strictness), "{answer}");
            }
        }
    }

    #[test]
    fn a_quantity_that_is_zero_leaves_its_unknown_open(
        one in select(&OF_UNKNOWN[..]), letter in select(&["x", "t", "n"][..]),
    ) {
        for strictness in POLICIES {
            let call = one.replace('@', letter);
            for answer in [format!("{call}=0"), format!("0={call}"), format!("{call} y=0")] {
                let is_solved = one == "@" && !answer.contains('y');
                prop_assert_eq!(accepts("0", &answer, strictness), is_solved, "{}", answer);
            }
        }
    }

    #[test]
    fn a_word_that_denies_gives_no_value_in_any_place_font_or_case(
        word in select(&["not", "no", "wrong", "false", "never", "incorrect"][..]),
        case in 0..3usize,
        place in select(&[r"\text{@}", r"\mathrm{@}", r"\textbf{@}", r"x_{\text{@}}", "x_{@}", r"A_{\mathrm{@}}", r"f_{@}(2)"][..]),
        value in -60i64..60,
    ) {
        let word = match case {
            0 => word.to_owned(),
            1 => word.to_uppercase(),
            _ => format!("{}{}", word[..1].to_uppercase(), &word[1..]),
        };
        let answer = format!("{}={value}", place.replace('@', &word));
        for strictness in POLICIES {
            prop_assert!(!accepts(&value.to_string(), &answer, strictness), "{answer}");
            let other = format!("{}={value}", place.replace('@', "max"));
            prop_assert!(accepts(&value.to_string(), &other, strictness) || !place.contains('_'), "{other}");
        }
    }

    #[test]
    fn a_named_quantity_gives_its_value_and_no_other(
        name in select(&NAMED[..]), letter in select(&["A", "X", "M", "T"][..]), value in -60i64..60,
    ) {
        let answer = format!("{}={value}", name.replace('@', letter));
        for strictness in POLICIES {
            prop_assert!(accepts(&value.to_string(), &answer, strictness), "{answer}");
            prop_assert!(accepts(&answer, &value.to_string(), strictness) || name.contains('+'), "{answer}");
            for other in [value + 1, -value - 1, 10 * value + 1] {
                prop_assert!(!accepts(&other.to_string(), &answer, strictness), "{other} against {answer}");
            }
            // a multiple, an opposite or a sum with a number are other quantities
            for near in [format!("2{answer}"), format!("-{answer}"), format!("1+{answer}")] {
                prop_assert!(!accepts(&value.to_string(), &near, strictness), "{near}");
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
        for strictness in POLICIES {
            let same = format!(r"{name}\left({number}+{letter}\right)");
            prop_assert!(accepts(&gold, &same, strictness), "{gold} against {same}");
            for answer in [
                format!(r"{name} {letter}+{number}{name}"),
                format!(r"{name} \cdot ({letter}+{number})"),
                format!(r"({letter}+{number}) {name}"),
                format!("{name}({letter})+{number}"),
                format!("{name}({letter})+{name}({number})"),
                format!("{name}({letter}-{number})"),
            ] {
                prop_assert!(!accepts(&gold, &answer, strictness), "{gold} against {answer}");
            }
        }
    }

    #[test]
    fn a_factor_is_none_of_its_functions(
        factor in select(&["a", "b", "c", "k", "m", "x", r"\lambda"][..]), number in 2i64..30,
    ) {
        let gold = format!("{factor}(y+{number})");
        for strictness in POLICIES {
            let (same, other) = (format!("{number}{factor}+{factor} y"), format!("{factor} y+{number}"));
            prop_assert!(accepts(&gold, &same, strictness), "{gold} against {same}");
            prop_assert!(!accepts(&gold, &other, strictness), "{gold} against {other}");
        }
    }

    #[test]
    fn a_parameter_may_have_any_name(
        start in 0i64..12, step in 2i64..12, name in select(&["n", "m", "j"][..]), shift in -2i64..3,
    ) {
        let gold = format!(r"{start}+{step}k, k\in\mathbb{{Z}}");
        let other = |start: i64, step: i64, set: &str| format!(r"{start}+{step}{name}, {name}\in\mathbb{{{set}}}");
        for strictness in POLICIES {
            let same = other(start + shift * step, step, "Z");
            prop_assert!(accepts(&gold, &same, strictness), "{gold} against {same}");
            for near in [
                other(start + 1, step, "Z"),
                other(start, step + 1, "Z"),
                other(start, 2 * step, "Z"),
                other(start, step, "N"),
            ] {
                prop_assert!(!accepts(&gold, &near, strictness), "{gold} against {near}");
            }
        }
    }
}
