//! The hardest pairs that fit into an answer: the budget of steps ends each of them in time.

use std::time::Duration;

use rewards::{Equivalence, Policy, equivalent};

use crate::running_time;

/// What one comparison may take on a busy machine, several times what it takes on an idle one.
const LIMIT: Duration = Duration::from_millis(40);

/// Parts that cost much for their length.
const UNITS: [&str; 40] = [
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
];

fn repeated(unit: &str, join: &str, bytes: usize) -> String {
    let count = (bytes / (unit.len() + join.len())).max(1);
    vec![unit; count].join(join)
}

#[test]
fn the_hardest_comparisons_end_in_time() {
    let mut slowest = (Duration::ZERO, String::new());
    let mut check = |gold: &str, answer: &str, policy: Policy| {
        let mut took = Duration::MAX;
        for _ in 0..4 {
            let start = running_time();
            let verdict = equivalent(gold, answer, policy);
            took = took.min(running_time().saturating_sub(start));
            assert!(verdict != Equivalence::Equal || policy == Policy::Eval || gold != answer);
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
                    check(&gold, &answer, Policy::Rl);
                    check(&gold, &answer, Policy::Eval);
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
                check(&gold, &format!("{gold}+0.5"), Policy::Eval);
                check(&gold, &format!("{open}1+{seed}{close}"), Policy::Rl);
            }
        }
    }
    println!("slowest comparison: {:?}, {}", slowest.0, slowest.1);
}
