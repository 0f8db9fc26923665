//! Where an answer may stand that is not marked as it should be: for scores, never for rewards.

use std::ops::Range;

use super::announced::{self, Announced};
use super::markup::{self, unstyled};
use super::{boxes, choice, clause, delimited, labels, lines, prose};
use crate::absence::absence;

/// The longest response that may be an answer as a whole, in bytes.
const MAX_WHOLE_BYTES: usize = 512;

/// How much of the end of a line is searched for its last sentence, in bytes.
const MAX_SENTENCE_BYTES: usize = 2048;

/// How much of the end of a response is searched, in bytes.
const MAX_TAIL_BYTES: usize = 1 << 18;

/// The first answer found, in the order that [`extract`](super::extract) states.
pub(super) fn answer(text: &str) -> Option<&str> {
    let start = text.len().saturating_sub(MAX_TAIL_BYTES);
    let start = (start..=text.len()).find(|&at| text.is_char_boundary(at)).unwrap_or(start);
    let text = without_proof_mark(text[start..].trim());
    if is_code(text) {
        return None;
    }
    if let Some(answer) = boxes::misspelled(text) {
        return Some(answer);
    }
    if text.contains("</answer>")
        && let Some((before, _)) = text.rsplit_once("</answer>")
        && let Some((_, answer)) = before.rsplit_once("<answer>")
    {
        let answer = answer.trim();
        return Some(match announced::last(answer) {
            Some(Announced::Answer(inner, _)) => inner,
            _ => answer,
        });
    }
    match announced::last(text) {
        Some(Announced::Answer(answer, rest)) => match revision(rest) {
            Some(revised) if states(revised) => unannounced(revised),
            Some(revised) => (!clause::denies(revised)).then_some(answer),
            None => Some(answer),
        },
        Some(Announced::Unclear(said, rest)) => {
            if states(rest) {
                unannounced(rest)
            } else {
                Some(said)
            }
        }
        Some(Announced::Denied(rest)) => unannounced(rest),
        None => unannounced(text),
    }
}

/// The answer of a text that announces none.
fn unannounced(text: &str) -> Option<&str> {
    let text = text.trim();
    if let Some(answer) = lines::last_hashes(text).filter(|answer| !is_heading(text, answer)) {
        return Some(answer);
    }
    if let Some(answer) = markup::last_fenced(text)
        && prose::is_answer(answer)
    {
        return Some(unstyled(answer));
    }
    if let Some(answer) = delimited::only_display(text) {
        return Some(answer);
    }
    let around =
        text.contains('\n') && delimited::first(text).is_none() && delimited::last(text).is_some();
    if text.len() <= MAX_WHOLE_BYTES && !around && prose::is_answer(unstyled(text)) {
        return Some(concluded(unstyled(text))).filter(|answer| !labels::is_start(answer));
    }
    let text = labels::without_begun(text);
    let line = text.rsplit('\n').next().unwrap_or_default().trim_start();
    if let Some(answer) = absent(text, line) {
        return Some(answer);
    }
    let emphasised = markup::last_emphasised(line).filter(|said| !labels::is_labelled(said));
    if let Some(answer) = emphasised.and_then(number_or_formula) {
        return Some(answer);
    }
    let formula = delimited::last(text).filter(|formula| !is_denied(text, formula));
    if let Some(answer) = formula.filter(|formula| !labels::is_label(text, &place(text, formula))) {
        return Some(answer);
    }
    if line == "```" {
        return None;
    }
    if line.len() <= MAX_WHOLE_BYTES
        && let Some(answer) = of_line(labels::body(text, line))
    {
        return Some(answer);
    }
    last_number(text).filter(|answer| !is_denied(text, answer)).or_else(|| choice::last(text))
}

/// What the last line says, if that is an answer or states one.
fn of_line(line: &str) -> Option<&str> {
    let said = concluded(unstyled(line));
    if prose::is_answer(said) && !labels::is_words(line) {
        return Some(said);
    }
    prose::stated(prose::last_sentence(line))
        .or_else(|| prose::value(line).and_then(number_or_formula))
}

/// A text without the words before a number or formula that only say that it follows.
fn concluded(text: &str) -> &str {
    let said = clause::skip(text, "so thus hence therefore then");
    if said.contains(|c: char| c.is_ascii_digit() || c == '\\') { said } else { text }
}

/// Whether a line with hashes heads a section, by its label, or as words that text follows.
fn is_heading(text: &str, said: &str) -> bool {
    labels::is_words(said) && !text.ends_with(said) || labels::is_labelled(said)
}

/// That there is no solution or value, where the last sentence says so of the whole problem, or the
/// response says nothing else.
fn absent<'a>(text: &'a str, line: &'a str) -> Option<&'a str> {
    let whole = unstyled(text);
    if absence(whole).is_some() {
        return Some(whole);
    }
    let start = line.len().saturating_sub(MAX_SENTENCE_BYTES);
    let start = (start..=line.len()).find(|&at| line.is_char_boundary(at)).unwrap_or(start);
    let said =
        prose::absent(prose::last_sentence(&line[start..])).filter(|said| said.contains(' '))?;
    let by_cases = clause::words(text).any(|word| clause::is_among("case cases", &word));
    (!by_cases).then_some(said)
}

/// Where a part of a text stands in it.
fn place(text: &str, part: &str) -> Range<usize> {
    let start = part.as_ptr() as usize - text.as_ptr() as usize;
    start..start + part.len()
}

/// Whether "not" stands right before the last occurrence of a value.
fn is_denied(text: &str, value: &str) -> bool {
    let at = text.rfind(value).unwrap_or(0);
    let before = text[..at].trim_end_matches(|c: char| c.is_whitespace() || "$\\([*".contains(c));
    let word =
        before.rsplit(|c: char| !(c.is_alphabetic() || c == '\'')).next().unwrap_or_default();
    word.eq_ignore_ascii_case("not") || word.ends_with("n't")
}

/// What of a value is no name or word.
fn number_or_formula(text: &str) -> Option<&str> {
    let value = prose::value(text)?;
    let known = value.contains(|c: char| c.is_ascii_digit() || c == '\\');
    known.then(|| prose::without_glued_unit(value))
}

/// Whether a text has a number, a formula or the letter of a choice in it.
fn states(text: &str) -> bool {
    text.contains(|c: char| c.is_ascii_digit())
        || delimited::last(text).is_some()
        || choice::last(text).is_some()
}

/// From where on a text takes back what was said before it.
fn revision(text: &str) -> Option<&str> {
    const TURNS: [&str; 20] = [
        "wait",
        "no,",
        "no.",
        "no wait",
        "actually",
        "hmm",
        "hold on",
        "correction",
        "oops",
        "sorry",
        "on second thought",
        "but wait",
        "scratch that",
        "i made a",
        "i was wrong",
        "that is wrong",
        "that's wrong",
        "that is not",
        "that's not",
        "this is wrong",
    ];
    let mut from = 0;
    loop {
        let begin =
            text.len() - text[from..].trim_start_matches(|c: char| !c.is_alphabetic()).len();
        let head: String = text[begin..].chars().take(20).collect::<String>().to_lowercase();
        let ends = |turn: &str| !head[turn.len()..].starts_with(char::is_alphabetic);
        if TURNS.iter().any(|turn| head.starts_with(turn) && ends(turn)) {
            return Some(&text[begin..]);
        }
        from = begin + text[begin..].find(['.', '!', '?', '\n'])? + 1;
    }
}

/// Takes the sign that ends a proof off the end.
fn without_proof_mark(text: &str) -> &str {
    const MARKS: [&str; 7] =
        [r"$\blacksquare$", r"$\square$", r"\blacksquare", r"\square", r"\qed", "∎", "■"];
    let mark = MARKS.iter().find_map(|mark| text.strip_suffix(mark));
    mark.map_or(text, str::trim_end)
}

/// Whether a short response is a program rather than an answer.
fn is_code(text: &str) -> bool {
    text.len() <= MAX_WHOLE_BYTES
        && ["__", "('", "().", "import "].iter().any(|code| text.contains(code))
}

/// The last number that is no label, as written, with its sign, separators, fraction and percent
/// sign.
fn last_number(text: &str) -> Option<&str> {
    let mut number = number_before(text, text.len())?;
    while labels::is_label(text, &number) {
        number = number_before(text, number.start)?;
    }
    let Range { mut start, mut end } = number;
    let bytes = text.as_bytes();
    if start > 0
        && bytes[start - 1] == b'-'
        && (start == 1 || !bytes[start - 2].is_ascii_alphanumeric())
    {
        start -= 1;
    }
    if let Some(fraction) = text[end..].chars().next().filter(|c| "½⅓⅔¼¾".contains(*c)) {
        end += fraction.len_utf8();
    }
    for sign in ["%", r"\%", " %", r" \%"] {
        if text[end..].starts_with(sign) {
            end += sign.len();
            break;
        }
    }
    // a part of something larger
    let joined = |c: char| "√π^²³_!∞".contains(c) || c == '\\';
    if text[..start].ends_with(joined) || text[end..].starts_with(joined) {
        let start = text[..start].rfind(char::is_whitespace).map_or(0, |at| at + 1);
        let start = (start..=text.len()).find(|&at| text.is_char_boundary(at)).unwrap_or(start);
        let end = text[end..].find(char::is_whitespace).map_or(text.len(), |at| end + at);
        return Some(text[start..end].trim_matches(['.', ',', ';', ':', '*']));
    }
    Some(&text[start..end])
}

/// Where the last number before a place stands, with the separators between its digits.
fn number_before(text: &str, end: usize) -> Option<Range<usize>> {
    let bytes = &text.as_bytes()[..end];
    let last = bytes.iter().rposition(u8::is_ascii_digit)?;
    let mut start = last;
    while start > 0 {
        let before = bytes[start - 1];
        // a separator stands between digits
        let between = matches!(before, b'.' | b',' | b'/')
            && (before == b'.' || start > 1 && bytes[start - 2].is_ascii_digit());
        if !(before.is_ascii_digit() || between) {
            break;
        }
        start -= 1;
    }
    Some(start..last + 1)
}
