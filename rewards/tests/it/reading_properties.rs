//! What reading promises, on texts made of the pieces that answers are made of.

use proptest::prelude::*;
use rewards::equivalent::is_readable;
use rewards::{Equivalence, Strictness, equivalent};

const PIECES: [&str; 84] = [
    "1",
    "2",
    "10",
    "0.5",
    "1,000",
    "x",
    "y",
    "n",
    "e",
    "i",
    "+",
    "-",
    "*",
    "/",
    "^",
    "_",
    "=",
    "<",
    ">",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    r"\{",
    r"\}",
    "|",
    ",",
    ";",
    ":",
    "!",
    "%",
    "'",
    " ",
    ".",
    "$",
    r"\$",
    r"\%",
    r"\frac",
    r"\sqrt",
    r"\sqrt[3]",
    r"\binom",
    r"\pi",
    r"\infty",
    r"\sin",
    r"\log",
    r"\log_2",
    r"\pm",
    r"\mp",
    r"\cdot",
    r"\times",
    r"\le",
    r"\ne",
    r"\in",
    r"\cup",
    r"\left",
    r"\right",
    r"\text{ cm}",
    r"\text{or}",
    r"\text{and}",
    r"\text{",
    r"\mathrm{",
    r"\mathbb{R}",
    r"\overline{3}",
    r"\circ",
    r"\begin{pmatrix}",
    r"\end{pmatrix}",
    r"\begin{cases}",
    r"\end{cases}",
    "&",
    r"\\",
    r"\,",
    r"\!",
    r"\boxed{",
    r"\dots",
    r"\emptyset",
    r"\hat",
    r"\pmod",
    "½",
    "²",
    "√",
    "°",
    "é",
];

/// Texts that are often nearly answers.
fn pieces() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(PIECES.to_vec()), 0..16)
        .prop_map(|pieces| pieces.concat())
}

/// Texts that are answers.
fn answers() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        "[1-9][0-9]{0,3}",
        "[0-9]\\.[0-9]{1,3}",
        "[a-dxyz]",
        Just(r"\pi".to_owned()),
        Just(r"\sqrt{2}".to_owned()),
    ];
    leaf.prop_recursive(4, 24, 3, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("{a} + {b}")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a}) \\cdot ({b})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!(r"\frac{{{a}}}{{{b}}}")),
            inner.clone().prop_map(|a| format!("({a})^2")),
            inner.clone().prop_map(|a| format!(r"\sqrt{{{a}}}")),
            inner.prop_map(|a| format!(r"-\left({a}\right)")),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn every_text_is_judged(gold in pieces(), answer in pieces()) {
        for strictness in [Strictness::Rl, Strictness::Eval] {
            let judged = equivalent(&gold, &answer, strictness);
            let unreadable = judged == Equivalence::GoldUnparseable;
            // by an unreadable gold nothing is judged but the same text
            let same = judged == Equivalence::Equal;
            let readable = is_readable(&gold, strictness);
            prop_assert!(unreadable != readable || !readable && same, "{}", gold);
        }
    }

    #[test]
    fn what_is_right_in_training_is_right_in_scores(gold in pieces(), answer in pieces()) {
        for answer in [&answer, &gold] {
            let strict = equivalent(&gold, answer, Strictness::Rl) == Equivalence::Equal;
            let lenient = equivalent(&gold, answer, Strictness::Eval) == Equivalence::Equal;
            prop_assert!(!strict || lenient, "{} {}", gold, answer);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn wrappers_change_nothing(answer in answers()) {
        for wrapped in [
            format!("${answer}$"),
            format!(r"\({answer}\)"),
            format!(r"\boxed{{{answer}}}"),
            format!("{{{answer}}}"),
            format!(r"\displaystyle {answer}"),
            format!(r"\left({answer}\right)"),
            format!(r"\; {answer}\,"),
            format!("{answer}."),
            answer.replace(' ', ""),
            answer.replace('-', "\u{2212}"),
        ] {
            let same = equivalent(&answer, &wrapped, Strictness::Rl);
            prop_assert_eq!(same, equivalent(&answer, &answer, Strictness::Rl), "{} {}", answer, wrapped);
        }
    }

    #[test]
    fn another_number_in_an_answer_changes_it(answer in answers(), seven in 1u32..9) {
        let changed = format!("{answer} + {seven}");
        prop_assert!(equivalent(&answer, &changed, Strictness::Rl) != Equivalence::Equal, "{}", changed);
    }
}
