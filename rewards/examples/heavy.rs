#![allow(warnings)]
use rewards::*;
use std::time::Instant;
fn main() {
    let fill = |unit: &str, join: &str, n: usize| -> String {
        let mut s = String::new();
        while s.len() + unit.len() + join.len() < n {
            if !s.is_empty() {
                s += join;
            }
            s += unit;
        }
        s
    };
    let units = [
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
        "3",
        "i",
        r"\sqrt{-x}",
        r"\sqrt{1+i}",
        r"e^{i}",
        r"123456789012345678901234567890",
        r"\frac{7^{999}}{3^{998}}",
        r"\gcd(7^{999},3^{99})",
        r"\frac{\pi}{e}",
        r"x_{1}",
        r"|x|",
        r"\pm x",
        r"2^{2^{9}}",
        r"\frac{1}{10^{4000}}",
        r"1\pm\sqrt{3}",
    ];
    let joins = ["+", r"\cdot ", ",", "-", ")(", "<", "=", r"\cup "];
    let mut worst = Vec::new();
    for policy in [Policy::Rl, Policy::Eval] {
        for unit in units {
            for join in joins {
                for n in [100, 400, 1500, 4090] {
                    let mut gold = fill(unit, join, n);
                    let mut more: Vec<String> = vec![
                        format!("{gold}+1"),
                        format!("1+{gold}"),
                        format!("{gold}{join}{}", units[1]),
                        format!(r"\sin 1+{gold}"),
                    ];
                    if join == "," {
                        more.push(format!(r"\{{{gold}\}}"));
                        let rev: Vec<&str> = vec![unit; 3];
                        more.push(format!("{}, {gold}", units[1]));
                    }
                    for answer in more {
                        let mut t = f64::MAX;
                        let mut v = Equivalence::Limit;
                        for _ in 0..4 {
                            let start = Instant::now();
                            v = equivalent(&gold, &answer, policy);
                            t = t.min(start.elapsed().as_secs_f64() * 1e3);
                            if t < 2.0 {
                                break;
                            }
                        }
                        worst.push((t, format!("{policy:?} {v:?} {unit} {join} {n}")));
                    }
                    // wrapped: nested functions
                }
            }
        }
        for wrap in [r"\sqrt{1+", r"\sin(1+", r"e^{", r"\frac{1}{1+", r"\ln(2+", r"(1+", r"|1+"] {
            for n in [10, 30, 60, 62] {
                let close = if wrap.ends_with("(1+") || wrap.ends_with("(2+") {
                    ")"
                } else if wrap.starts_with("|") {
                    "|"
                } else {
                    "}"
                };
                for seed in ["2", "x", r"\sqrt{2}"] {
                    let text = format!("{}{seed}{}", wrap.repeat(n), close.repeat(n));
                    let other = format!("{}{seed}{}+0.5", wrap.repeat(n), close.repeat(n));
                    let third = format!("{}1+{seed}{}", wrap.repeat(n), close.repeat(n));
                    for answer in [other, third] {
                        let mut t = f64::MAX;
                        let mut v = Equivalence::Limit;
                        for _ in 0..4 {
                            let start = Instant::now();
                            v = equivalent(&text, &answer, policy);
                            t = t.min(start.elapsed().as_secs_f64() * 1e3);
                            if t < 2.0 {
                                break;
                            }
                        }
                        worst.push((t, format!("{policy:?} {v:?} nest {wrap} {n} {seed}")));
                    }
                }
            }
        }
    }
    worst.sort_by(|a, b| b.0.total_cmp(&a.0));
    for (t, what) in worst.iter().take(45) {
        println!("{t:.2} ms {what}");
    }
    println!(
        "{} pairs, mean {:.3} ms",
        worst.len(),
        worst.iter().map(|w| w.0).sum::<f64>() / worst.len() as f64
    );
}
