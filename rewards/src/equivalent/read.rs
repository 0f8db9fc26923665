//! From text to tree: what only dresses the answer is taken off, and what is left is mathematics, a
//! marked choice, or a few words.

mod declared;
mod excluded;
mod notation;

use std::borrow::Cow;

use dashu_ratio::RBig;

use super::parse::parse;
use super::roles::Roles;
use super::tree::{Constant, Node, Tree, Unreadable};
use super::words::number_word;
use super::{characters, measures, names, words};
use crate::Strictness;
use crate::absence::{Absence, absence};

/// The longest answer that may be words, in bytes.
const MAX_WORDS_BYTES: usize = 80;

/// The spaces of LaTeX.
const SPACES: [&str; 8] = [r"\ ", r"\,", r"\;", r"\:", r"\!", r"\quad", r"\qquad", "~"];

/// Reads a bare answer, by itself.
#[cfg(test)]
pub(super) fn read(text: &str, strictness: Strictness) -> Result<Tree, Unreadable> {
    read_beside(text, strictness, &Roles::of(text, "", strictness))
}

/// Reads a bare answer whose letters have the roles that both texts of a comparison give them.
pub(super) fn read_beside(
    text: &str,
    strictness: Strictness,
    roles: &Roles,
) -> Result<Tree, Unreadable> {
    if text.len() > strictness.max_answer_bytes() {
        return Err(Unreadable::Limit);
    }
    let plain = characters::plain(text, strictness);
    let single = if strictness == Strictness::Eval { single_backslashes(&plain) } else { plain };
    let text = trim(&single);
    // emphasis of Markdown
    let bold = text.strip_prefix("**").and_then(|text| text.strip_suffix("**"));
    let text = bold.map_or(text, trim);
    let text = notation::plain(without_marks(text));
    let text = &*text;
    if text.is_empty() {
        return Err(Unreadable::NotMathematics);
    }
    let words = words(text);
    if let Some(node) = words.as_deref().and_then(|words| choice(words, strictness)) {
        return Ok(Tree { nodes: vec![node] });
    }
    if strictness == Strictness::Eval
        && let Some(number) = words.as_deref().and_then(|words| number_word(&words.to_lowercase()))
    {
        return Ok(Tree { nodes: vec![Node::Number { value: RBig::from(number), places: None }] });
    }
    if let Some(node) = words.as_deref().and_then(name) {
        return Ok(Tree { nodes: vec![node] });
    }
    if let Some(tree) = words.as_deref().and_then(measures::compound) {
        return Ok(tree);
    }
    if let Some(tree) = excluded::excluded(text, strictness, roles) {
        return Ok(tree);
    }
    if let Some(text) = declared::declared(text)
        && let Ok(tree) = parse(&text, strictness, roles)
    {
        return Ok(tree);
    }
    match parse(text, strictness, roles) {
        Err(Unreadable::NotMathematics) => {}
        read => return read,
    }
    // of a computation that is not read, its result is
    if strictness == Strictness::Eval
        && let Some((computation, result)) = text.rsplit_once('=')
        && is_computation(computation)
        && let Ok(tree) = parse(trim(result).trim_end_matches('$'), strictness, roles)
    {
        return Ok(tree);
    }
    match words.as_deref().and_then(sentence) {
        Some(node) => Ok(Tree { nodes: vec![node] }),
        None => Err(Unreadable::NotMathematics),
    }
}

/// Whether what stands before an equals sign only leads to what stands behind it: it is no
/// condition, no quantifier, and no list of which the equation is the last part.
fn is_computation(text: &str) -> bool {
    const LOGIC: &str = "forall exists nexists neg lnot implies Rightarrow Longrightarrow iff \
        Leftrightarrow Leftarrow Longleftrightarrow land lor wedge vee when where for let all given \
        then or and";
    let bytes = text.as_bytes();
    let digit = |at: Option<usize>| at.and_then(|at| bytes.get(at)).is_some_and(u8::is_ascii_digit);
    let listed = text
        .match_indices([',', ';'])
        .any(|(at, _)| !digit(at.checked_sub(1)) || !digit(Some(at + 1)));
    let mut words = text.split(|c: char| !c.is_ascii_alphabetic());
    !listed
        && !text.trim_end().ends_with(['!', '<', '>', ':', '~', '≠'])
        && !text.contains(['∀', '∃', '⇒', '⇔', '¬', '?'])
        && words.all(|word| {
            !words::takes_back(word) && !LOGIC.split_whitespace().any(|known| known == word)
        })
}

/// Takes white space, LaTeX's spaces and the end of a sentence off the ends.
pub(super) fn trim(text: &str) -> &str {
    let mut text = text.trim();
    while let Some(rest) = SPACES.iter().find_map(|space| text.strip_prefix(space)) {
        text = rest.trim_start();
    }
    text = without_spaces(text);
    // one mark of punctuation: more of them would stand for digits left out
    match [".", ",", ";", ":"].iter().find_map(|end| text.strip_suffix(end)) {
        Some(sentence) => without_spaces(sentence),
        None => text,
    }
}

/// Takes the marks off with which a proof or a check ends; what is nothing else stays.
fn without_marks(text: &str) -> &str {
    const MARKS: [&str; 20] = [
        r"\checkmark",
        r"\blacksquare",
        r"\square",
        r"\Box",
        r"\qed",
        r"\qedsymbol",
        r"\qedhere",
        r"\text{QED}",
        r"\text{Q.E.D.}",
        r"\text{ QED}",
        r"\text{ Q.E.D.}",
        r"\text{✓}",
        "✓",
        "✔",
        "✅",
        "☑",
        "∎",
        "■",
        "□",
        "\u{fe0f}",
    ];
    let inner = text.strip_prefix('$').and_then(|text| text.strip_suffix('$'));
    let mut plain = inner.filter(|inner| !inner.contains('$')).map_or(text, trim);
    while let Some(rest) = MARKS.iter().find_map(|mark| plain.strip_suffix(mark)) {
        plain = trim(rest);
    }
    if plain.is_empty() { text } else { plain }
}

/// Takes white space and LaTeX's spaces off the end.
fn without_spaces(text: &str) -> &str {
    // `\ ` has lost its space to the trimming already
    let mut text = text.trim_end();
    while let Some(rest) =
        SPACES.iter().chain(&[r"\\", "\\"]).find_map(|end| text.strip_suffix(end))
    {
        text = rest.trim_end();
    }
    text
}

/// Undoes a second escaping, which turns `\frac` into `\\frac`.
fn single_backslashes(text: &str) -> Cow<'_, str> {
    let commands = text.match_indices(r"\\").any(|(at, found)| {
        text[at + found.len()..].starts_with(|next: char| next.is_ascii_alphabetic())
    });
    // in a table, two backslashes end a row
    if commands && (text.contains(r"\\begin") || !text.contains(r"\begin")) {
        Cow::Owned(text.replace(r"\\", r"\"))
    } else {
        Cow::Borrowed(text)
    }
}

/// The text without braces, dollar signs, fonts and spaces of LaTeX; `None` where it holds more of
/// LaTeX than that, or is too long to be words.
fn words(text: &str) -> Option<String> {
    if text.len() > MAX_WORDS_BYTES {
        return None;
    }
    let mut words = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        rest = &rest[next.len_utf8()..];
        match next {
            '\\' => {
                let letters = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
                let name = &rest[..letters];
                if letters == 0 {
                    let space = rest.chars().next().filter(|c| " ,;:!()[]".contains(*c))?;
                    rest = &rest[1..];
                    if !"()[]".contains(space) {
                        words.push(' ');
                    }
                } else if matches!(name, "color" | "textcolor") {
                    rest = rest[letters..].split_once('}')?.1;
                } else if names::is_text(name) || names::is_dress(name) {
                    rest = &rest[letters..];
                    words.push(' ');
                } else {
                    return None;
                }
            }
            '{' | '}' | '$' => {}
            '~' => words.push(' '),
            _ => words.push(next),
        }
    }
    let words = words.split_whitespace().collect::<Vec<_>>().join(" ");
    Some(trim(&words).to_owned())
}

/// The letter of a multiple choice, where something marks it as one.
fn choice(words: &str, strictness: Strictness) -> Option<Node> {
    let named = ["option ", "choice ", "Option ", "Choice "];
    if strictness == Strictness::Eval
        && let Some(letter) = named.iter().find_map(|name| words.strip_prefix(name))
    {
        let letter = letter.trim_matches(['(', ')']);
        return match letter.as_bytes() {
            [only @ b'A'..=b'J'] => Some(Node::Choice(char::from(*only))),
            _ => None,
        };
    }
    let (letter, rest) = if let Some(inside) = words.strip_prefix('(') {
        (inside.chars().next()?, inside.get(1..)?.strip_prefix(')')?)
    } else {
        (words.chars().next()?, words.get(1..)?.strip_prefix([')', '.', ':'])?)
    };
    // a name may follow, but no other choice
    let is_other = |word: &str| {
        matches!(word, "and" | "or" | "not")
            || word.len() == 1 && word.starts_with(|first: char| first.is_ascii_uppercase())
    };
    let named = strictness == Strictness::Eval
        && rest.starts_with([' ', ':', '.'])
        && !rest.contains(['(', ',', ';'])
        && !rest.split(' ').any(is_other);
    let ends = rest.is_empty() || named;
    (letter.is_ascii_uppercase() && letter <= 'J' && ends).then_some(Node::Choice(letter))
}

/// An answer that is a name or a word: letters only.
fn name(words: &str) -> Option<Node> {
    if let Some(time) = time(words) {
        return Some(Node::Text(time.into()));
    }
    let lower = words.to_lowercase();
    let lower = ["the ", "an ", "a "]
        .iter()
        .find_map(|article| lower.strip_prefix(article))
        .unwrap_or(&lower)
        .to_owned();
    match &*lower {
        "empty set" | "null set" => return Some(Node::Constant(Constant::EmptySet)),
        "all real numbers" | "all reals" | "all real" | "real numbers" => {
            return Some(Node::Constant(Constant::Reals));
        }
        _ => {}
    }
    match absence(words) {
        Some(Absence::NoSolution) => return Some(Node::Constant(Constant::EmptySet)),
        Some(Absence::NoValue) => return Some(Node::Constant(Constant::Undefined)),
        Some(Absence::Endless) => return Some(Node::Text("infinitely many".into())),
        None => {}
    }
    if matches!(&*lower, "no" | "yes" | "in" | "on" | "up" | "down" | "both") {
        return Some(Node::Text(lower.into()));
    }
    let letters = words.chars().all(|c| c.is_alphabetic() || c == ' ' || c == '-');
    if !letters
        || !words.split([' ', '-']).any(words::is_word)
        || words.split(' ').any(|word| names::plain(word).is_some())
        || names::function_with_letter(words).is_some()
    {
        return None;
    }
    (words.split(' ').count() <= 8).then(|| Node::Text(lower.into()))
}

/// A time of day on the clock, which is no ratio: `3:05`, `3:30 pm`.
fn time(words: &str) -> Option<String> {
    let words = words.replace(" : ", ":");
    let (clock, half) = words.split_once(' ').unwrap_or((&words, ""));
    let (hours, minutes) = clock.split_once(':')?;
    let half = half.to_lowercase().replace(['.', ' '], "");
    let digits = |text: &str| text.len() <= 2 && text.bytes().all(|byte| byte.is_ascii_digit());
    let marked = matches!(&*half, "am" | "pm") || half.is_empty() && minutes.starts_with('0');
    (digits(hours) && digits(minutes) && minutes.len() == 2 && marked)
        .then(|| format!("{} {half}", clock.trim_start_matches('0')).trim_end().to_owned())
}

/// Words that also hold digits or signs, such as a time or a date.
fn sentence(words: &str) -> Option<Node> {
    let plain = |c: char| c.is_alphanumeric() || " .,:'-/".contains(c);
    if !words.starts_with(char::is_alphanumeric)
        || !words.chars().all(plain)
        || !words.chars().any(char::is_alphabetic)
    {
        return None;
    }
    let count = words.split(' ').count();
    let digits = words.contains(|c: char| c.is_numeric());
    (count <= if digits { 3 } else { 8 }).then(|| Node::Text(words.to_lowercase().into()))
}

#[cfg(test)]
mod tests;
