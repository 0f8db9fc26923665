//! Second layer: whether an answer is the gold answer.
//!
//! Exact and without a computer algebra system: both sides are read as rational numbers of any size.
//! It does not know where the answer was found: that is [`extract`](mod@crate::extract)'s part.

mod compare;
mod number;
#[expect(dead_code, reason = "reading and comparing are not wired yet")]
mod tree;

use number::Number;

use crate::Policy;

/// How an answer relates to the gold answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Equivalence {
    /// The same value.
    Equal,
    /// Another value, or nothing that can be read as one.
    Different,
    /// The bounds of the comparison cannot tell.
    Undecided,
    /// The answer is longer than the policy looks at.
    Limit,
    /// The gold answer itself cannot be read: no answer can be judged by it.
    GoldUnparseable,
}

/// Compares `answer` with `gold`, both bare: without the prose or the box that held them.
///
/// Integers, decimals and fractions are equal if they are the same number. Signs, leading zeros,
/// thousands separators, `\frac` and its kin, dollar signs, `\text` and grouping braces are spelling;
/// units and percent signs are not. Nothing is evaluated.
pub fn equivalent(gold: &str, answer: &str, policy: Policy) -> Equivalence {
    let Some(gold) = read(gold, policy) else { return Equivalence::GoldUnparseable };
    if answer.len() > policy.max_answer_bytes() {
        return Equivalence::Limit;
    }
    match read(answer, policy) {
        Some(answer) if answer == gold => Equivalence::Equal,
        _ => Equivalence::Different,
    }
}

/// Whether a gold answer can be read, so that attempts can be judged by it.
pub fn is_readable(gold: &str, policy: Policy) -> bool {
    read(gold, policy).is_some()
}

fn read(text: &str, policy: Policy) -> Option<Number> {
    match policy {
        Policy::Rl | Policy::Eval if text.len() <= policy.max_answer_bytes() => Number::parse(text),
        Policy::Rl | Policy::Eval => None,
    }
}
