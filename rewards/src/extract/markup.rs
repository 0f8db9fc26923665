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

/// What stands in a fenced block that begins a text.
pub(super) fn fenced(text: &str) -> Option<&str> {
    let (info, block) = text.strip_prefix("```")?.split_once('\n')?;
    let (content, _) = block.split_once("```")?;
    is_plain(info).then(|| content.trim()).filter(|content| !content.is_empty())
}

/// The only line of a fenced block that ends a text.
pub(super) fn last_fenced(text: &str) -> Option<&str> {
    let before = text.strip_suffix("```")?;
    let start = before.rfind("```")?;
    let content = fenced(&text[start..])?;
    (!content.contains('\n')).then_some(content)
}

/// Whether a block is said to hold text or mathematics and no program.
fn is_plain(info: &str) -> bool {
    matches!(
        info.trim(),
        "" | "text" | "txt" | "plaintext" | "latex" | "tex" | "math" | "markdown" | "md" | "output"
    )
}
