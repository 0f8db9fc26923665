use proptest::prelude::*;
use rewards::verifier::Countdown as Judge;
use rewards::{Attempt, Outcome, Verifier};
use std::collections::HashSet;

use super::*;

fn config(count: usize, numbers: usize, max_number: usize) -> Countdown {
    let number = |n| NonZeroUsize::new(n).expect("not zero");
    Countdown {
        count: number(count),
        numbers: number(numbers),
        max_number: number(max_number),
        solutions: number(1),
        attempts: number(1),
        misses: 0.0,
        retries: 0.0,
    }
}

fn outcome(problem: &Problem) -> Outcome {
    let text = problem.solution.as_deref().unwrap();
    let attempt = Attempt { problem, text, num_tokens: 9, max_tokens: 99, truncated: false };
    Judge.verify(&[attempt]).unwrap()[0].outcome.unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn right_solutions_are_correct_and_misses_wrong(
        seed: u64, numbers in 2usize..6, max_number in 4usize..50, attempts in 1usize..5,
    ) {
        for (misses, expected) in [(0.0, Outcome::Correct), (1.0, Outcome::Wrong)] {
            let attempts = NonZeroUsize::new(attempts).unwrap();
            let task = config(20, numbers, max_number);
            let task = Countdown { attempts, misses, retries: 0.5, ..task };
            for problem in countdown(&task, seed).unwrap() {
                prop_assert_eq!(outcome(&problem), expected, "{:?}", problem);
            }
        }
    }
}

#[test]
fn problems_are_different_and_a_function_of_the_seed() {
    for config in [config(300, 3, 20), config(12, 2, 4), config(500, 5, 49)] {
        let problems = countdown(&config, 7).unwrap();
        let key = |problem: &Problem| {
            let (numbers, target) = problem.problem.split_once("> ").unwrap();
            let mut numbers: Vec<u32> =
                numbers.split(' ').map(|number| number.parse().unwrap()).collect();
            numbers.sort_unstable();
            (numbers, target.to_owned())
        };
        let keys: HashSet<_> = problems.iter().map(key).collect();
        assert_eq!(keys.len(), config.count.get());
        assert_eq!(problems, countdown(&config, 7).unwrap());
        assert_ne!(problems, countdown(&config, 8).unwrap());
    }
}

#[test]
fn a_teacher_misses_and_drops_attempts_as_often_as_asked_and_problems_stay() {
    let three = NonZeroUsize::new(3).unwrap();
    let plain = config(4000, 3, 20);
    let careless = Countdown { attempts: three, misses: 0.3, retries: 0.5, ..plain.clone() };
    let problems = countdown(&careless, 1).unwrap();
    let wrong = problems.iter().filter(|problem| outcome(problem) == Outcome::Wrong).count();
    assert!((wrong as f64 / 4000.0 - 0.3).abs() < 0.03, "{wrong}");
    let dropped: usize =
        problems.iter().map(|one| one.solution.as_ref().unwrap().matches(RETRY).count()).sum();
    assert!((dropped as f64 / 4000.0 - 1.0).abs() < 0.05, "{dropped}");
    let ids = |problems: &[Problem]| -> Vec<String> {
        problems.iter().map(|problem| problem.id.clone()).collect()
    };
    assert_eq!(ids(&problems), ids(&countdown(&plain, 1).unwrap()));
}

#[test]
fn more_solutions_are_more_rows_of_the_same_problems() {
    let one = config(200, 3, 9);
    let four = Countdown { solutions: NonZeroUsize::new(4).unwrap(), ..one.clone() };
    let (one, four) = (countdown(&one, 3).unwrap(), countdown(&four, 3).unwrap());
    assert_eq!(four.len(), 800);
    assert_eq!(four[..200], one);
    let texts: HashSet<_> = one.iter().map(|problem| &problem.problem).collect();
    assert!(four.iter().all(|problem| texts.contains(&problem.problem)));
    assert!(four.iter().all(|problem| outcome(problem) == Outcome::Correct));
    let ids: HashSet<_> = four.iter().map(|problem| &problem.id).collect();
    assert_eq!(ids.len(), 800);
    let solutions: HashSet<_> =
        four.iter().map(|problem| (&problem.problem, &problem.solution)).collect();
    assert!(solutions.len() > 400, "{}", solutions.len());
    let rare = Countdown { solutions: NonZeroUsize::new(50).unwrap(), ..config(20, 6, 49) };
    let error = countdown(&rare, 1).unwrap_err().to_string();
    assert!(error.starts_with("data.train.solutions: expected 1000 solutions of 20"), "{error}");
}

#[test]
fn more_problems_than_there_are_are_refused() {
    let error = countdown(&config(1000, 2, 4), 1).unwrap_err().to_string();
    assert!(
        error.starts_with("data.train.count: expected 1000 different problems, found 22 in"),
        "{error}"
    );
}

#[test]
fn steps_are_whole_and_below_a_hundred() {
    let result = |left, sign, right| Step::new(left, sign, right).map(|step| step.result);
    assert_eq!(result(60, '+', 39), Some(99));
    assert_eq!(result(60, '+', 40), None);
    assert_eq!(result(3, '-', 5), None);
    assert_eq!(result(9, '*', 11), Some(99));
    assert_eq!(result(12, '/', 4), Some(3));
    assert_eq!(result(12, '/', 5), None);
    assert_eq!(result(12, '/', 0), None);
    let chain = [Step::new(3, '*', 5).unwrap(), Step::new(15, '-', 7).unwrap()];
    let mut text = String::new();
    write(&chain, &mut text);
    assert_eq!(text, " 3* 5 15 15- 7 8");
}
