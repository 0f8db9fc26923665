//! Where the text of each token ends.

use std::collections::BTreeSet;

use super::Text;
use crate::{Error, Result};

/// What a decoder writes for bytes that are no whole character.
const BROKEN: char = '\u{FFFD}';
/// Tokens after which a character that is still broken stays so: four bytes make the longest one.
const LONGEST_SPLIT: usize = 8;

impl Text {
    /// The byte of `text` at which the text of each token ends: one entry a token, ascending, each
    /// between two characters. `text` is what [`Text::decode_without`] gives for the same tokens.
    ///
    /// A token without text repeats the entry before it. A character that several tokens make up
    /// belongs to the one that completes it.
    ///
    /// # Errors
    ///
    /// Fails when the tokenizer's decoder does.
    pub fn token_ends(
        &self,
        tokens: &[u32],
        hidden: &BTreeSet<u32>,
        text: &str,
    ) -> Result<Vec<u32>> {
        let decode = |ids: &[u32]| {
            self.tokenizer().decode(ids, false).map_err(|e| Error::Text(e.to_string()))
        };
        let mut ends = Vec::with_capacity(tokens.len());
        let mut shown = Vec::with_capacity(tokens.len());
        // The tokens from `start` on are decoded together, as decoders treat a first token
        // differently; those before `read` are in `end` already.
        let (mut start, mut read, mut end) = (0, 0, 0);
        for token in tokens {
            if !hidden.contains(token) {
                shown.push(*token);
                let (before, after) = (decode(&shown[start..read])?, decode(&shown[start..])?);
                let is_whole = !after.ends_with(BROKEN) || shown.len() - read > LONGEST_SPLIT;
                if is_whole && after.len() >= before.len() {
                    let own = after.strip_prefix(before.as_str());
                    let fits = own.filter(|own| text[end..].starts_with(own));
                    end = match fits {
                        Some(own) => end + own.len(),
                        // The decoder looks further back than `start`.
                        None => end.max(shared(&decode(&shown)?, text)),
                    };
                    (start, read) = (read, shown.len());
                }
            }
            ends.push(end as u32);
        }
        // What is still broken at the end is the last token's.
        if let Some(last) = tokens.iter().rposition(|token| !hidden.contains(token)) {
            ends[last..].fill(text.len() as u32);
        }
        Ok(ends)
    }
}

/// Bytes of the longest beginning that two texts share.
fn shared(one: &str, other: &str) -> usize {
    let pairs = one.chars().zip(other.chars());
    pairs.take_while(|(a, b)| a == b).map(|(a, _)| a.len_utf8()).sum()
}
