//! Misspelt names: which known one was probably meant.

/// Names within this similarity are offered as what was meant.
const NEAR: f64 = 0.75;

/// The known name most like `wrong` in any case of letters, if any is near.
pub(crate) fn nearest<'a>(wrong: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let wrong = wrong.to_lowercase();
    known
        .map(|name| (strsim::jaro_winkler(&wrong, &name.to_lowercase()), name))
        .filter(|(similarity, name)| *similarity >= NEAR && few_edits(&wrong, name))
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}

/// Whether at most half of the letters of the longer name differ. Names that share only their
/// first letters are other names.
fn few_edits(wrong: &str, known: &str) -> bool {
    let longer = wrong.chars().count().max(known.chars().count());
    2 * strsim::damerau_levenshtein(wrong, &known.to_lowercase()) <= longer
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn a_name_is_near_by_a_few_letters_in_any_case() {
        for (wrong, known, found) in [
            ("GRPO", "grpo", Some("grpo")),
            ("groupsize", "group_size", Some("group_size")),
            ("sede", "seed", Some("seed")),
            ("report_to", "record", None),
        ] {
            assert_eq!(nearest(wrong, [known, "zzz"].into_iter()), found, "{wrong}");
        }
    }
}
