use std::collections::HashSet;

use rand_philox::Philox;
use rewards::Problem;

use crate::config::{Arithmetic, Operation, smallest};
use crate::data::{draws, shuffled};

/// One problem: which operation on which operands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Task {
    operation: Operation,
    left: u64,
    right: u64,
}

/// Different problems, as many as asked for, with worked columns.
///
/// The number of digits of each operand is drawn evenly; a difference is never negative.
pub fn arithmetic(config: &Arithmetic, seed: u64) -> Vec<Problem> {
    let mut words = draws(seed, "arithmetic");
    let count = config.count.get();
    let tasks = if config.distinct() / 2 < count as u64 {
        // Drawing until all are there would take forever near the end.
        let mut all = every(config);
        let order = shuffled(all.len(), &mut words);
        all = order.into_iter().take(count).map(|i| all[i]).collect();
        all
    } else {
        let mut seen = HashSet::new();
        let mut tasks = Vec::with_capacity(count);
        while tasks.len() < count {
            let task = draw(config, &mut words);
            if seen.insert(task) {
                tasks.push(task);
            }
        }
        tasks
    };
    tasks.iter().map(Task::problem).collect()
}

fn draw(config: &Arithmetic, words: &mut Philox) -> Task {
    let operation = config.operations[words.bounded(config.operations.len() as u32) as usize];
    let (low, high) = (config.min_digits.get(), config.max_digits.get());
    let mut operand = || {
        let digits = low + words.bounded((high - low + 1) as u32) as usize;
        let from = smallest(digits);
        from + u64::from(words.bounded((10_u64.pow(digits as u32) - from) as u32))
    };
    Task::new(operation, operand(), operand())
}

fn every(config: &Arithmetic) -> Vec<Task> {
    let numbers = smallest(config.min_digits.get())..10_u64.pow(config.max_digits.get() as u32);
    let mut seen = HashSet::new();
    let mut tasks = Vec::new();
    for &operation in &config.operations {
        for left in numbers.clone() {
            for right in numbers.clone() {
                let task = Task::new(operation, left, right);
                if seen.insert(task) {
                    tasks.push(task);
                }
            }
        }
    }
    tasks
}

impl Task {
    fn new(operation: Operation, left: u64, right: u64) -> Self {
        match operation {
            Operation::Subtract if left < right => Self { operation, left: right, right: left },
            _ => Self { operation, left, right },
        }
    }

    fn answer(&self) -> u64 {
        match self.operation {
            Operation::Add => self.left + self.right,
            Operation::Subtract => self.left - self.right,
        }
    }

    fn problem(&self) -> Problem {
        let (sign, columns) = match self.operation {
            Operation::Add => ('+', add_columns(self.left, self.right)),
            Operation::Subtract => ('-', subtract_columns(self.left, self.right)),
        };
        let problem = format!("{}{sign}{}", self.left, self.right);
        let answer = self.answer().to_string();
        Problem {
            id: format!("arithmetic-{problem}"),
            solution: Some(format!("{columns} \\boxed{{{answer}}}")),
            problem,
            answer,
            source: "generated: arithmetic".into(),
        }
    }
}

/// `57+86`: `7+6=13 5+8+1=14`, from the ones up, the carry as a third term.
fn add_columns(left: u64, right: u64) -> String {
    let mut carry = 0;
    let columns = columns(left, right).map(|(a, b)| {
        let sum = a + b + carry;
        let column = if carry == 0 { format!("{a}+{b}={sum}") } else { format!("{a}+{b}+1={sum}") };
        carry = sum / 10;
        column
    });
    columns.collect::<Vec<_>>().join(" ")
}

/// `52-17`: `12-7=5 4-1=3`, from the ones up, what was borrowed taken off and put on.
fn subtract_columns(left: u64, right: u64) -> String {
    let mut borrow = 0;
    let columns = columns(left, right).map(|(a, b)| {
        let (from, next) = if a < b + borrow { (a + 10 - borrow, 1) } else { (a - borrow, 0) };
        borrow = next;
        format!("{from}-{b}={}", from - b)
    });
    columns.collect::<Vec<_>>().join(" ")
}

/// Pairs of digits from the ones up, as many as the longer number has.
fn columns(mut left: u64, mut right: u64) -> impl Iterator<Item = (u64, u64)> {
    let mut first = true;
    std::iter::from_fn(move || {
        if !first && left == 0 && right == 0 {
            return None;
        }
        first = false;
        let pair = (left % 10, right % 10);
        (left, right) = (left / 10, right / 10);
        Some(pair)
    })
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use super::*;

    #[track_caller]
    fn check(operation: Operation, left: u64, right: u64, solution: &str) {
        let problem = Task::new(operation, left, right).problem();
        assert_eq!(problem.solution.as_deref(), Some(solution));
    }

    #[test]
    fn columns_are_worked_from_the_ones_up() {
        check(Operation::Add, 57, 86, r"7+6=13 5+8+1=14 \boxed{143}");
        check(Operation::Add, 123, 9, r"3+9=12 2+0+1=3 1+0=1 \boxed{132}");
        check(Operation::Add, 0, 0, r"0+0=0 \boxed{0}");
        check(Operation::Subtract, 17, 52, r"12-7=5 4-1=3 \boxed{35}");
        check(Operation::Subtract, 100, 7, r"10-7=3 9-0=9 0-0=0 \boxed{93}");
        check(Operation::Subtract, 105, 16, r"15-6=9 9-1=8 0-0=0 \boxed{89}");
    }

    fn config(count: usize, min: usize, max: usize, operations: &[Operation]) -> Arithmetic {
        let number = |n| NonZeroUsize::new(n).expect("not zero");
        Arithmetic {
            count: number(count),
            min_digits: number(min),
            max_digits: number(max),
            operations: operations.to_vec(),
        }
    }

    #[test]
    fn problems_are_different_and_a_function_of_the_seed() {
        let both = [Operation::Add, Operation::Subtract];
        for config in [config(300, 1, 3, &both), config(155, 1, 1, &both)] {
            let problems = arithmetic(&config, 7);
            let ids: HashSet<_> = problems.iter().map(|p| &p.id).collect();
            assert_eq!(ids.len(), config.count.get());
            assert_eq!(problems, arithmetic(&config, 7));
            assert_ne!(problems, arithmetic(&config, 8));
        }
    }

    #[test]
    fn the_number_of_different_problems_is_exact() {
        for config in [
            config(1, 1, 1, &[Operation::Add]),
            config(1, 1, 2, &[Operation::Subtract]),
            config(1, 2, 2, &[Operation::Subtract, Operation::Add, Operation::Add]),
        ] {
            assert_eq!(every(&config).len() as u64, config.distinct());
        }
    }
}
