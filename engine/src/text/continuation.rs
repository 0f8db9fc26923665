//! The tokens of a text that goes on after a prompt, as sampling would leave them.

use super::Text;
use crate::{Error, Result};

/// Texts that tokenizers do not join with what follows.
const ANCHORS: [&str; 2] = ["\n", "\n\n"];

impl Text {
    /// Tokens of `completion` where it follows `prompt`.
    ///
    /// Both texts are encoded together and split where the prompt ends: a tokenizer that begins
    /// every text with a space of its own does not begin the completion with one. Where a token
    /// spans the boundary, the completion's tokens are those that decode to the same text after the
    /// prompt's, which stay as they are, since sampling begins from them.
    ///
    /// # Errors
    ///
    /// Fails when the tokenizer does, and when no such tokens are found.
    pub fn encode_after(&self, prompt: &str, completion: &str) -> Result<Vec<u32>> {
        let own = self.encode(prompt)?;
        let joint = self.encode(&format!("{prompt}{completion}"))?;
        if let Some(rest) = joint.strip_prefix(&*own) {
            return Ok(rest.to_vec());
        }
        let decode = |ids: &[u32]| {
            self.tokenizer().decode(ids, false).map_err(|e| Error::Text(e.to_string()))
        };
        let wanted = decode(&joint)?;
        let mut candidates = vec![self.encode(completion)?];
        for anchor in ANCHORS {
            // A tokenizer may have no token for it.
            if let Ok(ids) = self.encode(anchor)
                && let Ok(both) = self.encode(&format!("{anchor}{completion}"))
            {
                candidates.extend(both.strip_prefix(&*ids).map(<[u32]>::to_vec));
            }
        }
        for candidate in candidates {
            if decode(&[&*own, &*candidate].concat())? == wanted {
                return Ok(candidate);
            }
        }
        Err(Error::Text(
            "the tokenizer joins the end of the prompt with the completion, and no tokens after the \
             prompt's decode to it\nend the prompt with a line end, by its template or its suffix"
                .into(),
        ))
    }
}
