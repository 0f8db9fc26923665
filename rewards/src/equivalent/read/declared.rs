//! Parameters that are declared in words: "where k is an integer", "for any integer k".

use super::words;

/// How many places a text is cut at.
const MAX_CUTS: usize = 8;

/// The text with its last part written as a membership; `None` where that declares nothing in
/// words.
pub(super) fn declared(text: &str) -> Option<String> {
    let has_words = ["integer", "where", "for", "with"].iter().any(|word| text.contains(word));
    if !has_words {
        return None;
    }
    let marks = [",", ";", r"\text", r"\quad", r"\mathrm", "where ", "for ", "("];
    let mut cuts: Vec<usize> =
        marks.iter().flat_map(|mark| text.match_indices(mark).map(|(at, _)| at)).collect();
    cuts.sort_unstable();
    cuts.into_iter().rev().take(MAX_CUTS).find_map(|at| {
        let (before, tail) = text.split_at(at);
        let before = before.trim_end_matches([' ', ',', ';', '$']);
        let declaration = in_words(tail).or_else(|| after_word(tail).map(str::to_owned))?;
        let is_whole = before.matches('{').count() == before.matches('}').count();
        (!before.is_empty() && is_whole).then(|| format!("{before}, {declaration}"))
    })
}

/// `where $k$ is an integer`, `k \text{ integer}`, `for any integer $k$`.
fn in_words(tail: &str) -> Option<String> {
    let words = words(tail.trim_start_matches([',', ';', ' ']))?;
    let words = words.trim_matches(['(', ')', ' ']);
    let mut rest: Vec<&str> = words.split([' ', ',']).filter(|word| !word.is_empty()).collect();
    if matches!(rest.first(), Some(&("where" | "for" | "with" | "and"))) {
        rest.remove(0);
    }
    let is_letter = |word: &str| word.len() == 1 && word.chars().all(char::is_alphabetic);
    let is_filler = |word: &&str| {
        matches!(
            *word,
            "is" | "an" | "any" | "some" | "all" | "every" | "each" | "arbitrary" | "being"
        )
    };
    let (letter, others): (Vec<&str>, Vec<&str>) =
        rest.into_iter().partition(|word| is_letter(word));
    let others: Vec<&str> = others.into_iter().filter(|word| !is_filler(word)).collect();
    match (&letter[..], &others[..]) {
        ([letter], ["integer" | "integers"]) => Some(format!(r"{letter} \in \mathbb{{Z}}")),
        _ => None,
    }
}

/// `\text{where } k \in \mathbb{Z}`.
fn after_word(tail: &str) -> Option<&str> {
    let tail = tail.trim_start_matches([',', ' ']);
    let rest = [r"\text", r"\mathrm"].iter().find_map(|font| tail.strip_prefix(font));
    let (word, rest) = match rest {
        Some(group) => group.strip_prefix('{')?.split_once('}')?,
        None => tail.split_once(' ')?,
    };
    let is_word = matches!(word.trim(), "where" | "for" | "with" | "for all" | "for any");
    (is_word && rest.contains(r"\in")).then(|| rest.trim())
}
