//! The words that take a value back, doubt it, or leave it open: one vocabulary for both layers.
//!
//! Each place says which kinds it minds. In a name or a script, "some" leaves open which value is
//! meant; in a sentence, it says nothing.

/// What a word does to the value that it is said of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Denial {
    /// "not 5", "5, never 6".
    Negation,
    /// "5 is wrong".
    Refutation,
    /// "5 unless n is odd".
    Condition,
    /// "maybe 5".
    Doubt,
    /// "about 5".
    Vagueness,
    /// "either 5".
    Choice,
    /// "5 but", "more than 5".
    Contrast,
}

/// The kind of a word in lower case; a contraction with "not" is a negation.
pub(crate) fn denial(word: &str) -> Option<Denial> {
    Some(match word {
        "not" | "no" | "never" | "none" | "nor" | "neither" | "cannot" | "hardly" | "scarcely"
        | "nobody" | "nothing" | "anything" | "unknown" => Denial::Negation,
        "wrong" | "incorrect" | "false" | "mistaken" | "invalid" | "untrue" | "impossible"
        | "erroneous" | "rejected" | "refuted" | "discarded" => Denial::Refutation,
        "if" | "unless" | "except" | "without" | "provided" | "assuming" | "assume" | "suppose"
        | "supposing" | "depending" => Denial::Condition,
        "maybe" | "perhaps" | "possibly" | "probably" | "presumably" | "supposedly" | "might"
        | "could" | "unlikely" | "doubtful" | "doubt" | "doubts" | "guess" => Denial::Doubt,
        "approximately" | "approx" | "about" | "around" | "roughly" | "nearly" | "almost" => {
            Denial::Vagueness
        }
        "whether" | "either" | "some" | "any" | "every" | "other" => Denial::Choice,
        "but" | "however" | "otherwise" | "instead" | "else" | "than" | "more" | "less"
        | "fewer" => Denial::Contrast,
        _ if word.ends_with("n't") => Denial::Negation,
        _ => return None,
    })
}

/// Whether a word in lower case is of one of the kinds.
pub(crate) fn is_one_of(kinds: &[Denial], word: &str) -> bool {
    denial(word).is_some_and(|kind| kinds.contains(&kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_have_kinds_and_contractions_are_negations() {
        assert_eq!(denial("unless"), Some(Denial::Condition));
        assert_eq!(denial("isn't"), Some(Denial::Negation));
        assert_eq!(denial("wrong"), Some(Denial::Refutation));
        assert_eq!(denial("wrongly"), None);
    }
}
