//! Why an answer is accepted or refused.

use std::fmt::{self, Display};

use super::Math;
use crate::equivalent::{Reading, readings};
use crate::{Extracted, Marker, Outcome, Strictness, extract};

/// Why an answer is accepted or refused, step by step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// What [`Math`] says.
    pub outcome: Outcome,
    /// What was done and what came of it, in order; the last is the reason of the outcome.
    pub steps: Vec<(&'static str, String)>,
}

impl Explanation {
    /// The reason of the outcome.
    pub fn reason(&self) -> &str {
        self.steps.last().map(|(_, found)| found.as_str()).unwrap_or_default()
    }
}

impl Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (what, found) in &self.steps {
            writeln!(f, "{what:<9} {found}")?;
        }
        writeln!(f, "{:<9} {}", "verdict", self.outcome)
    }
}

impl Math {
    /// Why [`judge_response`](Self::judge_response) says what it says.
    pub fn explain_response(self, gold: &str, response: &str) -> Explanation {
        let extracted = extract(response, self.strictness, self.marker);
        let found = match extracted {
            Extracted::Answer(answer) => format!("`{answer}`"),
            Extracted::NoAnswer => format!("nothing: {}", self.missing()),
            Extracted::Unclosed => "nothing: the last box never closes".into(),
            Extracted::Limit => format!(
                "nothing: the answer has more than {} bytes, or boxes lie too deep in each other",
                self.strictness.max_answer_bytes()
            ),
        };
        let (strictness, marker) = (self.strictness.name(), self.marker.name());
        let mut steps =
            vec![("strictness", format!("{strictness}, marker {marker}")), ("extracted", found)];
        if let Extracted::Answer(answer) = extracted {
            let Explanation { outcome, steps: more } = self.explain_answer(gold, answer);
            steps.extend(more);
            return Explanation { outcome, steps };
        }
        let (outcome, _) = self.judge_response(gold, response);
        if outcome == Outcome::GoldUnparseable {
            let [gold, _] = readings(gold, "", self.strictness).map(Read::from);
            steps.push(("gold", gold.said));
        }
        Explanation { outcome, steps }
    }

    /// Why [`judge_answer`](Self::judge_answer) says what it says.
    pub fn explain_answer(self, gold: &str, answer: &str) -> Explanation {
        let outcome = self.judge_answer(gold, answer);
        let [gold, answer] = readings(gold, answer, self.strictness).map(Read::from);
        let mut steps = vec![("gold", gold.said)];
        if outcome == Outcome::GoldUnparseable {
            return Explanation { outcome, steps };
        }
        steps.push(("answer", answer.said));
        let compared = match (outcome, gold.kind, answer.kind) {
            (Outcome::Correct, ..) => "they are equal".to_owned(),
            (Outcome::Limit, _, Some(_)) => "the comparison takes more work than it may".into(),
            (Outcome::Undecided, ..) => {
                "neither that they are equal nor that they differ is proven".into()
            }
            (_, Some(gold), Some(answer)) if gold != answer => {
                format!("the gold is {gold}, the answer {answer}")
            }
            (_, Some(_), Some(_)) => "they differ".into(),
            _ => return Explanation { outcome, steps },
        };
        steps.push(("compared", compared));
        Explanation { outcome, steps }
    }

    /// What a response without an answer lacks.
    fn missing(self) -> &'static str {
        match (self.strictness, self.marker) {
            (Strictness::Rl, Marker::Boxed) => "there is no \\boxed{...} with something in it",
            (Strictness::Rl, Marker::AnswerLine) => "there is no line \"Answer: ...\"",
            (Strictness::Rl, Marker::Hashes) => "there is no line \"#### ...\"",
            (Strictness::Eval, _) => "there is nothing that could be an answer",
        }
    }
}

/// A text as it was read.
struct Read {
    kind: Option<&'static str>,
    said: String,
}

impl From<Reading> for Read {
    fn from(reading: Reading) -> Self {
        match reading {
            Reading::Tree { kind, shown } => {
                Self { kind: Some(kind), said: format!("{kind}, {shown}") }
            }
            Reading::NotMathematics => Self {
                kind: None,
                said: "cannot be read: neither mathematics nor a few plain words".into(),
            },
            Reading::Limit => Self { kind: None, said: "is not read: too long or too deep".into() },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(math: Math, gold: &str, response: &str, outcome: Outcome, reason: &str) {
        let explanation = math.explain_response(gold, response);
        assert_eq!(explanation.outcome, math.judge_response(gold, response).0);
        assert_eq!((explanation.outcome, explanation.reason()), (outcome, reason), "{response}");
        assert!(explanation.to_string().ends_with(&format!("verdict   {outcome}\n")));
    }

    #[test]
    fn every_outcome_has_its_reason() {
        let rl = Math::default();
        let is = |gold, response, outcome, reason| check(rl, gold, response, outcome, reason);
        is("204", r"\boxed{204}", Outcome::Correct, "they are equal");
        is("204", r"\boxed{205}", Outcome::Wrong, "they differ");
        let other = "the gold is an integer, the answer several values";
        is("204", r"\boxed{203, 204}", Outcome::Wrong, other);
        let unread = "cannot be read: neither mathematics nor a few plain words";
        is("204", r"\boxed{\frac{}", Outcome::Unclosed, "nothing: the last box never closes");
        is("204", r"\boxed{\frac}", Outcome::Wrong, unread);
        let none = "nothing: there is no \\boxed{...} with something in it";
        is("204", "204", Outcome::NoAnswer, none);
        is(r"\frac{", "204", Outcome::GoldUnparseable, unread);
        is(r"\frac{", r"\boxed{204}", Outcome::GoldUnparseable, unread);
        let long = format!(r"\boxed{{{}}}", "1".repeat(5000));
        let reason =
            "nothing: the answer has more than 4096 bytes, or boxes lie too deep in each other";
        is("204", &long, Outcome::Limit, reason);
        let lines = Math { marker: Marker::AnswerLine, ..rl };
        check(lines, "204", "so\nAnswer: 204", Outcome::Correct, "they are equal");
        let none = "nothing: there is no line \"Answer: ...\"";
        check(lines, "204", r"\boxed{204}", Outcome::NoAnswer, none);
    }

    #[test]
    fn the_steps_say_how_both_sides_are_read() {
        let steps = Math::default().explain_response(r"\frac12", r"so $\boxed{0.5}$").steps;
        let expected = [
            ("strictness", "rl, marker boxed"),
            ("extracted", "`0.5`"),
            ("gold", "a number, (1 / 2)"),
            ("answer", "a number, 1/2"),
            ("compared", "they are equal"),
        ];
        let expected = expected.map(|(what, found)| (what, found.to_owned()));
        assert_eq!(steps, expected);
    }

    #[test]
    fn both_sides_are_read_beside_each_other() {
        let said = |gold, answer| {
            let steps = Math::default().explain_answer(gold, answer).steps;
            steps.into_iter().find(|(what, _)| *what == "answer").unwrap().1
        };
        assert_eq!(said(r"7\text{ m}", "7 m"), said("7 m", r"7\text{ m}"));
        assert_ne!(said("7", "7 m"), said(r"7\text{ m}", "7 m"));
    }
}
