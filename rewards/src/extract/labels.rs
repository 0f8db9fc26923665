//! Labels: the numbers of list items, steps, cases and headings, and dates. They count the parts
//! of a text, and no quantity.

use std::ops::Range;

use super::clause::{denies, is_among, words};
use super::{choice, prose};
use crate::absence::absence;

/// Nouns that a number behind them names.
const NAMED: &str = "step case example problem question exercise figure table equation eq section \
    chapter lemma theorem part method approach phase stage scenario note";

/// Words that make such a noun a noun of its own: "in that case 3 remain".
const DETERMINERS: &str = "this that each every which any per";

const MONTHS: &str = "january february march april may june july august september october november \
    december jan feb mar apr jun jul aug sep sept oct nov dec";

/// Marks of markup before the number of an item.
const DRESS: [char; 6] = [' ', '\t', '>', '*', '_', '#'];

/// Most digits of a label.
const MAX_DIGITS: usize = 3;

/// How far around a number is looked for what makes it a label, in bytes.
const MAX_REACH: usize = 32;

/// How far above a line the item before it is looked for, in bytes.
const MAX_ITEM_BYTES: usize = 1 << 13;

/// Most lines and sentences that are taken off the end of a text.
const MAX_BEGUN: usize = 8;

/// The number of the item that a line begins, and what the line says behind it.
pub(super) fn item(line: &str) -> Option<(u32, &str)> {
    let inner = line.trim_start_matches(DRESS);
    let bracket = inner.strip_prefix('(');
    let inner = bracket.unwrap_or(inner);
    let digits = inner.bytes().take_while(u8::is_ascii_digit).count();
    if digits == 0 || digits > MAX_DIGITS {
        return None;
    }
    let (number, rest) = inner.split_at(digits);
    let rest = rest.trim_start_matches('*');
    let rest = rest.strip_prefix('\\').unwrap_or(rest);
    let marks: &[char] = if bracket.is_some() { &[')'] } else { &['.', ')', ':'] };
    let mark = rest.chars().next().filter(|mark| marks.contains(mark))?;
    let rest = rest[1..].trim_start_matches('*');
    let body = rest.trim_start();
    let spaced = rest.is_empty() || body.len() < rest.len();
    let word = body.starts_with(char::is_alphabetic) || body.starts_with("**");
    // a decimal, a time, a ratio, a factor
    let is_item = match mark {
        '.' => spaced || word,
        _ if bracket.is_some() || mark == ':' => body.is_empty() || spaced && word,
        _ => spaced,
    };
    Some((number.parse().ok()?, body)).filter(|_| is_item)
}

/// The last line of a text without the number or the bullet of the item that it is.
pub(super) fn body<'a>(text: &str, line: &'a str) -> &'a str {
    match item(line) {
        Some((_, body)) if counts(&text[..text.len() - line.len()], line) => body,
        Some(_) => line,
        None => ["- ", "* ", "\u{2022}"]
            .iter()
            .find_map(|bullet| line.strip_prefix(bullet))
            .map_or(line, str::trim_start),
    }
}

/// Whether a text begins with a label: "Step 4", "4. Costs".
pub(super) fn is_labelled(text: &str) -> bool {
    let text = text.trim_start_matches(DRESS);
    let letters = text.bytes().take_while(u8::is_ascii_alphabetic).count();
    let number = text[letters..].trim_start_matches([' ', '(']);
    letters > 0 && is_named(&text[..letters]) && number.starts_with(|c: char| c.is_ascii_digit())
        || item(text).is_some_and(|(_, body)| body.starts_with(char::is_alphabetic))
}

/// Whether the number that stands at a place of a text is a label.
pub(super) fn is_label(text: &str, number: &Range<usize>) -> bool {
    let near = text.ceil_char_boundary(number.start.saturating_sub(MAX_REACH));
    let far = text.floor_char_boundary(number.end.saturating_add(MAX_REACH));
    let (before, after) = (&text[near..number.start], &text[number.end..far]);
    let digits = &text[number.clone()];
    if is_date(before, digits, after) {
        return true;
    }
    if digits.len() > MAX_DIGITS || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return false;
    }
    if is_named(before) {
        return true;
    }
    let dress = before.trim_end_matches(|c: char| DRESS.contains(&c) || c == '(');
    let begins = dress.is_empty() && before.len() == number.start || dress.ends_with('\n');
    if !begins {
        return false;
    }
    let start = number.start - (before.len() - dress.len());
    let line = text[start..].trim_start_matches('\n').lines().next().unwrap_or_default();
    counts(&text[..start], line)
}

/// Whether a line is an item of a list, or the heading of a section, by its number.
fn counts(above: &str, line: &str) -> bool {
    let Some((number, body)) = item(line) else {
        let dressed = line.trim();
        let number = dressed.trim_matches(DRESS);
        let bare = number.parse::<u32>().ok().filter(|_| number.len() <= MAX_DIGITS);
        return bare.is_some_and(|number| dressed.starts_with('#') || continues(above, number));
    };
    // a number that begins the response, and one that is all of a line, may be a sentence
    let is_listed = !above.trim().is_empty() && !body.trim_matches(DRESS).is_empty();
    is_listed || number == 1 || continues(above, number)
}

/// Whether the last item above a line has the number before.
fn continues(above: &str, number: u32) -> bool {
    let start = above.ceil_char_boundary(above.len().saturating_sub(MAX_ITEM_BYTES));
    let last = above[start..].lines().rev().find_map(|line| Some(item(line)?.0));
    last.is_some_and(|last| last + 1 == number)
}

/// Whether a text ends with a noun that names what a number behind it counts: "Step", "Equation (".
fn is_named(before: &str) -> bool {
    let before = before.trim_end_matches(|c: char| " \t*_(#$\\\u{a0}".contains(c));
    let (rest, noun) = last_word(before.strip_suffix('.').unwrap_or(before));
    let (_, word) = last_word(rest.trim_end());
    is_among(NAMED, &noun.to_lowercase()) && !is_among(DETERMINERS, &word.to_lowercase())
}

/// A text before its last word, and that.
fn last_word(text: &str) -> (&str, &str) {
    let rest = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    text.split_at(rest.len())
}

/// Whether a number is a part of a date with its year: "May 7, 2023", "2023-05-07", "5/7/2023".
fn is_date(before: &str, number: &str, after: &str) -> bool {
    let year = |text: &str| text.len() == 4 && text.bytes().all(|digit| digit.is_ascii_digit());
    let month = |text: &str| {
        let (_, word) = last_word(text.trim_end().trim_end_matches('.'));
        is_among(MONTHS, &word.to_lowercase())
    };
    if year(number)
        && let Some(day) = before.trim_end().strip_suffix(',')
    {
        let rest = day.trim_end_matches(|c: char| c.is_ascii_digit());
        return rest.len() < day.len() && month(rest);
    }
    if let Some(rest) = after.strip_prefix(", ")
        && month(before)
    {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        return year(&rest[..digits]);
    }
    let part = |c: char| c.is_ascii_digit() || "-/".contains(c);
    let start = before.trim_end_matches(part).len();
    let end = after.len() - after.trim_start_matches(part).len();
    let whole = [&before[start..], number, &after[..end]].concat();
    ['-', '/'].iter().any(|&sign| {
        let parts: Vec<_> = whole.split(sign).collect();
        let short = |part: &&str| matches!(part.len(), 1 | 2);
        match &parts[..] {
            [first, middle, last] => {
                short(middle) && (year(first) && short(last) || short(first) && year(last))
            }
            _ => false,
        }
    })
}

/// A text without what only begins at its end: the number of an item, the name of a step, the first
/// words of a sentence, the first cells of a row, or a computation without its result.
pub(super) fn without_begun(text: &str) -> &str {
    let mut text = text.trim_end();
    for _ in 0..MAX_BEGUN {
        let line = text.rsplit('\n').next().unwrap_or_default();
        let begun = if ends_open(line) {
            prose::last_sentence(line)
        } else if is_begun(&text[..text.len() - line.len()], line) {
            line
        } else {
            break;
        };
        let above = text[..text.len() - begun.len()].trim_end();
        // the operands of an open computation are no answers, a name may be one
        if above.is_empty() && !ends_open(line) {
            break;
        }
        text = above;
    }
    text
}

/// Whether a line ends with a sign that needs something behind it.
fn ends_open(line: &str) -> bool {
    line.ends_with(['=', '+', '/', '\u{d7}', '\u{f7}'])
        || line.ends_with(" *")
        || line.ends_with(" -")
}

/// Whether a line is a label and nothing else, a row of a table that was cut, or the first words of
/// a sentence.
fn is_begun(above: &str, line: &str) -> bool {
    let line = line.trim();
    let said = item(line).map_or(line, |(_, body)| body);
    if is_words(said) && said.split(' ').count() <= MAX_WORDS {
        return !said.ends_with(['.', '?', '!']) && !denies(said);
    }
    if line.starts_with('|') {
        let row = above.trim_end().rsplit('\n').next().unwrap_or_default();
        return line.matches('|').count() < row.matches('|').count();
    }
    if let [letter @ b'b'..=b'z', b'.' | b')'] = *line.trim_matches(DRESS).as_bytes() {
        let row = above.trim_end().rsplit('\n').next().unwrap_or_default();
        return row.trim_start_matches(DRESS).as_bytes().first() == Some(&(letter - 1));
    }
    let rest = line.trim_end_matches(|c: char| DRESS.contains(&c) || ":.)".contains(c));
    let named = rest.trim_end_matches(|c: char| c.is_ascii_digit());
    if named.len() < rest.len() && is_named(named) {
        let (lead, _) = last_word(named.trim_end_matches(|c: char| " \t*_(".contains(c)));
        return lead.trim_matches(DRESS).is_empty();
    }
    let only = item(line).is_none_or(|(_, body)| body.trim_matches(DRESS).is_empty());
    only && counts(above, line)
}

/// Most words of a sentence that is only begun.
const MAX_WORDS: usize = 4;

/// Runs of letters that may be an answer: names in mathematics, and answers to questions.
const NAMES: &str = "pi infinity inf phi theta alpha beta gamma lambda sin cos tan cot sec csc log ln \
    lg exp sqrt and or yes no true false even odd";

/// Words that begin a sentence.
const STARTERS: &str = "so the in now we it he she they this that these those there then thus hence \
    therefore next first second third finally to for if since because by as at on of an let let's \
    here our its their and but or also when where with from step";

/// Whether a text is nothing but words, and so no answer that a mark does not make one: `So`, `We
/// can add`. The letter of a choice, capitals of points, and names of numbers are no words.
pub(super) fn is_words(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphabetic() || " ,:.?!'-\u{2019}".contains(c);
    text.chars().all(plain)
        && text.split(|c: char| !c.is_ascii_alphabetic()).any(is_word)
        && absence(text).is_none()
        && choice::last(text).is_none()
}

fn is_word(run: &str) -> bool {
    let lower = run.to_lowercase();
    let points = run.len() <= 3 && run.bytes().all(|letter| letter.is_ascii_uppercase());
    run.len() > 1 && !is_among(NAMES, &lower) && (!points || is_among(STARTERS, &lower))
}

/// Whether a text is only words that begin a sentence.
pub(super) fn is_start(text: &str) -> bool {
    let mut words = words(text).peekable();
    words.peek().is_some()
        && !text.contains(|c: char| c.is_numeric() || c == '\\')
        && words.all(|word| word.len() > 1 && is_among(STARTERS, &word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_has_its_number_and_what_it_says() {
        for (line, expected) in [
            ("7. We add", Some((7, "We add"))),
            ("  7) We add", Some((7, "We add"))),
            ("(7) We add", Some((7, "We add"))),
            ("**7.** We add", Some((7, "We add"))),
            ("**7**. We add", Some((7, "We add"))),
            ("## 7. Costs", Some((7, "Costs"))),
            (r"7\. We add", Some((7, "We add"))),
            ("7: We add", Some((7, "We add"))),
            ("7.We add", Some((7, "We add"))),
            ("7. 3 + 4", Some((7, "3 + 4"))),
            ("7.", Some((7, ""))),
            ("(7)", Some((7, ""))),
            ("7.5 litres", None),
            ("7:30", None),
            ("7: 3", None),
            ("(2)(3)", None),
            ("(2) * 3", None),
            ("7 pears", None),
            ("2023. That year", None),
            ("(7, 8)", None),
            ("", None),
        ] {
            assert_eq!(item(line), expected, "{line}");
        }
    }

    #[test]
    fn a_label_is_told_from_a_number() {
        for (text, expected) in [
            ("Step 7", true),
            ("by Eq. (7)", true),
            ("**Case 7:** x", true),
            ("x\n7. We add", true),
            ("1. x", true),
            ("6. x\n7", true),
            ("5. x\n7", false),
            ("x\n7.", false),
            ("7. That is it", false),
            ("in that case 7 remain", false),
            ("misstep 7", false),
            ("it is 7. We add", false),
            ("on May 7, 2023", true),
            ("on 7/5/2023", true),
            ("in 2023", false),
            ("May 7 of them, 2023 in all", false),
            ("it is 7/5", false),
        ] {
            let digit = |c: char| c.is_ascii_digit();
            let start = text.rfind(['7', '2', '1']).unwrap();
            let start = text[..start].rfind(|c: char| !digit(c)).map_or(0, |at| at + 1);
            let end = start + text[start..].find(|c| !digit(c)).unwrap_or(text.len() - start);
            assert_eq!(is_label(text, &(start..end)), expected, "{text}");
        }
    }

    #[test]
    fn what_is_only_begun_is_taken_off_the_end() {
        for (text, expected) in [
            ("It is 5.\n7.", "It is 5.\n7."),
            ("6. It is 5.\n7.", "6. It is 5."),
            ("It is 5.\nStep 7:\n\nThe", "It is 5."),
            ("It is 5.\n\nSo we can", "It is 5."),
            ("It is 5. So 2 * 3 =", "It is 5."),
            ("It is 5.\n\nNot really", "It is 5.\n\nNot really"),
            ("It is 5.\n\nEven.", "It is 5.\n\nEven."),
            ("It is 5.\nx", "It is 5.\nx"),
            ("| 1 | 2 |\n| 3 |", "| 1 | 2 |"),
            ("a) 5\nb)", "a) 5"),
            ("So", "So"),
            ("2 * 3 =", ""),
        ] {
            assert_eq!(without_begun(text), expected, "{text}");
        }
    }
}
