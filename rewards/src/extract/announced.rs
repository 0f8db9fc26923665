//! Sentences that announce an answer: "the answer is 5", "**Final answer:** 5", "the result equals
//! 5".

use super::clause::{self, denies, is_among, skip};
use super::prose;
use super::{delimited, labels, markup};
use crate::denial::{Denial, is_one_of};

/// The longest line that is searched for an answer in prose, in bytes.
const MAX_LINE_BYTES: usize = 4096;

/// How far before a noun the words are searched for doubts, in bytes.
const MAX_LEAD_BYTES: usize = 256;

/// How many nouns are looked at.
const MAX_NOUNS: usize = 64;

/// The longest phrase between an announcement and its verb, in bytes.
const MAX_PHRASE_BYTES: usize = 80;

/// What the last announcement of a text says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Announced<'a> {
    /// The answer, and the text behind its sentence.
    Answer(&'a str, &'a str),
    /// What is announced cannot be told from prose; the same two texts.
    Unclear(&'a str, &'a str),
    /// Only what the answer is not, or might be; and the text behind that.
    Denied(&'a str),
}

/// How a text goes on behind the noun that may announce an answer.
enum Verb<'a> {
    /// The text behind its verb.
    States(&'a str),
    Denies,
}

/// Nouns that announce, with whether what follows one is an answer in any case.
const NOUNS: [(&str, bool); 8] = [
    ("answer", true),
    ("result", true),
    ("ans", true),
    ("answers", true),
    ("option", false),
    ("choice", false),
    ("solution", false),
    ("solutions", false),
];

/// The last announcement.
pub(super) fn last(text: &str) -> Option<Announced<'_>> {
    let mut end = text.len();
    let mut tried = 0;
    // last letters of the nouns, and of a line that begins with `A:`
    while let Some(at) = text[..end].rfind(['r', 'R', 't', 'T', 's', 'S', 'n', 'N', 'e', 'E', 'A'])
    {
        end = at;
        let found = match noun(text, at) {
            Some(_) if tried == MAX_NOUNS => return None,
            Some((start, strong)) => {
                tried += 1;
                announcement(text, start, at + 1, strong)
            }
            None => text[at + 1..]
                .strip_prefix(':')
                .filter(|_| text[..at].is_empty() || text[..at].ends_with('\n'))
                .filter(|_| text.as_bytes()[at] == b'A')
                .and_then(|said| value(said, true)),
        };
        if found.is_some() {
            return found;
        }
    }
    None
}

/// Where the noun begins that ends with the byte at `at`, and whether it announces in any case.
fn noun(text: &str, at: usize) -> Option<(usize, bool)> {
    let bytes = text.as_bytes();
    if bytes.get(at + 1).is_some_and(u8::is_ascii_alphanumeric) {
        return None;
    }
    NOUNS.iter().find_map(|(noun, strong)| {
        let start = (at + 1).checked_sub(noun.len())?;
        let whole = bytes[start..=at].eq_ignore_ascii_case(noun.as_bytes())
            && (start == 0 || !bytes[start - 1].is_ascii_alphabetic());
        whole.then_some((start, *strong))
    })
}

/// What a sentence announces whose noun stands at `start..end`.
fn announcement(text: &str, start: usize, end: usize, strong: bool) -> Option<Announced<'_>> {
    let after = &text[end..];
    let line = &after[..floor(after, MAX_LINE_BYTES)];
    let line = line.lines().next().unwrap_or("");
    let lead = lead(&text[..start]);
    let behind = |sentence: &str| &after[sentence.len()..];
    // "no solution is negative"
    if !strong && clause::words(lead).last().is_some_and(|word| word == "no") {
        return None;
    }
    let headed = heading(text, start, line);
    if let Some(question) = question(line) {
        let rest = behind(question);
        let asks = "is was could can would might may";
        let said = match verb(&question[..question.len() - 1], after, false) {
            _ if lead_word(lead).is_some_and(|word| is_among(asks, &word)) => Some(question),
            Some(Verb::States(said)) => Some(&said[..said.find('?').unwrap_or(said.len())]),
            _ => None,
        }?;
        if !said.contains(|c: char| c.is_numeric() || c == '\\') {
            return None;
        }
        let yes = clause::words(rest).next().is_some_and(|word| is_among("yes indeed", &word));
        let value = prose::value(said.trim_end_matches('?')).filter(|_| yes);
        return Some(value.map_or(Announced::Denied(rest), |value| Announced::Answer(value, rest)));
    }
    let sentence = prose::sentence(line);
    match verb(line, after, strong || headed)? {
        Verb::Denies => Some(match contrasted(sentence) {
            Some(value) => Announced::Answer(value, behind(sentence)),
            None => Announced::Denied(behind(sentence)),
        }),
        // "if the answer is 5", "nobody says that the answer is 5"
        Verb::States(_) if is_doubted(lead) => Some(Announced::Denied(behind(sentence))),
        Verb::States(said) => value(said, strong && !headed),
    }
}

/// The 6 of "is not 5 but 6".
fn contrasted(sentence: &str) -> Option<&str> {
    let (_, denied) = sentence.split_once(" not ")?;
    let number = |text: &str| text.starts_with(|c: char| c.is_ascii_digit() || "-$\\".contains(c));
    let joints = [" but rather ", " but ", ", it is ", ", it's ", "; it is "];
    let said = joints.iter().find_map(|joint| Some(denied.split_once(joint)?.1))?;
    if number(denied) && number(said) { prose::value(said) } else { None }
}

/// Whether the words before a noun make an announcement none: "if the answer", "I doubt that the
/// answer", "nobody says the answer".
fn is_doubted(lead: &str) -> bool {
    const HOPES: &str = "nobody whether hope hopes wish check verify";
    const OTHERS: &str = "bad bogus previous earlier prior old former initial naive tempting \
        misleading";
    const REPORTS: &str = "that think say says said believe claim claims mean means true case sure \
        know agree convinced";
    let reports = clause::words(lead).any(|word| is_among(REPORTS, &word));
    // "the wrong answer", "the previous final answer"
    let words: Vec<_> = clause::words(lead).collect();
    let kind = words.iter().rev().find(|word| !is_among("final numerical possible", word));
    let unsure = [Denial::Condition, Denial::Doubt];
    words.iter().any(|word| is_one_of(&unsure, word) || is_among(HOPES, word))
        || reports && denies(lead)
        || kind.is_some_and(|kind| is_one_of(&[Denial::Refutation], kind) || is_among(OTHERS, kind))
}

/// The words of the clause before a noun.
fn lead(before: &str) -> &str {
    let far = before.len().saturating_sub(MAX_LEAD_BYTES);
    let near = &before[floor(before, far)..];
    let start = near.char_indices().rfind(|(_, c)| ".,;:!?\n\u{2014}".contains(*c));
    &near[start.map_or(0, |(at, c)| at + c.len_utf8())..]
}

fn lead_word(lead: &str) -> Option<String> {
    clause::words(lead).next()
}

/// The rest of a sentence that ends as a question.
fn question(line: &str) -> Option<&str> {
    let end = line.find('?')?;
    // a full stop between digits ends no sentence
    let sentence = prose::sentence(line);
    (end < sentence.len()).then(|| &line[..=end])
}

/// Whether a line is nothing but a noun, as a heading is.
fn heading(text: &str, start: usize, line: &str) -> bool {
    let before = &text[floor(text, start.saturating_sub(MAX_LEAD_BYTES))..start];
    let before = before[before.rfind('\n').map_or(0, |at| at + 1)..].trim();
    let words = clause::words(before).all(|word| is_among("the final correct our", &word));
    let marks = |c: char| c.is_whitespace() || "#*_:".contains(c);
    words
        && before.trim_matches(marks).chars().all(|c| c.is_alphabetic() || c == ' ')
        && line.trim_matches(marks).is_empty()
}

/// Signs that stand for a verb.
const SIGNS: [&str; 7] = [":", "\u{ff1a}", "=", "\u{2192}", "->", "=>", r"\rightarrow"];

/// Verbs that announce.
const VERBS: [&str; 15] = [
    "is",
    "are",
    "was",
    "were",
    "should be",
    "must be",
    "will be",
    "would be",
    "has to be",
    "equals",
    "becomes",
    "comes out to be",
    "comes to",
    "comes out to",
    "turns out to be",
];

/// What follows the verb of an announcement: "is", a colon, an equals sign, or the end of a
/// heading.
fn verb<'a>(line: &'a str, after: &'a str, heads: bool) -> Option<Verb<'a>> {
    let dress = |c: char| c == ' ' || c == '*' || c == '_';
    let mut rest = line.trim_start_matches(dress);
    if rest.is_empty() && heads {
        return Some(Verb::States(&after[line.len()..]));
    }
    // "option (B) is right"
    if rest.starts_with('(') && rest[1..].find(')').is_some_and(|end| end > 1) {
        rest = rest[rest.find(')')? + 1..].trim_start_matches(dress);
    } else if ["to ", "for ", "of ", "in ", "from "].iter().any(|phrase| rest.starts_with(phrase)) {
        let phrase = &rest[..floor(rest, MAX_PHRASE_BYTES)];
        let at = phrase.find(" is ").or_else(|| phrase.find(':'))?;
        if phrase[..at].contains(['.', ',', ';', '?', '=', '$']) {
            return None;
        }
        rest = &rest[at..];
    }
    let rest = skip(rest.trim_start_matches([' ', ',']), "thus therefore then hence here also");
    if let Some(said) = SIGNS.iter().find_map(|sign| rest.strip_prefix(sign)) {
        if is_place(said) {
            return None;
        }
        return Some(Verb::States(behind(after, line, said)));
    }
    let words = |text: &str| denies(&text[..floor(text, 24)]);
    let ends = |text: &&str| !text.starts_with(|c: char| c.is_alphanumeric() || c == '\'');
    let Some(said) = VERBS.iter().rev().find_map(|verb| rest.strip_prefix(verb).filter(ends))
    else {
        let first = clause::words(rest).next()?;
        let denied = first.ends_with("n't") || is_among("cannot can may might could would", &first);
        return denied.then_some(Verb::Denies);
    };
    let bare = skip(said.trim_start_matches([' ', ':']), SURE);
    let first = clause::words(bare).next().unwrap_or_default();
    let denied = bare.starts_with(char::is_alphabetic)
        && (is_one_of(&[Denial::Negation, Denial::Refutation], &first)
            // "none of these" is a choice
            && first != "none"
            && !is_whole_word(bare, &first)
            && prose::absent(prose::sentence(bare)).is_none()
            || first == "far" && words(bare));
    if denied {
        return Some(Verb::Denies);
    }
    // "the answer is correct" announces nothing
    let judged =
        is_among(JUDGED, &first) && bare.starts_with(char::is_alphabetic) || is_place(bare);
    (!judged).then(|| Verb::States(behind(after, line, bare)))
}

/// Whether a sentence says "no", "never" or "impossible" and nothing else, as an answer.
fn is_whole_word(text: &str, word: &str) -> bool {
    matches!(word, "no" | "never" | "neither" | "impossible")
        && prose::sentence(text).trim().trim_end_matches(['.', '*']).len() == word.len()
}

/// Words that make a statement stronger and say nothing else.
const SURE: &str = "thus therefore then hence indeed simply just exactly precisely clearly now also \
    still again approximately about roughly around actually definitely finally surely certainly really obviously of course equal to \
    given by";

/// What is said of an answer that is told elsewhere.
const JUDGED: &str = "correct right valid reasonable sensible plausible consistent confirmed verified \
    complete clear obvious accurate final as found obtained independent the-same checked";

/// Whether an announcement says where the answer is and not what: "within \boxed{}".
fn is_place(said: &str) -> bool {
    const PLACES: &str = "within in inside below above given written put placed boxed";
    let sentence = prose::sentence(said).trim_start();
    let boxed = sentence.contains("box") && !sentence.contains(|c: char| c.is_numeric());
    boxed
        && clause::words(sentence).next().is_some_and(|word| is_among(PLACES, &word))
        && sentence.starts_with(char::is_alphabetic)
}

/// The text from `said` on, which is a part of `line`, and `line` the start of `after`.
fn behind<'a>(after: &'a str, line: &str, said: &str) -> &'a str {
    &after[line.len() - said.len()..]
}

/// The answer in what an announcement says: up to the end of its line, or of its sentence.
fn value(text: &str, strong: bool) -> Option<Announced<'_>> {
    let whole = text;
    let text = text.trim_start_matches(|c: char| c.is_whitespace() || ":}".contains(c));
    // the end of an emphasised announcement
    let dress = text.trim_start_matches(['*', '_']);
    let text = if dress.starts_with(char::is_whitespace) { dress.trim_start() } else { text };
    let begins_line = whole[..whole.len() - text.len()].contains('\n');
    let text = ["option ", "choice "]
        .iter()
        .find_map(|noun| {
            text.get(..noun.len())?.eq_ignore_ascii_case(noun).then(|| &text[noun.len()..])
        })
        .unwrap_or(text);
    let behind = |length: usize| &text[length..];
    let head = &text[..floor(text, MAX_LINE_BYTES)];
    if delimited::is_display(text)
        && let Some((inner, rest)) = delimited::first(head)
    {
        return Some(Announced::Answer(inner, behind(head.len() - rest.len())));
    }
    if markup::begins_block(text) {
        // of several lines, or of a program, none is the answer
        return Some(match markup::fenced(head) {
            Some(line) => Announced::Answer(markup::unstyled(line), ""),
            None => Announced::Unclear("", ""),
        });
    }
    let line = head.lines().next()?;
    let item = labels::item(line).map(|(_, body)| body).filter(|body| !body.is_empty());
    let item = item.filter(|_| begins_line);
    if let Some(first) = item
        && let Some(last) = last_item(head)
    {
        let is_value = |item: &str| prose::is_answer(markup::unstyled(item));
        return match (is_value(first) && is_value(last), strong) {
            // of several values, none is the answer
            (true, _) => Some(Announced::Unclear("", "")),
            // the steps to it
            (false, true) => Some(Announced::Unclear(last, behind(line.len()))),
            (false, false) => None,
        };
    }
    let said = item.unwrap_or(line);
    let sentence = prose::sentence(said);
    let rest = behind(line.len() - said.len() + sentence.len());
    if let Some(value) = prose::value(sentence).or_else(|| prose::stated(sentence)) {
        return Some(Announced::Answer(value, rest));
    }
    let unclear = || delimited::last(sentence).filter(|_| !denies(sentence)).unwrap_or(sentence);
    (strong && !sentence.trim().is_empty()).then(|| Announced::Unclear(unclear(), rest))
}

/// What the last of the items says that a text begins with, if they are several.
fn last_item(text: &str) -> Option<&str> {
    let is_item = |line: &&str| line.trim().is_empty() || labels::item(line).is_some();
    let items = text.lines().take_while(is_item).filter(|line| !line.trim().is_empty());
    items.skip(1).last().and_then(|line| Some(labels::item(line)?.1))
}

/// The last character boundary up to `at`.
fn floor(text: &str, at: usize) -> usize {
    (0..=at.min(text.len())).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0)
}
