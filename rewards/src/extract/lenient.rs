//! Where an answer may stand that is not marked as it should be: for scores, never for rewards.

use super::markup::{self, unstyled};
use super::{boxes, lines};

/// The longest response that may be an answer as a whole, in bytes.
const MAX_WHOLE_BYTES: usize = 512;

/// The longest line that is searched for an answer in prose, in bytes.
const MAX_LINE_BYTES: usize = 4096;

/// What says an answer again in other words.
const AGAIN: [&str; 5] = [" (", ", i.e.", ", that is", ", which", " i.e."];

/// How much of the end of a response is searched, in bytes.
const MAX_TAIL_BYTES: usize = 1 << 18;

/// Words after which no answer follows, but why it is one.
const REASONS: [&str; 18] = [
    " because ",
    ", because ",
    " (because ",
    " since ",
    ", since ",
    " (since ",
    ", not ",
    " (not ",
    " as ",
    ", as ",
    " when ",
    " where ",
    " which ",
    ", which ",
    " for ",
    " if ",
    " by ",
    ", so ",
];

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
        return announced(answer).or(Some(answer.trim()));
    }
    if let Some(answer) = announced(text) {
        return Some(answer);
    }
    if let Some(answer) = lines::last_hashes(text) {
        return Some(answer);
    }
    if let Some(answer) = markup::last_fenced(text)
        && is_answer(answer)
    {
        return Some(unstyled(answer));
    }
    if text.len() <= MAX_WHOLE_BYTES && is_answer(unstyled(text)) {
        return Some(unstyled(text));
    }
    if let Some(answer) = last_delimited(text) {
        return Some(answer);
    }
    let line = text.lines().next_back().unwrap_or_default().trim();
    if line == "```" {
        return None;
    }
    if line.len() <= MAX_WHOLE_BYTES && is_answer(unstyled(line)) {
        return Some(unstyled(line));
    }
    if line.len() <= MAX_WHOLE_BYTES
        && let Some(answer) = before_reason(line)
        && answer.contains(|c: char| c.is_ascii_digit() || c == '\\')
    {
        return Some(answer);
    }
    last_number(text).or_else(|| last_choice(text))
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

/// What the last sentence says that announces an answer.
fn announced(text: &str) -> Option<&str> {
    let bytes = text.as_bytes();
    let mut end = text.len();
    while let Some(at) = text[..end].rfind(['r', 'R', 't', 'T', 'A']) {
        end = at;
        let after = if word_ends(bytes, at, b"answer") || word_ends(bytes, at, b"result") {
            if is_denied(&text[at + 1..]) {
                return text[at + 1..].lines().next();
            }
            verb(&text[at + 1..])
        } else if bytes[at] == b'A' && (at == 0 || bytes[at - 1] == b'\n') {
            text[at + 1..].strip_prefix(':')
        } else {
            None
        };
        if let Some(answer) = after.and_then(said) {
            return Some(answer);
        }
    }
    None
}

/// Whether `word`, in any case, ends with the byte at `at`.
fn word_ends(bytes: &[u8], at: usize, word: &[u8]) -> bool {
    let Some(start) = (at + 1).checked_sub(word.len()) else { return false };
    bytes[start..=at].eq_ignore_ascii_case(word)
        && (start == 0 || !bytes[start - 1].is_ascii_alphabetic())
}

/// Whether a sentence goes on to say that there is no answer, or what it is not.
fn is_denied(text: &str) -> bool {
    const DENIALS: [&str; 6] =
        [" cannot", " can't", " can not", " isn't", " is not", " is unknown"];
    DENIALS.iter().any(|denial| text.starts_with(denial))
}

/// What follows "is", a colon or an equals sign.
fn verb(text: &str) -> Option<&str> {
    let text = text.trim_start_matches(['*', ' ', '_']);
    let block = text.strip_prefix("is").filter(|rest| rest.trim_start().starts_with("```"));
    block.or_else(|| [":", "：", "=", "is:", "is "].iter().find_map(|verb| text.strip_prefix(verb)))
}

/// The answer in what an announcement says: up to the end of its line, or of its sentence.
fn said(text: &str) -> Option<&str> {
    let text = text.trim_start_matches(|c: char| c.is_whitespace() || "*:}".contains(c));
    if text.starts_with("$$") || text.starts_with(r"\[") {
        let (inner, _) = delimited(&text[..floor(text, MAX_LINE_BYTES)])?;
        return Some(inner.trim());
    }
    if markup::begins_block(text) {
        // of several lines, or of a program, none is the answer
        let line = markup::fenced(&text[..floor(text, MAX_LINE_BYTES)]);
        return Some(line.map_or("", unstyled));
    }
    let line = text.lines().next()?;
    let line = &line[..floor(line, MAX_LINE_BYTES)];
    let sentence = sentence(line);
    if let Some(inner) = delimited_start(sentence) {
        return Some(inner);
    }
    if let Some(answer) = before_reason(sentence) {
        return Some(answer);
    }
    if is_answer(unstyled(sentence)) {
        return Some(unstyled(sentence));
    }
    // "the largest value is 34"
    if let Some((_, last)) = sentence.rsplit_once(" is ")
        && is_answer(last)
    {
        return Some(unstyled(last));
    }
    // what is said is no answer: nothing else in the response is one either
    (!sentence.is_empty()).then(|| last_delimited(sentence).unwrap_or(sentence))
}

/// The answer before the words that say why it is one.
fn before_reason(sentence: &str) -> Option<&str> {
    let reasons = REASONS.iter().filter(|&&reason| sentence.contains(reason));
    let cut = reasons.filter_map(|reason| sentence.find(reason)).min()?;
    is_answer(&sentence[..cut]).then(|| unstyled(&sentence[..cut]))
}

/// A line up to the end of its first sentence.
fn sentence(line: &str) -> &str {
    let end = line.match_indices(". ").map(|(at, _)| at).find(|&at| {
        // a full stop after a letter or a digit, and a capital letter after it
        line[at + 2..].starts_with(|c: char| c.is_uppercase() || c == '<' || c == '*')
    });
    &line[..end.unwrap_or(line.len())]
}

/// Mathematics between delimiters that starts a text, if only words follow, or the same again in
/// other words.
fn delimited_start(text: &str) -> Option<&str> {
    let (inner, rest) = delimited(text)?;
    if AGAIN.iter().any(|again| rest.starts_with(again)) {
        return Some(inner.trim());
    }
    let no_more = !rest.contains(['$', '\\']) && !rest.trim_start().starts_with([',', ';']);
    let words = rest.trim_start();
    let joined = words.starts_with("or ") || words.starts_with("and ");
    (no_more && !joined && !words.starts_with(|c: char| c.is_ascii_digit() || "+-*/^=".contains(c)))
        .then(|| inner.trim())
}

/// Splits off delimited mathematics at the start of a text.
fn delimited(text: &str) -> Option<(&str, &str)> {
    const PAIRS: [(&str, &str); 4] = [("$$", "$$"), ("$", "$"), (r"\(", r"\)"), (r"\[", r"\]")];
    PAIRS.iter().find_map(|(left, right)| text.strip_prefix(left)?.split_once(right))
}

/// The last mathematics between delimiters.
fn last_delimited(text: &str) -> Option<&str> {
    const PAIRS: [(&str, &str); 4] = [("$$", "$$"), ("$", "$"), (r"\(", r"\)"), (r"\[", r"\]")];
    let (right, start, end) = PAIRS
        .iter()
        .filter_map(|&(left, right)| {
            let end = text.rfind(right)?;
            let start = text[..end].rfind(left)? + left.len();
            Some((end + right.len(), start, end))
        })
        .max_by_key(|&(right, start, _)| (right, start))?;
    // a price is no delimiter
    let paired = right > end && text[..right].matches('$').count().is_multiple_of(2);
    let inner = text[start..end].trim();
    if !paired || inner.is_empty() {
        return None;
    }
    if text[..right].ends_with('$')
        && let Some(first) = first_joined(text, start - 1)
    {
        return Some(&text[first..right]);
    }
    Some(inner)
}

/// Where the first `$` stands of mathematics that "and", "or" and commas join to what starts at `at`.
fn first_joined(text: &str, at: usize) -> Option<usize> {
    const MAX_JOINED: usize = 16;
    let mut first = None;
    let mut before = &text[..at];
    for _ in 0..MAX_JOINED {
        let joined = [", and ", ", or ", " and ", " or ", ", "]
            .iter()
            .find_map(|joint| before.strip_suffix(joint)?.strip_suffix('$'));
        let Some(inner) = joined else { break };
        before = &inner[..inner.rfind('$')?];
        first = Some(before.len());
    }
    first
}

/// Whether a text is an answer and no prose: mathematics, or a number and its unit, or a name.
fn is_answer(text: &str) -> bool {
    let text = text.trim();
    if text.is_empty() || text.contains('\n') && !text.contains('\\') {
        return false;
    }
    let mut words = 0;
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        let letters = |text: &str| text.bytes().take_while(u8::is_ascii_alphabetic).count();
        if next == '\\' {
            let name = &rest[1..=letters(&rest[1..])];
            let one = rest[1..].chars().next().map_or(0, char::len_utf8);
            rest = &rest[1 + name.len().max(one)..];
            if matches!(name, "text" | "mbox" | "textbf" | "textrm" | "mathrm" | "begin" | "end")
                && let Some((_, after)) = rest.split_once('}')
            {
                rest = after;
            }
            continue;
        }
        let length = letters(rest);
        // prose in another script
        if next.is_alphabetic() && !next.is_ascii() && !('α'..='ω').contains(&next) {
            words += 1;
        }
        words += weight(&rest[..length]);
        rest = &rest[length.max(next.len_utf8())..];
    }
    let number = text.starts_with(|c: char| c.is_ascii_digit() || "$-.\\(".contains(c));
    let name = text.chars().all(|c| c.is_alphabetic() || " .-".contains(c));
    words == 0 || words <= 2 && (number || name)
}

/// How much a run of letters speaks against mathematics: 3 is enough.
fn weight(run: &str) -> u32 {
    const NAMES: [&str; 16] = [
        "and", "sin", "cos", "tan", "log", "exp", "sqrt", "arcsin", "arccos", "arctan", "infinity",
        "percent", "boxed", "cot", "negative", "minus",
    ];
    match run {
        "is" | "are" | "was" | "because" | "since" | "therefore" | "equals" | "gives" | "makes"
        | "gets" | "has" | "have" | "not" | "Not" | "no" | "No" | "Answer" | "answer" => 3,
        _ if NAMES.contains(&run) || run.len() < 3 => 0,
        // points and segments are capitals
        _ => u32::from(run[1..].contains(|c: char| c.is_ascii_lowercase())),
    }
}

/// The last number as written, with its sign, separators, fraction and percent sign.
fn last_number(text: &str) -> Option<&str> {
    let bytes = text.as_bytes();
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
    if start > 0
        && bytes[start - 1] == b'-'
        && (start == 1 || !bytes[start - 2].is_ascii_alphanumeric())
    {
        start -= 1;
    }
    let mut end = last + 1;
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

/// The letter of a choice: one that begins the text with a mark after it, or the last that stands
/// alone.
fn last_choice(text: &str) -> Option<&str> {
    let bytes = text.as_bytes();
    let is_letter = |at: usize| (b'A'..=b'H').contains(&bytes[at]);
    if bytes.len() > 1 && is_letter(0) && matches!(bytes[1], b'.' | b')' | b':') {
        return Some(&text[..1]);
    }
    let alone = |at: &usize| {
        let at = *at;
        let before = at == 0 || !(bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'\'');
        let after =
            bytes.get(at + 1).is_none_or(|next| !(next.is_ascii_alphanumeric() || *next == b'\''));
        // an article
        let article = bytes[at] == b'A'
            && bytes.get(at + 1) == Some(&b' ')
            && bytes.get(at + 2).is_some_and(u8::is_ascii_lowercase);
        is_letter(at) && before && after && !article
    };
    (0..bytes.len()).rev().find(alone).map(|at| &text[at..=at])
}

/// The last character boundary up to `at`.
fn floor(text: &str, at: usize) -> usize {
    (0..=at.min(text.len())).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0)
}
