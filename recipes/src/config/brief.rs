//! Texts of the user in messages, cut to a length that can be read.

/// Characters of a text of the user's in a message.
const SHOWN: usize = 80;

/// The first characters of a text of the user's.
pub(super) fn shortened(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// A message in which long texts in backticks and quotation marks are cut. What is to be written
/// stays whole: it has to work when it is pasted.
pub(super) fn brief_quotes(text: &str) -> String {
    let lines = text.split('\n').map(|line| {
        let line = if line.starts_with(WRITE) { line.to_owned() } else { brief_line(line) };
        match line.char_indices().nth(MOST_OF_LINE) {
            Some((end, _)) => format!("{}…", &line[..end]),
            None => line,
        }
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn brief_line(line: &str) -> String {
    let mut out = String::new();
    let mut rest = line;
    while let Some(at) = rest.find(['`', '"']) {
        let mark = &rest[at..=at];
        let Some(end) = rest[at + 1..].find(mark) else { break };
        let inside = &rest[at + 1..at + 1 + end];
        out.extend([&rest[..at], mark, &shortened(inside), mark]);
        rest = &rest[at + 2 + end..];
    }
    // What is not quoted, or has quotes in it.
    out + rest
}

/// The begin of a line that says what to write; one that is longer than a line may be is not
/// offered.
pub(super) const WRITE: &str = "write ";

/// Characters of a line of a message.
pub(super) const MOST_OF_LINE: usize = 1000;

/// The part of a line that is shown where the line is long, with the place of what is marked in it.
pub(super) fn window(line: &str, column: usize, width: usize) -> (String, usize, usize) {
    /// Characters before the mark that are shown.
    const BEFORE: usize = 40;
    /// Characters that are shown.
    const MOST: usize = 160;
    if line.chars().count() <= MOST {
        return (line.to_owned(), column, width);
    }
    let skipped = column.saturating_sub(BEFORE);
    let cut: String = line.chars().skip(skipped).take(MOST).collect();
    let (start, ellipsis) = if skipped > 0 { ("…", 1) } else { ("", 0) };
    let is_whole = line.chars().count() <= skipped + MOST;
    let indent = column - skipped + ellipsis;
    let width = width.min(MOST + ellipsis - indent).max(1);
    (format!("{start}{cut}{}", if is_whole { "" } else { "…" }), indent, width)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_echoes_are_cut() {
        let long = "v".repeat(100_000);
        let cut = format!("unknown key `{}…`", "v".repeat(80));
        assert_eq!(brief_quotes(&format!("unknown key `{long}`")), cut);
        assert!(brief_quotes(&long).chars().count() < 1100);
        assert_eq!(brief_quotes("a `b` \"c\" `d"), "a `b` \"c\" `d");
        let offered = format!("got `{long}`\nwrite `rewards = [\"{}\"]`", "v".repeat(300));
        let brief = brief_quotes(&offered);
        assert_eq!(brief.lines().last(), offered.lines().last());
        assert!(brief.lines().next().unwrap().ends_with("v…`"), "{brief}");
        let (line, indent, width) = window(&format!("{long}x = 1"), 100_000, 1);
        assert_eq!((line.chars().nth(indent), width), (Some('x'), 1), "{line}");
        assert!(window(&long, 0, 100_000).0.chars().count() < 200);
        let (_, indent, width) = window(&long, 50, 99_950);
        assert!(indent + width < 200);
    }
}
