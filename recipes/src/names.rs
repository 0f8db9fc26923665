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

/// Whether `name` may be that of a repository on Hugging Face, `org/name`, and no file.
pub(crate) fn is_hub_name(name: &str) -> bool {
    /// Ends of the names of files, which repositories may have and mostly do not.
    const FILES: [&str; 8] =
        [".jsonl", ".json", ".csv", ".parquet", ".gguf", ".gz", ".safetensors", ".txt"];
    let is_plain = |part: &str| {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        part.starts_with(|c: char| c.is_ascii_alphanumeric()) && part.chars().all(plain)
    };
    let is_file = FILES.iter().any(|end| name.to_ascii_lowercase().ends_with(end));
    !is_file && name.split_once('/').is_some_and(|(org, name)| is_plain(org) && is_plain(name))
}

#[cfg(test)]
mod tests {
    use super::{is_hub_name, nearest};

    #[test]
    fn a_repository_is_told_from_a_path() {
        for name in ["openai/gsm8k", "Qwen/Qwen2.5-0.5B", "a/b_c.d"] {
            assert!(is_hub_name(name), "{name}");
        }
        for name in ["gsm8k", "./gsm8k", "../a", "/a/b", "a/b/c", "data/train.jsonl", "a/", "~/b"] {
            assert!(!is_hub_name(name), "{name}");
        }
    }

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
