//! Answers among words: which part of a sentence is the value that it states.

use super::clause::{
    is_among, is_judged, is_operator, leading, leaves, skip, starts_with_word, weight, words,
};
use super::delimited;
use super::markup::unstyled;
use crate::absence::absence;
use crate::denial::{Denial, is_one_of};

/// Up to the end of the first sentence of a line.
pub(super) fn sentence(line: &str) -> &str {
    let end = line.match_indices(['.', '!', '?']).find_map(|(at, _)| {
        let rest = line[at + 1..].trim_start_matches(['*', '"', ')', '_']);
        let begins = |c: char| c.is_uppercase() || c == '<' || c == '*';
        rest.strip_prefix(' ')?.starts_with(begins).then_some(line.len() - rest.len())
    });
    let found = &line[..end.unwrap_or(line.len())];
    found.strip_suffix('.').unwrap_or(found)
}

/// The last sentence of a line.
pub(super) fn last_sentence(line: &str) -> &str {
    let mut rest = line;
    loop {
        let first = sentence(rest);
        let after = rest[first.len()..].trim_start_matches(['.', ' ']);
        if after.is_empty() {
            return first;
        }
        rest = after;
    }
}

/// The number or formula that a sentence states of something: what stands after its last verb.
pub(super) fn stated(sentence: &str) -> Option<&str> {
    const VERBS: [&str; 8] =
        [" is ", " are ", " was ", " were ", " equals ", " becomes ", " is: ", " are: "];
    let (at, verb) = VERBS.iter().filter_map(|&verb| Some((sentence.rfind(verb)?, verb))).max()?;
    if words(&sentence[..at]).next().is_some_and(|word| is_among("if is suppose unless", &word)) {
        return None;
    }
    let said = &sentence[at + verb.len()..];
    // "that is 5 less 3, so 2 it is"
    if ["so ", "hence ", "thus ", "therefore ", "leaving ", "giving "]
        .iter()
        .filter_map(|word| said.find(word))
        .any(|at| said[at..].contains(|c: char| c.is_ascii_digit()))
    {
        return None;
    }
    value(said)
        .map(without_glued_unit)
        .filter(|value| value.contains(|c: char| c.is_numeric() || c == '\\'))
}

/// The number of one that a unit is glued to, as in `5m²` and `5颗`. Other letters are factors.
pub(super) fn without_glued_unit(value: &str) -> &str {
    let digits = |c: char| c.is_ascii_digit() || ".,".contains(c);
    let unit = value.trim_start_matches(digits);
    let area =
        ["m\u{b2}", "m\u{b3}", "in\u{b2}", "ft\u{b2}"].iter().any(|area| unit.ends_with(area));
    let foreign = unit.starts_with(|c: char| c.is_alphabetic() && c > '\u{2e80}');
    if unit.len() < value.len() && (foreign || area && unit.chars().count() <= 3) {
        &value[..value.len() - unit.len()]
    } else {
        value
    }
}

/// The value that the words of a sentence begin with, as a formula, emphasised, or bare.
pub(super) fn value(sentence: &str) -> Option<&str> {
    let sentence = sentence.trim();
    // what follows a semicolon is another statement
    if let Some((head, tail)) = sentence.split_once("; ")
        && starts_with_word(tail)
        && !is_judged(tail)
    {
        return value(head);
    }
    if let Some(said) = absent(sentence) {
        return Some(said);
    }
    let plain = || is_answer(unstyled(sentence)).then(|| unstyled(sentence));
    formula(sentence)
        .or_else(|| emphasised(sentence))
        .or_else(|| leading(sentence))
        .or_else(plain)
        .or_else(|| before_reason(sentence))
        .or_else(|| result(sentence))
}

/// What a computation with nouns comes to: `6 pens` of `2 boxes * 3 pens = 6 pens`.
fn result(sentence: &str) -> Option<&str> {
    let (computed, result) = sentence.rsplit_once(" = ")?;
    let operated = computed.starts_with(|c: char| c.is_ascii_digit() || c == '$')
        && computed.match_indices(' ').any(|(at, _)| is_operator(&computed[at..]));
    if operated { leading(result) } else { None }
}

/// What a sentence concludes, if that is that there is no solution, no value, or no end of them.
pub(super) fn absent(sentence: &str) -> Option<&str> {
    const CONDITIONS: &str = "when whenever for case cases while else otherwise but however \
        whether";
    const CONCLUSIONS: [&str; 7] =
        [", so ", " so ", ", hence ", ", thus ", ", therefore ", ", then ", ", which means "];
    const JOINTS: &str = "so thus hence therefore then consequently clearly and that \
        conclusion";
    let sentence = unstyled(sentence.trim_end().trim_end_matches('!'));
    let reason =
        [" because ", " since ", ", as "].iter().filter_map(|why| sentence.find(why)).min();
    let (said, why) = sentence.split_at(reason.unwrap_or(sentence.len()));
    let said = said.trim_end_matches(',');
    let concluded =
        CONCLUSIONS.iter().filter_map(|joint| Some(said.rfind(joint)? + joint.len())).max();
    let begins_with_reason =
        words(said).next().is_some_and(|word| is_among("since as because", &word));
    let clause = concluded
        .or_else(|| begins_with_reason.then(|| said.rfind(", ")).flatten().map(|comma| comma + 2));
    let (lead, clause) = said.split_at(clause.unwrap_or(0));
    let limits = [Denial::Condition, Denial::Refutation];
    let limited = words(lead)
        .chain(words(why))
        .any(|word| is_one_of(&limits, &word) || is_among(CONDITIONS, &word));
    let clause = unstyled(skip(clause, JOINTS));
    if limited {
        return None;
    }
    // of "the equation $x^2 = -1$ has no solution", the words that say it without their formula
    let (words, masked) = around_formulas(clause)?;
    absence(&masked)?;
    words.into_iter().map(str::trim).find(|part| absence(part).is_some())
}

/// What stands between the formulas of a clause, and the clause with a letter for each of these.
fn around_formulas(clause: &str) -> Option<(Vec<&str>, String)> {
    let (mut between, mut masked) = (Vec::new(), String::new());
    let mut rest = clause;
    while let Some(at) = rest.find('$').into_iter().chain(rest.find(r"\(")).min() {
        let (before, formula) = rest.split_at(at);
        let (open, close) = if formula.starts_with('$') { ("$", "$") } else { (r"\(", r"\)") };
        between.push(before);
        masked.push_str(before);
        masked.push('x');
        rest = formula[open.len()..].split_once(close)?.1;
    }
    between.push(rest);
    masked.push_str(rest);
    Some((between, masked))
}

/// The answer before the words that say why it is one.
fn before_reason(sentence: &str) -> Option<&str> {
    const REASONS: [&str; 10] = [
        " because ",
        ", because ",
        " (because ",
        " since ",
        ", since ",
        " (since ",
        ", as ",
        ", which ",
        ", so ",
        ", not ",
    ];
    let cut = REASONS.iter().filter_map(|&reason| sentence.find(reason)).min()?;
    let (said, why) = sentence.split_at(cut);
    // numbers have been looked for with more care
    let is_name = !said.contains(|c: char| c.is_numeric());
    (is_name && !is_judged(why) && is_answer(said)).then(|| unstyled(said))
}

/// The formula that a sentence begins with, if only words follow, or the same again in other words.
fn formula(text: &str) -> Option<&str> {
    const AGAIN: [&str; 5] = [" (", ", i.e.", ", that is", ", which", " i.e."];
    let (inner, rest) = delimited::first(text)?;
    if AGAIN.iter().any(|again| rest.starts_with(again)) {
        return Some(inner);
    }
    let more = rest.contains(['$', '\\'])
        || rest.starts_with(|c: char| c.is_ascii_digit())
        || rest.trim_start().starts_with(|c: char| c.is_ascii_digit() || "+-*/^=%".contains(c));
    let listed = rest.trim_start().starts_with([',', ';'])
        && rest.trim_start()[1..].trim_start().starts_with(|c: char| c.is_ascii_digit());
    if more || listed {
        return None;
    }
    leaves(rest).then_some(inner)
}

/// What emphasis or quotation encloses at the start of a sentence, if only words follow.
fn emphasised(sentence: &str) -> Option<&str> {
    let (inner, rest) = ["**", "__", "`", "\"", "*"].iter().find_map(|&mark| {
        let (inner, rest) = sentence.strip_prefix(mark)?.split_once(mark)?;
        (!inner.trim().is_empty()).then_some((inner, rest))
    })?;
    if rest.contains(['$', '\\', '*', '`', '"']) {
        return None;
    }
    let inner = value_inside(inner.trim())?;
    leaves(rest).then_some(inner)
}

fn value_inside(inner: &str) -> Option<&str> {
    delimited::first(inner)
        .filter(|(_, rest)| rest.trim_matches(['.', ' ']).is_empty())
        .map(|(inner, _)| inner)
        .or_else(|| absent(inner))
        .or_else(|| is_answer(unstyled(inner)).then(|| unstyled(inner)))
        .or_else(|| leading(inner))
}

/// Whether a text is an answer and no prose: mathematics, or a number and its unit, or a name.
pub(super) fn is_answer(text: &str) -> bool {
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
