//! Stop strings, which may be split over tokens.

use std::iter;

use super::Text;

/// Strings that end a completion.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StopStrings {
    strings: Vec<String>,
}

impl StopStrings {
    /// Stop strings; empty ones are left out, since they would match everywhere.
    pub fn new<S: Into<String>>(strings: impl IntoIterator<Item = S>) -> Self {
        let strings = strings.into_iter().map(Into::into).filter(|s| !s.is_empty()).collect();
        Self { strings }
    }

    /// Whether there is nothing to look for.
    pub fn is_empty(&self) -> bool {
        self.strings.is_empty()
    }

    /// Whether the last token of `completion` completes a stop string.
    ///
    /// To be asked after every token: an occurrence that an earlier token completed does not count.
    /// Only the tail that could hold the longest string is decoded. Special tokens are text here,
    /// so that a stop string may name one.
    pub fn matches(&self, text: &Text, completion: &[u32]) -> bool {
        let Some(longest) = self.strings.iter().map(String::len).max() else {
            return false;
        };
        // A token stands for at least one byte, and a decoder may drop one space at the front; a
        // character may begin three tokens before the string does.
        let tail = &completion[completion.len().saturating_sub(longest + 4)..];
        let Some((_, before)) = tail.split_last() else {
            return false;
        };
        let decode = |tokens| text.tokenizer.decode(tokens, false).unwrap_or_default();
        let now = decode(tail);
        if !self.strings.iter().any(|stop| now.contains(stop)) {
            return false;
        }
        // A character whose bytes are not all there yet decodes to the replacement character.
        let before = decode(before).trim_end_matches(char::REPLACEMENT_CHARACTER).len();
        self.strings.iter().any(|stop| ends(&now, stop).any(|end| end > before))
    }
}

/// Ends of all occurrences of `stop` in `text`, overlapping ones too.
fn ends<'a>(text: &'a str, stop: &'a str) -> impl Iterator<Item = usize> + 'a {
    let mut from = 0;
    iter::from_fn(move || {
        let start = from + text[from..].find(stop)?;
        from = start + stop.chars().next().map_or(1, char::len_utf8);
        Some(start + stop.len())
    })
}
