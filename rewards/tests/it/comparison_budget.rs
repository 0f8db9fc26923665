//! The hardest pairs that fit into an answer: the budget of steps ends each of them in time.

use std::time::Duration;

use rewards::{Equivalence, Strictness, equivalent};

use crate::running_time;

/// What one comparison may take on a busy machine, several times what it takes on an idle one.
const LIMIT: Duration = Duration::from_millis(40);

/// Parts that cost much for their length.
const UNITS: [&str; 52] = [
    r"\sin x",
    r"\sqrt{2}",
    r"\sqrt{x}",
    r"\frac{1}{x}",
    r"x^{99}",
    r"\cos 7^\circ",
    r"\cos\frac{\pi}{97}",
    r"e^{x}",
    r"\ln x",
    r"\ln 3",
    r"e^{2}",
    r"7^{9999}",
    r"2500!",
    r"\frac{1}{2000!}",
    r"\binom{4000}{2000}",
    r"3^{1/16}",
    r"x^{1/3}",
    r"\arctan x",
    r"\log_{7} 5",
    r"\log_{1.001} 100",
    r"\sqrt[15]{7}",
    r"\sqrt[64]{7}",
    r"\tan x",
    r"(a+b)^{999}",
    r"10^{9999}",
    r"\lfloor \pi^{20} \rfloor",
    r"n!",
    r"\binom{n}{k}",
    "0.123456789",
    "i",
    r"\sqrt{1+i}",
    r"e^{i}",
    "123456789012345678901234567890",
    r"\frac{7^{999}}{3^{998}}",
    r"\gcd(7^{999},3^{99})",
    r"\frac{\pi}{e}",
    "|x|",
    r"\frac{1}{10^{4000}}",
    r"1\pm\sqrt{3}",
    r"\frac{1}{1000003}",
    r"\sum_{k=1}^{4000} \frac{1}{k^2+1}",
    r"\sum_{k=1}^{99} \sqrt{k}",
    r"\sum_{k=1}^{10^9} k^8",
    r"\prod_{k=1}^{2000} \frac{k}{k+2}",
    r"\sum_{i=1}^{40}\sum_{j=1}^{40} \frac{1}{i+j}",
    r"\sum_{k=1}^{n} k^8x^k",
    r"\sum_{k=0}^{\infty} \frac{k^8}{7^k}",
    r"\int_a^b (ax+b)^8 dx",
    r"\begin{pmatrix}1&x\\y&2\end{pmatrix}^8",
    r"|x^2-|x||",
    r"(x^3-720720x+1)(x^2-x-1)",
    r"\frac{x-1}{x^2-2}",
];

fn repeated(unit: &str, join: &str, bytes: usize) -> String {
    let count = (bytes / (unit.len() + join.len())).max(1);
    vec![unit; count].join(join)
}

#[test]
fn the_hardest_comparisons_end_in_time() {
    let mut slowest = (Duration::ZERO, String::new());
    let mut check = |gold: &str, answer: &str, strictness: Strictness| {
        let mut took = Duration::MAX;
        for _ in 0..4 {
            let start = running_time();
            let verdict = equivalent(gold, answer, strictness);
            took = took.min(running_time().saturating_sub(start));
            assert!(
                verdict != Equivalence::Equal || strictness == Strictness::Eval || gold != answer
            );
            if took < LIMIT / 8 {
                break;
            }
        }
        assert!(took < LIMIT, "{took:?}: {gold:.60} against {answer:.60}");
        if took > slowest.0 {
            slowest = (took, format!("{gold:.60} against {answer:.60}"));
        }
    };
    for unit in UNITS {
        for join in ["+", r"\cdot ", ",", "<", "=", r"\cup "] {
            for bytes in [100, 400, 1500, 4000] {
                let gold = repeated(unit, join, bytes);
                for answer in [format!("{gold}+1"), format!(r"\sqrt{{2}}{join}{gold}")] {
                    check(&gold, &answer, Strictness::Rl);
                    check(&gold, &answer, Strictness::Eval);
                }
            }
        }
    }
    for (open, close) in [
        (r"\sqrt{1+", "}"),
        (r"\sin(1+", ")"),
        ("e^{", "}"),
        (r"\frac{1}{1+", "}"),
        (r"\ln(2+", ")"),
        ("(1+", ")^2"),
    ] {
        for depth in [10, 30, 60] {
            for seed in ["2", "x", r"\sqrt{2}"] {
                let (open, close) = (open.repeat(depth), close.repeat(depth));
                let gold = format!("{open}{seed}{close}");
                check(&gold, &format!("{gold}+0.5"), Strictness::Eval);
                check(&gold, &format!("{open}1+{seed}{close}"), Strictness::Rl);
            }
        }
    }
    println!("slowest comparison: {:?}, {}", slowest.0, slowest.1);
}

/// The part of a list by its number.
type Part = fn(usize) -> String;

/// Parts that are told apart by different things: values, names, ends, roots, units.
const PARTS: [Part; 10] = [
    |n| format!("({n},{})", n + 1),
    |n| format!("x_{{{}}}={n}", n + 1),
    |n| format!(r"(\sqrt{{{}}},{n})", 8 * n + 3),
    |n| format!("x^{{{}}}+1", n + 2),
    |n| format!(r"\frac{{1}}{{{}}}\pi", n + 3),
    |n| format!("{n}+{}i", n + 1),
    |n| format!(r"\{{{n},{}\}}", n + 1),
    |n| format!("f({n})={}", n * n),
    |n| format!("1 \\le x \\le {}", n + 2),
    |n| format!("(a,{n})"),
];

/// The parts joined, from the first on or from the last.
fn list(part: Part, count: usize, backwards: bool, join: &str) -> String {
    let parts = (0..count).map(|n| part(if backwards { count - 1 - n } else { n }));
    parts.collect::<Vec<_>>().join(join)
}

#[track_caller]
fn ends_in_time(gold: &str, answer: &str, strictness: Strictness, wanted: Equivalence) {
    let mut took = Duration::MAX;
    for _ in 0..4 {
        let start = running_time();
        assert_eq!(equivalent(gold, answer, strictness), wanted, "{gold:.60} against {answer:.60}");
        took = took.min(running_time().saturating_sub(start));
    }
    assert!(took < LIMIT / 2, "{took:?}: {gold:.60} against {answer:.60}");
}

#[test]
fn long_lists_are_matched_in_any_order() {
    for part in PARTS {
        for strictness in [Strictness::Rl, Strictness::Eval] {
            let gold = list(part, 40, false, ", ");
            let answer = list(part, 40, true, ", ");
            ends_in_time(&gold, &answer, strictness, Equivalence::Equal);
            let other = answer.replacen(&part(20), &part(41), 1);
            ends_in_time(&gold, &other, strictness, Equivalence::Different);
        }
    }
}

#[test]
fn long_unions_and_alternatives_are_matched_in_any_order() {
    let interval = |n: usize| format!("({},{})", 2 * n, 2 * n + 1);
    let closed = |n: usize| format!("[{},{})", 2 * n, 2 * n + 1);
    let between = |n: usize| format!("{}<x<{}", 2 * n, 2 * n + 1);
    let at_most = |n: usize| format!(r"{}<x\le {}", 2 * n, 2 * n + 1);
    let parts: [(Part, Part, &str); 2] =
        [(interval, closed, r" \cup "), (between, at_most, r" \text{ or } ")];
    for (part, other, join) in parts {
        for strictness in [Strictness::Rl, Strictness::Eval] {
            let gold = list(part, 70, false, join);
            let answer = list(part, 70, true, join);
            ends_in_time(&gold, &answer, strictness, Equivalence::Equal);
            let wrong = answer.replacen(&part(30), &other(30), 1);
            ends_in_time(&gold, &wrong, strictness, Equivalence::Different);
        }
    }
}
