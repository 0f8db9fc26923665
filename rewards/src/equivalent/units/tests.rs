//! Promises of the table and of arithmetic with units.

use dashu_ratio::RBig;
use proptest::prelude::*;

use super::{Unit, table};
use crate::{Equivalence, Strictness, equivalent};

fn known() -> Vec<(String, Unit)> {
    table::spellings()
        .into_iter()
        .flatten()
        .map(|spelling| {
            let unit = Unit::read(&spelling).unwrap_or_else(|| panic!("unreadable: {spelling}"));
            (spelling, unit)
        })
        .collect()
}

fn accepted(gold: &str, answer: &str, strictness: Strictness) -> bool {
    equivalent(gold, answer, strictness) == Equivalence::Equal
}

#[test]
fn every_spelling_is_a_known_unit() {
    for (spelling, unit) in known() {
        assert!(unit.is_known(), "{spelling} is read as {unit}");
        assert!(unit.size() > RBig::ZERO, "{spelling}");
    }
}

#[test]
fn no_spelling_has_two_readings_but_the_decibel() {
    let mut spellings: Vec<_> = table::spellings().into_iter().flatten().collect();
    spellings.sort();
    let twice: Vec<_> = spellings.windows(2).filter(|pair| pair[0] == pair[1]).collect();
    // symbols of rows go before those with a prefix, here the tenth of a byte
    assert_eq!(twice, [["dB", "dB"]]);
}

#[test]
fn conversions_of_all_pairs_are_exact_and_symmetric() {
    let known = known();
    for (one, from) in &known {
        for (other, to) in &known {
            let (there, back) = (from.conversion(to), to.conversion(from));
            match (there, back) {
                (Some(there), Some(back)) => {
                    assert_eq!(there * back, RBig::ONE, "{one} and {other}");
                }
                (None, None) => assert_ne!(from.dimension(), to.dimension(), "{one}, {other}"),
                _ => panic!("{one} converts into {other}, and not back"),
            }
        }
    }
}

#[test]
fn a_symbol_in_another_case_is_another_unit() {
    for pair in ["mg Mg", "ms Ms", "nm Nm", "mW MW", "mHz MHz", "pF PF", "kb kB", "mmol Mmol"] {
        let (one, other) = pair.split_once(' ').unwrap();
        let (one, other) = (Unit::read(one).unwrap(), Unit::read(other).unwrap());
        assert_ne!(one.conversion(&other), Some(RBig::ONE), "{pair}");
    }
}

#[test]
fn letters_are_the_explicit_unit_of_the_other_side() {
    let symbols = ["m", "s", "g", "L", "N", "J", "W", "V", "A", "K", "h", "kg", "ms", "mol", "kPa"];
    for one in symbols {
        for other in symbols {
            for strictness in [Strictness::Rl, Strictness::Eval] {
                let (text, letters) = (format!(r"7 \text{{ {one}}}"), format!("7 {other}"));
                assert_eq!(
                    accepted(&text, &letters, strictness),
                    one == other,
                    "{text}, {letters}"
                );
                assert_eq!(
                    accepted(&letters, &text, strictness),
                    one == other,
                    "{letters}, {text}"
                );
                for letters in [format!("7x {other}"), format!("7 {other} x"), format!("8 {other}")]
                {
                    assert!(!accepted(&text, &letters, strictness), "{text}, {letters}");
                    assert!(!accepted(&letters, &text, strictness), "{letters}, {text}");
                }
            }
        }
    }
}

#[test]
fn formulas_have_one_reading() {
    for (text, shown) in [
        ("square feet", "foot^2"),
        ("sq. ft.", "foot^2"),
        ("cubic centimeters", "cm^3"),
        ("miles per hour", "mile/h"),
        ("miles an hour", "mile/h"),
        ("meters per second squared", "m/s^2"),
        ("m/s/s", "m/s^2"),
        (r"kg\,m^{2}\,s^{-2}", "kg m^2/s^2"),
        (r"km\cdot h^{-1}", "km/h"),
        ("newton-meters", "N m"),
        ("light-years", "light year"),
        (r"\mu m", "um"),
        (r"k\Omega", "kΩ"),
        ("red apples per day", "red apple/d"),
        ("fl. oz.", "fluid ounce"),
        ("square", "square"),
        ("per", "unreadable"),
        ("m^0", "unreadable"),
        ("m^", "unreadable"),
        ("or more", "unreadable"),
        ("x+1", "unreadable"),
        ("", "unreadable"),
    ] {
        let unit = Unit::read(text).map_or("unreadable".into(), |unit| unit.to_string());
        assert_eq!(unit, shown, "{text}");
    }
}

fn quantity() -> impl Strategy<Value = (u32, usize)> {
    // units of length, of time and of mass, three of each
    (1u32..60, 0usize..9)
}

const UNITS: [(&str, u32); 9] = [
    ("mm", 1),
    ("cm", 10),
    ("m", 1000),
    ("s", 1),
    ("minutes", 60),
    ("hours", 3600),
    ("mg", 1),
    ("g", 1000),
    ("kg", 1_000_000),
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_word_outside_the_table_is_text(word in "[a-z]{2,14}( [a-z]{2,10})?", number in 2u32..99) {
        let unit = Unit::read(&word);
        if !unit.is_some_and(|unit| unit.may_be_added(Strictness::Rl)) {
            let gold = number.to_string();
            for answer in [
                format!(r"{number} \text{{ {word}}}"),
                format!(r"{number}\mathrm{{~{word}}}"),
                format!(r"\text{{{number} {word}}}"),
            ] {
                prop_assert!(!accepted(&gold, &answer, Strictness::Rl), "{answer}");
            }
        }
    }

    #[test]
    fn quantities_convert_in_sums_and_quotients((a, one) in quantity(), (b, other) in quantity()) {
        let ((one_name, one_size), (other_name, other_size)) = (UNITS[one], UNITS[other]);
        let (left, right) = (format!(r"{a} \text{{ {one_name}}}"), format!(r"{b} \text{{ {other_name}}}"));
        let (sum, quotient) = (format!("{left} + {right}"), format!(r"\frac{{{left}}}{{{right}}}"));
        let (x, y) = (u64::from(a) * u64::from(one_size), u64::from(b) * u64::from(other_size));
        let gold = format!(r"{} \text{{ {}}}", x + y, UNITS[one / 3 * 3].0);
        let ratio = format!("{x}/{y}");
        let alike = one / 3 == other / 3;
        prop_assert_eq!(accepted(&gold, &sum, Strictness::Rl), alike, "{}", sum);
        prop_assert_eq!(accepted(&(a + b).to_string(), &sum, Strictness::Rl), one == other, "{}", sum);
        if alike {
            prop_assert!(accepted(&ratio, &quotient, Strictness::Rl), "{}", quotient);
            let bare = format!("{a}/{b}");
            prop_assert_eq!(accepted(&bare, &quotient, Strictness::Rl), one == other, "{}", quotient);
        }
    }
}
