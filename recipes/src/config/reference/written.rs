//! What is written by hand: examples, and what is said of a whole table.

/// Texts by the path of a section.
pub(super) struct Written<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Written<'a> {
    /// From Markdown in which a line `%% PATH` begins what is said of a section.
    pub(super) fn read(text: &'a str) -> Self {
        let text = text.strip_prefix("%% ").unwrap_or(text);
        let parts = text.split("\n%% ").map(|part| part.split_once('\n').unwrap_or((part, "")));
        Self(parts.map(|(path, text)| (path.trim(), text.trim_matches('\n'))).collect())
    }

    /// What is said of a section; nothing where nothing is.
    pub(super) fn text(&self, path: &str) -> String {
        let found = self.0.iter().find(|(of, _)| *of == path);
        found.map(|(_, text)| (*text).to_owned()).unwrap_or_default()
    }
}
