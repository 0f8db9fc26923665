use super::{Attempt, Outcome, Unavailable, Verdict, Verifier};
use crate::Problem;

/// Most numbers in a problem; with them the steps of an attempt are bounded, and so is the work.
const MOST_NUMBERS: usize = 16;
/// Results stay below this.
const BEYOND: u32 = 100;
/// What an attempt ends with that is dropped.
const RETRY: char = 'R';
/// Longest attempt that is handed on as the answer, in bytes.
const MAX_ANSWER_BYTES: usize = 4096;

/// Earns 1 if the last attempt is a chain of legal steps from the numbers to the target, and 0
/// otherwise.
///
/// The problem is `3 5 7> 12`: numbers, `>`, the target. A step is `a op b c`, with white space or
/// none between its parts and `=` before `c` or none; steps are separated by white space, `,`, `;`
/// or nothing. It takes `a` and `b` out of the remaining numbers and puts `c` there: a whole number
/// from 0 to 99 that equals `a op b`, op being one of `+ - * /`. `R` drops the attempt before it.
/// Not all numbers need be used; the last `c` has to be the target.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Countdown;

impl Verifier for Countdown {
    fn name(&self) -> &'static str {
        "countdown"
    }

    fn judges_answers(&self) -> bool {
        true
    }

    fn verify(&self, attempts: &[Attempt<'_>]) -> Result<Vec<Verdict>, Unavailable> {
        Ok(attempts.iter().map(judge).collect())
    }
}

fn judge(attempt: &Attempt<'_>) -> Verdict {
    let last = attempt.text.rsplit(RETRY).next().unwrap_or_default().trim();
    let outcome = match Given::parse(attempt.problem) {
        // first of all: siblings that found no answer have the same unreadable problem
        None => Outcome::GoldUnparseable,
        Some(_) if attempt.truncated => Outcome::Unclosed,
        Some(_) if last.is_empty() => Outcome::NoAnswer,
        Some(_) if last.len() > MAX_ANSWER_BYTES => Outcome::Limit,
        Some(given) if given.reached_by(last) => Outcome::Correct,
        Some(_) => Outcome::Wrong,
    };
    let judged = matches!(outcome, Outcome::Correct | Outcome::Wrong);
    let reward = if outcome == Outcome::Correct { 1.0 } else { 0.0 };
    let answer = judged.then(|| last.to_owned());
    Verdict { outcome: Some(outcome), answer, ..Verdict::form(reward) }
}

/// The remaining numbers and the target.
#[derive(Debug)]
struct Given {
    numbers: Vec<u32>,
    target: u32,
}

impl Given {
    fn parse(problem: &Problem) -> Option<Self> {
        let (numbers, target) = problem.problem.split_once('>')?;
        let mut reader = Reader { rest: target };
        let target = reader.number()?;
        reader.blank();
        if !reader.rest.is_empty() {
            return None;
        }
        let mut reader = Reader { rest: numbers };
        let mut numbers = Vec::new();
        while let Some(number) = reader.number() {
            if numbers.len() == MOST_NUMBERS {
                return None;
            }
            numbers.push(number);
        }
        reader.blank();
        (numbers.len() > 1 && reader.rest.is_empty()).then_some(Self { numbers, target })
    }

    /// Whether `text` is a chain of legal steps whose last result is the target.
    fn reached_by(&self, text: &str) -> bool {
        let mut numbers = self.numbers.clone();
        let mut reader = Reader { rest: text };
        let mut reached = None;
        // Every step takes two numbers and gives one, so this ends however long the text is.
        while !reader.rest.is_empty() {
            let Some(result) = reader.step(&mut numbers) else { return false };
            reached = Some(result);
            reader.separators();
        }
        reached == Some(self.target)
    }
}

/// What is left of a text.
struct Reader<'a> {
    rest: &'a str,
}

impl Reader<'_> {
    /// The result of the step that comes next, put in the place of the numbers it took; nothing
    /// where it is not legal.
    fn step(&mut self, numbers: &mut Vec<u32>) -> Option<u32> {
        let left = take(numbers, self.number()?)?;
        self.blank();
        let sign = self.rest.chars().next()?;
        let signs = ['+', '-', '*', '/'];
        self.rest = self.rest.strip_prefix(signs)?;
        let right = take(numbers, self.number()?)?;
        self.blank();
        self.rest = self.rest.strip_prefix('=').unwrap_or(self.rest);
        let result = self.number()?;
        let holds = match sign {
            '+' => left.checked_add(right) == Some(result),
            '-' => left.checked_sub(right) == Some(result),
            '*' => left.checked_mul(right) == Some(result),
            _ => right > 0 && result.checked_mul(right) == Some(left),
        };
        if !holds || result >= BEYOND {
            return None;
        }
        numbers.push(result);
        Some(result)
    }

    /// The number that comes next, after white space; nothing where there is none or it is beyond
    /// what any step can use.
    fn number(&mut self) -> Option<u32> {
        self.blank();
        let digits = self.rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, rest) = self.rest.split_at(digits);
        self.rest = rest;
        // `parse` would read any number of leading zeros.
        if digits > 9 { None } else { number.parse().ok() }
    }

    fn blank(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn separators(&mut self) {
        self.rest = self.rest.trim_start_matches(|c: char| c.is_whitespace() || ",;".contains(c));
    }
}

fn take(numbers: &mut Vec<u32>, number: u32) -> Option<u32> {
    let at = numbers.iter().position(|&one| one == number)?;
    Some(numbers.swap_remove(at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(problem: &str, text: &str, expected: Outcome) {
        let problem = Problem {
            id: "1".into(),
            problem: problem.into(),
            answer: "12".into(),
            source: "test".into(),
            ..Problem::default()
        };
        let attempt =
            Attempt { problem: &problem, text, num_tokens: 9, max_tokens: 9, truncated: false };
        assert_eq!(judge(&attempt).outcome, Some(expected), "{} | {text}", problem.problem);
        let cut = Attempt { truncated: true, ..attempt };
        let expected = match expected {
            Outcome::GoldUnparseable => Outcome::GoldUnparseable,
            _ => Outcome::Unclosed,
        };
        assert_eq!(judge(&cut).outcome, Some(expected));
    }

    #[test]
    fn chains_are_read_in_every_spelling() {
        for text in [
            " 5+ 7 12",
            "5+7=12",
            "5 + 7 = 12\n",
            "7+5 12;",
            " 3* 5 15 15- 7 8R 5+ 7 12",
            "nonsense R 5+7=12",
            "RR5+7 12",
        ] {
            check("3 5 7> 12", text, Outcome::Correct);
        }
        for text in [" 3* 5 15 15- 3 12", "3*5=15,15-3=12", "3*5=15 15-3=12", "3*5 15;\n15-3 12"] {
            check("3 5 3 > 12", text, Outcome::Correct);
        }
        check("36 3> 12", "36/3=12", Outcome::Correct);
        check("4 4 12> 12", "4-4=0 0+12=12", Outcome::Correct);
    }

    #[test]
    fn an_illegal_step_is_wrong() {
        for text in [
            "12",
            "5+7",
            "5+7=13",
            "5+6=11",
            "5+5=10",
            "5+7=12 12",
            "5+7=12 x",
            "5+7==12",
            "5+7=12 12+3=15",
            "5+7=12 5+7=12",
            "5-7=-2",
            "5+7=12R 5-3=2",
            "５+7=12",
            "5+7=000000000012",
            "5+7=99999999999999999999",
            ",5+7=12",
            "-",
        ] {
            check("3 5 7> 12", text, Outcome::Wrong);
        }
        check("0 5> 12", "5/0=12", Outcome::Wrong);
        check("30 4> 120", "30*4=120", Outcome::Wrong);
        check("7 2> 3", "7/2=3", Outcome::Wrong);
    }

    #[test]
    fn nothing_after_the_last_retry_is_no_answer() {
        for text in ["", " ", "R", "5+7=12R", "5+7=12R \n"] {
            check("3 5 7> 12", text, Outcome::NoAnswer);
        }
    }

    #[test]
    fn a_problem_that_is_none_is_said() {
        let many = "1 ".repeat(MOST_NUMBERS + 1) + "> 12";
        for problem in ["", "3 5 7", "> 12", "3> 12", "3 5>", "3 5> 12 4", "3 x> 12", "3 5>> 1"] {
            check(problem, "5+7=12", Outcome::GoldUnparseable);
        }
        check(&many, "1+1=2", Outcome::GoldUnparseable);
    }

    #[test]
    fn an_endless_attempt_is_a_limit() {
        let last = "5+7=12".to_owned() + &" 1".repeat(MAX_ANSWER_BYTES);
        check("3 5 7> 12", &last, Outcome::Limit);
        check("3 5 7> 12", &(last + "R5+7=12"), Outcome::Correct);
    }
}
