//! Sums over an index, solved inequalities and matrices against the same written out by the test.

use proptest::{prelude::*, test_runner::FileFailurePersistence};
use rewards::{Equivalence, Strictness, equivalent};

const POLICIES: [Strictness; 2] = [Strictness::Rl, Strictness::Eval];

fn is(gold: &str, answer: &str, expected: Equivalence) -> Result<(), TestCaseError> {
    for strictness in POLICIES {
        let said = equivalent(gold, answer, strictness);
        prop_assert_eq!(said, expected, "{} against {}", gold, answer);
    }
    Ok(())
}

/// A term of a sum, its variable to be put in.
fn terms() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        3 => Just("?".to_owned()),
        2 => (1i64..6).prop_map(|n| n.to_string()),
        1 => Just("x".to_owned()),
        1 => Just(r"\sqrt{2}".to_owned()),
    ];
    leaf.prop_recursive(3, 8, 2, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} + {b})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!(r"{a} \cdot {b}")),
            inner.clone().prop_map(|a| format!("({a})^2")),
            inner.clone().prop_map(|a| format!(r"\frac{{{a}}}{{?^2+1}}")),
            inner.prop_map(|a| format!("(-2)^? {a}")),
        ]
    })
}

fn written_out(term: &str, join: &str, indices: std::ops::RangeInclusive<i64>) -> String {
    let terms: Vec<_> =
        indices.map(|k| format!("({})", term.replace('?', &format!("({k})")))).collect();
    terms.join(join)
}

/// What `x` relates so to, of a polynomial with these roots.
fn factored(roots: &[i64]) -> String {
    roots.iter().map(|root| format!("(x - ({root}))")).collect::<Vec<_>>().concat()
}

/// The same polynomial, its coefficients from the constant on.
fn expanded(roots: &[i64]) -> Vec<i64> {
    let mut coefficients = vec![1];
    for root in roots {
        let mut next = vec![0; coefficients.len() + 1];
        for (at, coefficient) in coefficients.iter().enumerate() {
            next[at] -= root * coefficient;
            next[at + 1] += coefficient;
        }
        coefficients = next;
    }
    coefficients
}

fn written(coefficients: &[i64]) -> String {
    let term = |(at, c): (usize, &i64)| match at {
        0 => format!("({c})"),
        _ => format!("({c})x^{{{at}}}"),
    };
    coefficients.iter().enumerate().map(term).collect::<Vec<_>>().join(" + ")
}

fn matrix(entries: &[i64], columns: usize) -> String {
    let rows: Vec<_> = entries
        .chunks(columns)
        .map(|row| row.iter().map(i64::to_string).collect::<Vec<_>>().join(" & "))
        .collect();
    format!(r"\begin{{pmatrix}} {} \end{{pmatrix}}", rows.join(r" \\ "))
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 400,
        failure_persistence: Some(Box::new(FileFailurePersistence::Off)),
        ..ProptestConfig::default()
    })]

    #[test]
    fn sums_equal_their_terms_written_out(
        term in terms(), first in -2i64..4, count in 1i64..6, index in "[jkm]",
    ) {
        let last = first + count - 1;
        let body = term.replace('?', &index);
        let sum = format!(r"\sum_{{{index}={first}}}^{{{last}}} {body}");
        is(&written_out(&term, " + ", first..=last), &sum, Equivalence::Equal)?;
        let product = format!(r"\prod_{{{index}={first}}}^{{{last}}} {body}");
        is(&written_out(&term, r" \cdot ", first..=last), &product, Equivalence::Equal)?;
    }

    #[test]
    fn sums_of_more_terms_are_no_sums_of_fewer(
        coefficients in proptest::collection::vec(1i64..9, 1..5), first in 1i64..4, count in 1i64..40,
    ) {
        let body = written(&coefficients).replace('x', "k");
        let sum = |last: i64| format!(r"\sum_{{k={first}}}^{{{last}}} ({body})");
        let last = first + count;
        is(&sum(last), &sum(last), Equivalence::Equal)?;
        is(&sum(last), &sum(last + 1), Equivalence::Different)?;
        let value = |k: i64| coefficients.iter().rev().fold(0, |sum, c| sum * k + c);
        let total: i64 = (first..=last).map(value).sum();
        is(&total.to_string(), &sum(last), Equivalence::Equal)?;
        is(&(total + 1).to_string(), &sum(last), Equivalence::Different)?;
    }

    #[test]
    fn closed_forms_hold_at_every_bound(
        coefficients in proptest::collection::vec(-5i64..6, 1..4), ratio in prop_oneof![-4i64..-1, 2i64..5],
        last in 0i64..9,
    ) {
        prop_assume!(coefficients.iter().any(|c| *c != 0));
        let body = written(&coefficients).replace('x', "k");
        // the symbol stands for a number by a product with one
        let up_to = |bound: &str| format!(r"\sum_{{k=0}}^{{{bound}}} ({body})({ratio})^k");
        let value = |k: i64| coefficients.iter().rev().fold(0, |sum, c| sum * k + c) * ratio.pow(k as u32);
        let total: i64 = (0..=last).map(value).sum();
        is(&total.to_string(), &up_to(&last.to_string()), Equivalence::Equal)?;
        let next = format!("{} + (({}))({ratio})^{{n+1}}", up_to("n"), body.replace('k', "(n+1)"));
        is(&up_to("n+1"), &next, Equivalence::Equal)?;
        is(&up_to("n+1"), &format!("{next} + 1"), Equivalence::Different)?;
    }

    #[test]
    fn a_quadratic_inequality_is_the_interval_between_its_roots(
        low in -9i64..9, width in 1i64..9, factor in prop_oneof![-5i64..0, 1i64..6], strict in any::<bool>(),
    ) {
        let roots = [low, low + width];
        let sign = match (factor > 0, strict) {
            (true, true) => "<",
            (true, false) => r"\le",
            (false, true) => ">",
            (false, false) => r"\ge",
        };
        let (open, close) = if strict { ('(', ')') } else { ('[', ']') };
        let (other_open, other_close) = if strict { ('[', ']') } else { ('(', ')') };
        let interval = format!("{open}{}, {}{close}", roots[0], roots[1]);
        let coefficients: Vec<_> = expanded(&roots).iter().map(|c| c * factor).collect();
        for inequality in [
            format!("{} {sign} 0", written(&coefficients)),
            format!("({factor}){} {sign} 0", factored(&roots)),
            format!("{} {sign} {}", written(&[&[0], &coefficients[1..]].concat()), -coefficients[0]),
        ] {
            is(&interval, &inequality, Equivalence::Equal)?;
            is(&inequality, &interval, Equivalence::Equal)?;
            let near = [
                format!("{other_open}{}, {}{other_close}", roots[0], roots[1]),
                format!("{open}{}, {}{other_close}", roots[0], roots[1]),
                format!("{open}{}, {}{close}", roots[0], roots[1] + 1),
                format!(r"\mathbb{{R}} \setminus {interval}"),
            ];
            for near in near {
                is(&near, &inequality, Equivalence::Different)?;
            }
        }
    }

    #[test]
    fn signs_alternate_between_roots(mut roots in proptest::collection::btree_set(-6i64..7, 1..5)) {
        let all: Vec<_> = roots.iter().copied().collect();
        let largest = roots.pop_last().unwrap_or_default();
        let mut pieces = vec![format!(r"({largest}, \infty)")];
        let below: Vec<_> = all.iter().rev().skip(1).copied().collect();
        for pair in below.chunks(2) {
            pieces.push(match pair {
                [high, low] => format!("({low}, {high})"),
                [high] => format!(r"(-\infty, {high})"),
                _ => String::new(),
            });
        }
        let union = pieces.join(r" \cup ");
        is(&union, &format!("{} > 0", factored(&all)), Equivalence::Equal)?;
        is(&union, &format!("{} > 0", written(&expanded(&all))), Equivalence::Equal)?;
        is(&union, &format!(r"{} \ge 0", factored(&all)), Equivalence::Different)?;
        let (first, rest) = (factored(&all[..1]), factored(&all[1..]));
        let quotient = format!(r"\frac{{{first}}}{{{}}} > 0", if rest.is_empty() { "1" } else { &rest });
        is(&union, &quotient, Equivalence::Equal)?;
    }

    #[test]
    fn distances_are_intervals(middle in -9i64..9, half in 1i64..9) {
        let (low, high) = (middle - half, middle + half);
        let distance = format!(r"|x - ({middle})| \le {half}");
        is(&format!("[{low}, {high}]"), &distance, Equivalence::Equal)?;
        is(&format!("({low}, {high})"), &distance, Equivalence::Different)?;
        is(&format!("[{low}, {}]", high + 1), &distance, Equivalence::Different)?;
        is(&format!(r"x \le {low} \text{{ or }} x \ge {high}"), &distance, Equivalence::Different)?;
    }

    #[test]
    fn products_of_matrices_are_those_of_their_entries(
        size in 1usize..4, a in proptest::collection::vec(-9i64..10, 9), b in proptest::collection::vec(-9i64..10, 9),
        at in 0usize..9, change in 1i64..5,
    ) {
        let (a, b) = (&a[..size * size], &b[..size * size]);
        let mut product: Vec<i64> = (0..size * size)
            .map(|at| (0..size).map(|k| a[at / size * size + k] * b[k * size + at % size]).sum())
            .collect();
        let written = format!("{} {}", matrix(a, size), matrix(b, size));
        let gold = matrix(&product, size);
        // one by one, a row times a column is a number
        if size > 1 {
            is(&gold, &written, Equivalence::Equal)?;
            product[at % (size * size)] += change;
            is(&matrix(&product, size), &written, Equivalence::Different)?;
        }
        let sum: Vec<_> = a.iter().zip(b).map(|(a, b)| a + 2 * b).collect();
        let written = format!("{} + 2 {}", matrix(a, size), matrix(b, size));
        is(&matrix(&sum, size), &written, Equivalence::Equal)?;
        let turned: Vec<_> = (0..size * size).map(|at| a[at % size * size + at / size]).collect();
        is(&matrix(&turned, size), &format!("{}^T", matrix(a, size)), Equivalence::Equal)?;
    }

    #[test]
    fn any_text_equals_itself(text in r"(\\(oint|sum|prod|int|lim|left|right|frac|nabla|d)|[-0-9xie+^_(){}\[\],.<=%! ]){1,20}") {
        for strictness in POLICIES {
            let own = equivalent(&text, &text, strictness);
            let braces = text.chars().try_fold(0i32, |depth, c| {
                let depth = depth + i32::from(c == '{') - i32::from(c == '}');
                (depth >= 0).then_some(depth)
            });
            let spaced = equivalent(&text, &format!(r" {text}\;"), strictness);
            if text.contains(|c: char| c.is_ascii_digit()) && braces == Some(0) {
                prop_assert_eq!(own, Equivalence::Equal, "{}", text);
                prop_assert_eq!(spaced, Equivalence::Equal, "{}", text);
            }
        }
    }
}
