//! Lines that say themselves that they hold the answer.

/// What follows `Answer:` on the last line that begins with it.
pub(super) fn last_answer(text: &str) -> Option<&str> {
    text.lines().rev().find_map(|line| {
        let line = line.trim_matches(|edge: char| edge.is_whitespace() || "*#>".contains(edge));
        let (word, rest) = line.split_at_checked("answer".len())?;
        if !word.eq_ignore_ascii_case("answer") {
            return None;
        }
        let rest = rest.trim_start_matches(['*', ' ']);
        let rest = rest.strip_prefix(':').or_else(|| rest.strip_prefix('：'))?;
        Some(rest.trim_matches(|edge: char| edge.is_whitespace() || edge == '*'))
    })
}

/// What follows `####` on the last line that begins with it.
pub(super) fn last_hashes(text: &str) -> Option<&str> {
    text.lines().rev().find_map(|line| {
        let answer = line.trim_start().strip_prefix("####")?;
        Some(answer.trim_matches(|edge: char| edge.is_whitespace() || edge == '*'))
    })
}
