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

/// A message in which long texts in backticks and quotation marks are cut.
pub(super) fn brief_quotes(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(['`', '"']) {
        let mark = &rest[at..=at];
        let Some(end) = rest[at + 1..].find(mark) else { break };
        let inside = &rest[at + 1..at + 1 + end];
        out.extend([&rest[..at], mark, &shortened(inside), mark]);
        rest = &rest[at + 2 + end..];
    }
    out.push_str(rest);
    // What is not quoted, or has quotes in it.
    let lines = out.split('\n').map(|line| match line.char_indices().nth(MOST_OF_LINE) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Characters of a line of a message.
const MOST_OF_LINE: usize = 1000;

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
        let (line, indent, width) = window(&format!("{long}x = 1"), 100_000, 1);
        assert_eq!((line.chars().nth(indent), width), (Some('x'), 1), "{line}");
        assert!(window(&long, 0, 100_000).0.chars().count() < 200);
        let (_, indent, width) = window(&long, 50, 99_950);
        assert!(indent + width < 200);
    }
}
