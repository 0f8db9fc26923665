//! Rows of the embedding, for one pass or for several.

use candle::Tensor;

use super::{Policy, misfit};
use crate::{Error, Result};

/// Rows of the embedding as the source has them, which several passes share: a row that is streamed
/// is fetched once.
#[derive(Debug)]
pub(crate) struct SharedRows {
    /// Ascending.
    tokens: Vec<u32>,
    /// (tokens, width)
    rows: Tensor,
}

impl Policy<'_> {
    /// The rows of the tokens of several passes; none of weights that are at hand.
    pub(crate) fn shared_rows<'t>(
        &self,
        all: impl Iterator<Item = &'t [u32]>,
    ) -> Result<Option<SharedRows>> {
        if !self.weights.streams() {
            return Ok(None);
        }
        let mut tokens = all.flatten().copied().collect::<Vec<_>>();
        self.check_tokens(&tokens)?;
        tokens.sort_unstable();
        tokens.dedup();
        let rows = self.source_rows(&tokens)?;
        Ok(Some(SharedRows { tokens, rows }))
    }

    /// Embeddings of tokens, without a graph, from rows that the pass shares where there are any.
    ///
    /// Shapes: result (tokens, width).
    pub(crate) fn embed_rows(&self, shared: Option<&SharedRows>, tokens: &[u32]) -> Result<Tensor> {
        let rows = match shared {
            None => self.source_rows(tokens)?,
            Some(SharedRows { tokens: all, rows }) => {
                let place = |token: &u32| all.partition_point(|own| own < token) as u32;
                let places: Vec<u32> = tokens.iter().map(place).collect();
                rows.index_select(&Tensor::new(places, rows.device())?, 0)?
            }
        };
        match (self.perturbed, self.trainable.embed) {
            (Some(perturbed), Some(index)) => perturbed.rows(index, tokens, &rows),
            _ => Ok(rows),
        }
    }

    fn source_rows(&self, tokens: &[u32]) -> Result<Tensor> {
        let rows = self.weights.embed_rows(tokens, self.dtype, self.device)?.detach();
        if rows.dims() != [tokens.len(), self.specs.embed.shape[1]] || rows.dtype() != self.dtype {
            return Err(misfit(&self.specs.embed, self.dtype, rows.dims(), rows.dtype()));
        }
        Ok(rows)
    }

    /// Whether all tokens are in the vocabulary.
    pub(super) fn check_tokens(&self, tokens: &[u32]) -> Result<()> {
        let vocab = self.config.vocab_size;
        match tokens.iter().find(|&&token| token as usize >= vocab) {
            None => Ok(()),
            Some(token) => Err(Error::Input(format!(
                "token {token} is outside the vocabulary of {vocab} tokens"
            ))),
        }
    }
}
