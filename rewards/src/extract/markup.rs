//! What Markdown and quotation put around an answer.

/// Pairs of quotation marks.
const QUOTES: [(&str, &str); 5] =
    [("\"", "\""), ("\u{201c}", "\u{201d}"), ("'", "'"), ("\u{2018}", "\u{2019}"), ("«", "»")];

/// Takes emphasis off, and quotation marks around the whole.
pub(super) fn unstyled(text: &str) -> &str {
    let style = |edge: char| edge.is_whitespace() || "*`".contains(edge);
    let text = text.trim_matches(style);
    let text = text.strip_suffix('.').unwrap_or(text).trim_end_matches(style);
    let quoted = QUOTES.iter().find_map(|(left, right)| {
        let inner = text.strip_prefix(left)?.strip_suffix(right)?;
        // `"1" or "2"` is not one quotation
        (!inner.contains(left) && !inner.contains(right) && !inner.trim().is_empty())
            .then_some(inner)
    });
    match quoted {
        Some(inner) => inner.strip_suffix('.').unwrap_or(inner).trim_matches(style),
        None => text,
    }
}

/// What is in bold type last, if something is besides what begins the line as an item does.
pub(super) fn last_emphasised(line: &str) -> Option<&str> {
    let (before, _) = line.rsplit_once("**")?;
    let (before, inner) = before.rsplit_once("**")?;
    let item = before.trim_matches(|c: char| c.is_whitespace() || "-*#".contains(c)).is_empty()
        && inner.ends_with(['.', ':', ')']);
    (!item && before.matches("**").count() % 2 == 0).then(|| inner.trim())
}

/// Whether a fenced block begins a text.
pub(super) fn begins_block(text: &str) -> bool {
    text.lines().next().is_some_and(|line| line.starts_with("```") && !line[3..].contains("```"))
}

/// The only line of a fenced block that begins a text.
pub(super) fn fenced(text: &str) -> Option<&str> {
    let (info, block) = text.strip_prefix("```")?.split_once('\n')?;
    let content = block.split_once("```")?.0.trim();
    (is_plain(info) && !content.is_empty() && !content.contains('\n')).then_some(content)
}

/// The only line of a fenced block that ends a text.
pub(super) fn last_fenced(text: &str) -> Option<&str> {
    let before = text.strip_suffix("```")?;
    fenced(&text[before.rfind("```")?..])
}

/// Whether a block is said to hold text or mathematics and no program.
fn is_plain(info: &str) -> bool {
    matches!(
        info.trim(),
        "" | "text" | "txt" | "plaintext" | "latex" | "tex" | "math" | "markdown" | "md" | "output"
    )
}
