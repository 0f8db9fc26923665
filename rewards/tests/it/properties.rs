//! What holds for any input.

use proptest::prelude::*;

use rewards::verifier::{
    Aim, Countdown, Format, Length, Math, Overlong, Pattern, Repetition, Rule, ThinkTags,
};
use rewards::{
    Equivalence, Extracted, LossTerms, Marker, Outcome, Rubric, RubricConfig, Strictness,
    TokenColumns, Verifier, WeightingConfig, equivalent, extract,
};

/// Text made of what graders care about, so that random strings come near an answer.
fn text() -> impl Strategy<Value = String> {
    let pieces = [
        r"\boxed{", r"\fbox{", "{", "}", r"\{", "\\", "$", r"\$", r"\text{", r"\frac", "{1}",
        "{2}", "12", "000", ",", r"\,", r",\!", ".", "-", "−", "+", "/", " ", "é", "<think>",
        "</think>", "x",
    ];
    let near = prop::collection::vec(prop::sample::select(pieces.to_vec()), 0..24)
        .prop_map(|pieces| pieces.concat());
    prop_oneof![4 => near, 1 => any::<String>()]
}

/// A rational number in one of its spellings, and its value.
fn number() -> impl Strategy<Value = (String, i64, i64)> {
    (-50i64..50, prop::sample::select(vec![1i64, 2, 4, 5, 10, -2]), 1i64..4, 0usize..6).prop_map(
        |(n, d, factor, form)| {
            let (a, b) = (n * factor, d * factor);
            let text = match form {
                0 => format!(r"\frac{{{a}}}{{{b}}}"),
                1 => format!("{a}/{b}"),
                2 => format!(r"$\dfrac{{{a}}}{{{b}}}$"),
                3 => format!(r"\text{{{}}}", n as f64 / d as f64),
                4 => format!("{}.", n as f64 / d as f64),
                _ => format!(r"{{\tfrac{{0{}}}{{{b}}}}}", a.abs()),
            };
            (text, if form == 5 { n.abs() } else { n }, d)
        },
    )
}

/// Text made of what stands in chains of steps.
fn steps() -> impl Strategy<Value = String> {
    let pieces = ["3", "5", "7", " 3", " 5", " 15", "15", "8", "+", "-", "*", "/", "=", ",", "R"];
    prop::collection::vec(prop::sample::select(pieces.to_vec()), 0..16)
        .prop_map(|pieces| pieces.concat())
}

/// A step that is done.
type Step = (u32, char, u32, u32);

/// Every chain of steps from `numbers`, by brute force.
fn chains(numbers: &[u32], done: &mut Vec<Step>, visit: &mut dyn FnMut(&[Step])) {
    for i in 0..numbers.len() {
        for j in (0..numbers.len()).filter(|&j| j != i) {
            let (a, b) = (i64::from(numbers[i]), i64::from(numbers[j]));
            let quotient = if b != 0 && a % b == 0 { a / b } else { -1 };
            for (sign, c) in [('+', a + b), ('-', a - b), ('*', a * b), ('/', quotient)] {
                if !(0..100).contains(&c) {
                    continue;
                }
                let kept = (0..numbers.len()).filter(|&k| k != i && k != j).map(|k| numbers[k]);
                let rest: Vec<u32> = kept.chain([c as u32]).collect();
                done.push((a as u32, sign, b as u32, c as u32));
                visit(done);
                chains(&rest, done, visit);
                done.pop();
            }
        }
    }
}

fn rewards() -> impl Strategy<Value = Vec<f64>> {
    prop::collection::vec(prop_oneof![Just(0.0), Just(1.0), -2.0..2.0f64], 0..17)
}

fn verifiers() -> Vec<Box<dyn Verifier>> {
    use Rule::{AnswerTags, BoxedOnce, Finished, ThinkEnd};
    vec![
        Box::new(Math::default()),
        Box::new(Math { strictness: Strictness::Eval, marker: Marker::AnswerLine }),
        Box::new(Math { strictness: Strictness::Rl, marker: Marker::Hashes }),
        Box::new(Countdown),
        Box::new(Length { aim: Aim::Short }),
        Box::new(Length { aim: Aim::Target(3.try_into().unwrap()) }),
        Box::new(Overlong { buffer: 4.try_into().unwrap() }),
        Box::new(Format {
            require: vec![Rule::ThinkTags, ThinkEnd, AnswerTags, BoxedOnce, Finished],
        }),
        Box::new(ThinkTags),
        Box::new(Repetition { words: 2.try_into().unwrap() }),
        Box::new(Pattern::new("twelve", r"\b12\b|^$").unwrap()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn exactly_the_chains_to_the_target_are_correct(
        numbers in prop::collection::vec(1u32..21, 2..4), pick: prop::sample::Index, spelling: bool,
    ) {
        let mut ends = Vec::new();
        chains(&numbers, &mut Vec::new(), &mut |chain| ends.push(chain[chain.len() - 1].3));
        let target = ends[pick.index(ends.len())];
        let given: Vec<String> = numbers.iter().map(u32::to_string).collect();
        let given = format!("{}> {target}", given.join(" "));
        let problem = rewards::Problem { problem: given, ..crate::problem("0") };
        chains(&numbers, &mut Vec::new(), &mut |chain| {
            let write = |(a, sign, b, c): &Step| {
                if spelling { format!(" {a}{sign} {b} {c}") } else { format!("{a}{sign}{b}={c},") }
            };
            let text: String = chain.iter().map(write).collect();
            let verdict = &Countdown.verify(&[crate::attempt(&problem, &text)]).unwrap()[0];
            let reached = chain[chain.len() - 1].3 == target;
            let expected = if reached { Outcome::Correct } else { Outcome::Wrong };
            assert_eq!(verdict.outcome, Some(expected), "{} | {text}", problem.problem);
        });
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn verifiers_are_total(
        gold in text(), response in text(), a: usize, b: usize, truncated: bool,
    ) {
        let problem = crate::problem(&gold);
        let attempt = rewards::Attempt {
            num_tokens: a.min(b), max_tokens: a.max(b), truncated, ..crate::attempt(&problem, &response)
        };
        for verifier in verifiers() {
            let verdict = &verifier.verify(&[attempt]).unwrap()[0];
            prop_assert!((-1.0..=1.0).contains(&verdict.reward));
            prop_assert_eq!(verdict.outcome.is_some(), verifier.judges_answers());
            prop_assert!(verdict.outcome != Some(Outcome::Error));
        }
    }

    #[test]
    fn what_a_chain_says_is_judged_without_its_spaces(
        text in steps(), given in "[1-9]( [0-9]){1,2}> [0-9]{1,2}",
    ) {
        let outcome = |text: &str| {
            let problem = rewards::Problem { problem: given.clone(), ..crate::problem("0") };
            Countdown.verify(&[crate::attempt(&problem, text)]).unwrap()[0].outcome
        };
        let spaced: String = text.chars().flat_map(|c| match c {
            '+' | '-' | '*' | '/' | '=' => vec![' ', c, ' '],
            'R' => vec!['\n', c],
            _ => vec![c],
        }).collect();
        prop_assert_eq!(outcome(&text), outcome(&spaced), "{} | {}", given, text);
    }

    #[test]
    fn an_answer_is_a_trimmed_part_of_the_response(response in text()) {
        if let Extracted::Answer(answer) = extract(&response, Strictness::Rl, Marker::Boxed) {
            prop_assert!(response.contains(answer) && !answer.is_empty() && answer.trim() == answer);
            let again = format!(r"\boxed{{{answer}}}");
            prop_assert_eq!(extract(&again, Strictness::Rl, Marker::Boxed), Extracted::Answer(answer));
        }
    }

    #[test]
    fn the_last_box_wins_whatever_stands_before(before in text(), answer in "[0-9]{1,9}") {
        let response = format!(r"{before} </think> \boxed{{{answer}}}");
        prop_assert_eq!(extract(&response, Strictness::Rl, Marker::Boxed), Extracted::Answer(&answer));
    }

    #[test]
    fn equivalence_is_reflexive_and_symmetric(a in text(), b in text()) {
        let with = |gold: &str, answer: &str| equivalent(gold, answer, Strictness::Rl);
        let own = with(&a, &a);
        prop_assert!(matches!(own, Equivalence::Equal | Equivalence::GoldUnparseable));
        prop_assert_eq!(with(&a, &b) == Equivalence::Equal, with(&b, &a) == Equivalence::Equal);
    }

    #[test]
    fn numbers_are_equal_exactly_if_their_values_are((a, n, d) in number(), (b, m, e) in number()) {
        let expected = if n * e == m * d { Equivalence::Equal } else { Equivalence::Different };
        prop_assert_eq!(equivalent(&a, &b, Strictness::Rl), expected, "{} {}", a, b);
    }

    #[test]
    fn integers_of_any_size_are_compared_digit_by_digit(
        a in "-?[1-9][0-9]{0,80}", b in "-?[1-9][0-9]{0,80}",
    ) {
        prop_assert_eq!(equivalent(&a, &a, Strictness::Rl), Equivalence::Equal);
        prop_assert_eq!(equivalent(&a, &b, Strictness::Rl) == Equivalence::Equal, a == b);
    }

    #[test]
    fn uniform_weights_are_ones(advantages in rewards()) {
        let columns = vec![0.5f32; advantages.len()];
        let all = 0..advantages.len();
        let tokens = TokenColumns {
            surprisals: &columns,
            entropies: &columns,
            phi_sums: &columns,
            advantages: &advantages,
            samples: std::slice::from_ref(&all),
            seed: 0,
        };
        let mut uniform = WeightingConfig::default().build();
        let state = uniform.state();
        prop_assert!(uniform.observe(0.5, &tokens, &LossTerms::default()).is_empty());
        prop_assert_eq!(uniform.weights(&tokens).weights, vec![1.0; tokens.len()]);
        prop_assert_eq!(tokens.is_empty(), advantages.is_empty());
        uniform.restore(&state).unwrap();
    }

    #[test]
    fn judging_together_is_judging_one_by_one(texts in prop::collection::vec(text(), 0..6)) {
        let rubric: Rubric = RubricConfig::default().build().unwrap();
        let problem = crate::problem("12");
        let attempts: Vec<_> = texts.iter().map(|text| crate::attempt(&problem, text)).collect();
        let together = rubric.judge(&attempts).unwrap();
        for (attempt, judged) in attempts.iter().zip(&together) {
            prop_assert_eq!(&rubric.judge(&[*attempt]).unwrap()[0], judged);
        }
        prop_assert_eq!(together.len(), attempts.len());
    }
}
