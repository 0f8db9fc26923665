//! Counts of words of reflection in a completion, by kind.
//!
//! The six classes are those of STARE, arXiv 2606.19236, figure 13. Its word lists are not
//! released; the lists here are ours, so counts compare between runs, not with the paper's.

use std::collections::BTreeMap;
use std::sync::LazyLock;

/// Metric keys of the classes, in the order of the paper.
pub const KEYS: [&str; 6] = [
    "reflection/self_correction",
    "reflection/self_questioning",
    "reflection/verification",
    "reflection/alternative",
    "reflection/re_evaluation",
    "reflection/uncertainty",
];

/// The phrases of each class; one word a phrase, or several in a row. A hyphen parts words.
const PHRASES: [&[&str]; 6] = [
    &[
        "wait",
        "actually",
        "oops",
        "correction",
        "scratch that",
        "my mistake",
        "made a mistake",
        "made an error",
        "should be",
        "should have been",
        "that's wrong",
        "that is wrong",
        "that's not right",
        "that is not right",
        "that's incorrect",
        "that is incorrect",
    ],
    &[
        "is that right",
        "is this right",
        "is that correct",
        "is this correct",
        "is it correct",
        "is it possible",
        "does that make sense",
        "does this make sense",
        "did i",
        "am i",
        "what if",
        "how come",
        "could it be",
    ],
    &[
        "check",
        "checking",
        "double check",
        "double checking",
        "sanity check",
        "recheck",
        "verify",
        "verifying",
        "verification",
        "validate",
        "confirm",
        "make sure",
        "to be sure",
        "plug back",
        "plugging back",
    ],
    &[
        "alternatively",
        "alternative",
        "instead",
        "another way",
        "another approach",
        "another method",
        "other way",
        "different way",
        "different approach",
        "different method",
        "on the other hand",
        "what about",
    ],
    &[
        "reconsider",
        "rethink",
        "reevaluate",
        "re evaluate",
        "reexamine",
        "re examine",
        "reread",
        "re read",
        "revisit",
        "recalculate",
        "recompute",
        "redo",
        "start over",
        "start again",
        "try again",
        "think again",
        "look again",
        "go back",
        "going back",
        "on second thought",
    ],
    &[
        "maybe",
        "perhaps",
        "possibly",
        "probably",
        "might be",
        "could be",
        "i think",
        "i guess",
        "it seems",
        "not sure",
        "unsure",
        "uncertain",
        "confused",
        "hmm",
    ],
];

/// Words after the first, and the class.
type Rest = (Vec<&'static str>, usize);

/// Phrases by their first word, the longest first.
static BY_FIRST: LazyLock<BTreeMap<&str, Vec<Rest>>> = LazyLock::new(|| {
    let mut by_first: BTreeMap<&str, Vec<Rest>> = BTreeMap::new();
    for (class, phrases) in PHRASES.iter().enumerate() {
        for phrase in *phrases {
            let mut words = phrase.split(' ');
            let first = words.next().expect("a split has a first part");
            by_first.entry(first).or_default().push((words.collect(), class));
        }
    }
    for phrases in by_first.values_mut() {
        phrases.sort_by_key(|(rest, _)| std::cmp::Reverse(rest.len()));
    }
    by_first
});

/// How often each class occurs in `text`, in the order of [`KEYS`]. Whole words, in any case; a
/// word counts once, for the longest phrase that it begins. Time is linear in the text.
pub fn count(text: &str) -> [usize; 6] {
    let text = text.to_lowercase().replace('\u{2019}', "'");
    let words: Vec<_> = text
        .split(|c: char| !c.is_alphanumeric() && c != '\'')
        .map(|word| word.trim_matches('\''))
        .filter(|word| !word.is_empty())
        .collect();
    let mut counts = [0; 6];
    let mut left = &words[..];
    while let [first, rest @ ..] = left {
        let found = BY_FIRST
            .get(first)
            .and_then(|phrases| phrases.iter().find(|(phrase, _)| rest.starts_with(phrase)));
        left = match found {
            Some((phrase, class)) => {
                counts[*class] += 1;
                &rest[phrase.len()..]
            }
            None => rest,
        };
    }
    counts
}

/// Occurrences of each class in a text, mean over `texts`, under its metric key; 0 of none.
pub fn rates<'a>(texts: impl Iterator<Item = &'a str>) -> [(&'static str, f64); 6] {
    let (mut sums, mut num_texts) = ([0_usize; 6], 0_usize);
    for text in texts {
        num_texts += 1;
        sums.iter_mut().zip(count(text)).for_each(|(sum, count)| *sum += count);
    }
    let mean = |class: usize| sums[class] as f64 / num_texts.max(1) as f64;
    std::array::from_fn(|class| (KEYS[class], mean(class)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(text: &str, expected: [usize; 6]) {
        assert_eq!(count(text), expected, "{text}");
    }

    #[test]
    fn every_class_is_found() {
        check("Wait, that\u{2019}s wrong: it SHOULD BE 4.", [3, 0, 0, 0, 0, 0]);
        check("Is that correct? What if x=0?", [0, 2, 0, 0, 0, 0]);
        check("Let me double-check, then verify.", [0, 0, 2, 0, 0, 0]);
        check("Alternatively,\nanother way", [0, 0, 0, 2, 0, 0]);
        check("re-evaluate; on second thought redo", [0, 0, 0, 0, 3, 0]);
        check("Hmm... I think 'maybe'", [0, 0, 0, 0, 0, 3]);
    }

    #[test]
    fn only_whole_words_count_and_each_once() {
        check("awaits, checkers, waiter, might have been", [0; 6]);
        check("double check check", [0, 0, 2, 0, 0, 0]);
        check("should have been", [1, 0, 0, 0, 0, 0]);
        check("", [0; 6]);
    }

    #[test]
    fn every_phrase_counts_once_for_its_class_and_every_key_is_declared() {
        for (class, phrases) in PHRASES.iter().enumerate() {
            for phrase in *phrases {
                let mut expected = [0; 6];
                expected[class] = 1;
                check(phrase, expected);
            }
            assert!(crate::metrics::spec(KEYS[class]).is_some(), "{}", KEYS[class]);
        }
    }

    #[test]
    fn a_rate_is_of_texts() {
        let rates = rates(["wait, wait", "", "maybe wait", "4"].into_iter());
        assert_eq!(rates[0], ("reflection/self_correction", 0.75));
        assert_eq!(rates[5], ("reflection/uncertainty", 0.25));
    }

    proptest! {
        #[test]
        fn any_text_is_counted(text in "\\PC*") {
            prop_assert!(count(&text).iter().sum::<usize>() <= text.len());
        }
    }
}
