//! Second layer: whether an answer is the gold answer.
//!
//! Without a computer algebra system: both sides are read into trees of bounded size (`read`), and
//! those are compared by value (`compare`); plain numbers take a shorter way. It does not know
//! where the answer was found: that is [`extract`](mod@crate::extract)'s part.

mod build;
mod characters;
mod compare;
mod grouping;
mod infix;
mod lex;
mod literal;
mod measures;
mod names;
mod number;
mod parse;
mod read;
mod roles;
mod show;
mod text;
mod tree;
mod units;
mod words;

use compare::Fuel;
use literal::decimal_point;
use number::Number;
use roles::Roles;
use tree::{Tree, Unreadable};

use crate::{Extracted, Marker, Strictness, extract};

/// How an answer relates to the gold answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Equivalence {
    /// The same value.
    Equal,
    /// Another value, or nothing that can be read as one.
    Different,
    /// The bounds of the comparison cannot tell.
    Undecided,
    /// The answer is longer than what is looked at.
    Limit,
    /// The gold answer itself cannot be read: no answer can be judged by it, but for the same text.
    GoldUnparseable,
}

/// Compares `answer` with `gold`, both bare: without the prose or the box that held them. Of a gold
/// whose last line holds the mark `####`, as GSM8K's solutions do, only what follows the mark
/// counts.
///
/// Numbers are compared first, exactly. Everything else is read into a tree, of bounded size, and
/// compared by value, each kind of answer in its own way. Nothing is evaluated as code. What is
/// equal for rewards is equal for scores.
pub fn equivalent(gold: &str, answer: &str, strictness: Strictness) -> Equivalence {
    let bare = unmarked(gold);
    // a gold equals its own text
    let (gold, answer) = (bare, if gold == answer { bare } else { answer });
    if gold != answer && text::is_struck_out(answer) {
        return Equivalence::Different;
    }
    if let Some(found) = as_numbers(gold, answer, strictness) {
        return found;
    }
    let mut fuel = Fuel::new();
    // The lenient reading of a text is another one, and may lose what the strict one finds.
    let strict = judge(gold, answer, Strictness::Rl, &mut fuel);
    if strictness == Strictness::Rl || strict == Equivalence::Equal {
        return strict;
    }
    match decimal_point(gold, answer) {
        Some(pointed) => judge(gold, &pointed, strictness, &mut fuel),
        None => judge(gold, answer, strictness, &mut fuel),
    }
}

/// What stands behind `####` on the last line of a gold answer, as in the solutions of GSM8K; the
/// whole text where no such mark is.
fn unmarked(gold: &str) -> &str {
    let line = gold.trim_end().lines().next_back().unwrap_or_default();
    match line.rsplit_once("####") {
        // more of them are no mark
        Some((before, answer)) if !before.ends_with('#') && !answer.is_empty() => answer.trim(),
        _ => gold,
    }
}

/// The shorter way of two plain numbers; `None` where it is closed.
fn as_numbers(gold: &str, answer: &str, strictness: Strictness) -> Option<Equivalence> {
    let max_bytes = strictness.max_answer_bytes();
    if gold.len() > max_bytes || answer.len() > max_bytes {
        return None;
    }
    if Number::parse(gold)? == Number::parse(answer)? {
        return Some(Equivalence::Equal);
    }
    // a decimal of many digits may stand for a fraction
    let is_printed = |text: &str| text.len() > 15 && text.contains('.');
    let exact = strictness == Strictness::Rl || !is_printed(gold) && !is_printed(answer);
    exact.then_some(Equivalence::Different)
}

/// [`equivalent`] by the readings of one strictness alone.
fn judge(gold: &str, answer: &str, strictness: Strictness, fuel: &mut Fuel) -> Equivalence {
    let same_text = || text::same(gold, answer, strictness);
    let roles = Roles::of(gold, answer, strictness);
    let Some(tree) = read_gold(gold, strictness, &roles) else {
        return if same_text() { Equivalence::Equal } else { Equivalence::GoldUnparseable };
    };
    if gold == answer {
        return Equivalence::Equal;
    }
    match read::read_beside(answer, strictness, &roles) {
        Ok(answer) => compare::compare(&tree, &answer, strictness, fuel),
        Err(_) if same_text() => Equivalence::Equal,
        Err(Unreadable::NotMathematics) => Equivalence::Different,
        Err(Unreadable::Limit) => Equivalence::Limit,
    }
}

/// Whether a gold answer can be read, so that attempts can be judged by it.
pub fn is_readable(gold: &str, strictness: Strictness) -> bool {
    let gold = unmarked(gold);
    gold.len() <= strictness.max_answer_bytes() && Number::parse(gold).is_some()
        || read_gold(gold, strictness, &Roles::of(gold, "", strictness)).is_some()
}

/// A gold answer may also be a whole solution, in `eval`; what `rl` can read, `eval` can.
fn read_gold(gold: &str, strictness: Strictness, roles: &Roles) -> Option<Tree> {
    let read = |text, strictness| read::read_beside(text, strictness, roles).ok();
    let strictly = || read(gold, Strictness::Rl);
    let found = || match extract(gold, strictness, Marker::Boxed) {
        Extracted::Answer(answer) => read(answer, strictness),
        _ => None,
    };
    match strictness {
        Strictness::Rl => strictly(),
        Strictness::Eval if gold.contains(r"\boxed") => {
            found().or_else(|| read(gold, strictness)).or_else(strictly)
        }
        Strictness::Eval => read(gold, strictness).or_else(found).or_else(strictly),
    }
}

/// How a text is read, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reading {
    /// What kind of answer it is, with its article, and the answer in plain text.
    Tree { kind: &'static str, shown: String },
    /// Neither mathematics nor a few plain words.
    NotMathematics,
    /// Larger or deeper than the reader looks at.
    Limit,
}

/// How a gold answer and an answer are read beside each other.
pub(crate) fn readings(gold: &str, answer: &str, strictness: Strictness) -> [Reading; 2] {
    let gold = unmarked(gold);
    let roles = Roles::of(gold, answer, strictness);
    let [gold_read, answer] =
        [gold, answer].map(|text| read::read_beside(text, strictness, &roles));
    let gold =
        gold_read.or_else(|unreadable| read_gold(gold, strictness, &roles).ok_or(unreadable));
    [gold, answer].map(|read| match read {
        Ok(tree) => Reading::Tree { kind: show::kind(&tree), shown: show::shown(&tree) },
        Err(Unreadable::NotMathematics) => Reading::NotMathematics,
        Err(Unreadable::Limit) => Reading::Limit,
    })
}
