//! Rows of tokens in one pack: no padding, and a prompt stands once for all that continue it.

pub use kernels::attention::Segment;

use crate::{Error, Result};

/// Token ids with their positions, and the segments that say who attends to whom.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Packed {
    tokens: Vec<u32>,
    positions: Vec<u32>,
    segments: Vec<Segment>,
}

/// Ask for the log-probability of `token` after `row`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    /// Row whose hidden state predicts.
    pub row: usize,
    /// Token predicted.
    pub token: u32,
}

impl Packed {
    /// Appends a segment; its positions go on where its parent's end.
    ///
    /// # Errors
    ///
    /// Fails when `tokens` is empty or `parent` is not an earlier segment.
    pub fn push(&mut self, tokens: &[u32], parent: Option<usize>) -> Result<usize> {
        if tokens.is_empty() {
            return Err(Error::Input("a segment needs at least one token".into()));
        }
        let first = match parent {
            None => 0,
            Some(index) => {
                let parent = self.segments.get(index).ok_or_else(|| {
                    Error::Input(format!(
                        "segment {index} cannot be a parent: only {} segments are packed",
                        self.segments.len()
                    ))
                })?;
                self.positions[parent.start + parent.len - 1] + 1
            }
        };
        let segment = Segment { start: self.tokens.len(), len: tokens.len(), parent };
        self.tokens.extend_from_slice(tokens);
        self.positions.extend(first..first + tokens.len() as u32);
        self.segments.push(segment);
        Ok(self.segments.len() - 1)
    }

    /// Appends a completion of the segment `prompt` and returns one target for each of its tokens.
    ///
    /// The last token needs no row, since nothing is predicted from it; the first is predicted from
    /// the prompt's last row, which all completions of the prompt share.
    ///
    /// # Errors
    ///
    /// Fails when `completion` is empty or `prompt` is not a segment.
    pub fn push_completion(&mut self, prompt: usize, completion: &[u32]) -> Result<Vec<Target>> {
        let (&first, _) = completion
            .split_first()
            .ok_or_else(|| Error::Input("a completion needs at least one token".into()))?;
        let parent = *self
            .segments
            .get(prompt)
            .ok_or_else(|| Error::Input(format!("segment {prompt} is not packed")))?;
        let mut targets = vec![Target { row: parent.start + parent.len - 1, token: first }];
        if completion.len() > 1 {
            let start = self.tokens.len();
            self.push(&completion[..completion.len() - 1], Some(prompt))?;
            targets.extend(
                completion[1..]
                    .iter()
                    .enumerate()
                    .map(|(i, &token)| Target { row: start + i, token }),
            );
        }
        Ok(targets)
    }

    /// Token ids, one a row.
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// Positions within the sequence, one a row.
    pub fn positions(&self) -> &[u32] {
        &self.positions
    }

    /// The segments, parents before children.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.tokens.len()
    }

    /// Row ranges that `segment` attends to in full, eldest first: its ancestors.
    pub fn ancestors(&self, segment: usize) -> Vec<(usize, usize)> {
        let mut ranges = Vec::new();
        let mut at = self.segments[segment].parent;
        while let Some(index) = at {
            let segment = self.segments[index];
            ranges.push((segment.start, segment.len));
            at = segment.parent;
        }
        ranges.reverse();
        ranges
    }
}
