//! The text of ids.

use std::fmt;
use std::sync::Arc;

/// A tokenizer, which gives ids their text.
pub trait Spell: fmt::Debug + Send + Sync {
    /// The text of these ids and the byte at which the text of each ends; none where it cannot be
    /// told.
    fn spell(&self, ids: &[u32]) -> Option<(String, Vec<u32>)>;
}

/// How ids are shown: by a tokenizer, else as numbers.
#[derive(Debug, Clone, Default)]
pub(super) struct Speller(pub(super) Option<Arc<dyn Spell>>);

impl Speller {
    /// The text of these ids, and the byte at which the text of each ends.
    pub(super) fn of(&self, ids: &[u32]) -> (String, Vec<u32>) {
        let spelled = self.0.as_ref().and_then(|own| own.spell(ids));
        spelled.filter(|(_, ends)| ends.len() == ids.len()).unwrap_or_else(|| numbers(ids))
    }
}

/// The ids as numbers, each with a space behind it, and where each ends.
pub(super) fn numbers(ids: &[u32]) -> (String, Vec<u32>) {
    let mut text = String::new();
    let ends = ids.iter().map(|id| {
        text.push_str(&id.to_string());
        text.push(' ');
        text.len() as u32
    });
    let ends = ends.collect();
    (text, ends)
}
