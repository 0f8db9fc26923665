//! The largest logits of a row.

/// The likeliest tokens of a row of logits, which is read whole or chunk by chunk.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Likeliest {
    count: usize,
    found: Vec<(u32, f32)>,
}

impl Likeliest {
    /// Of a row that was not read yet, with room for `count` tokens.
    pub const fn new(count: usize) -> Self {
        Self { count, found: Vec::new() }
    }

    /// Whether any token is asked for.
    pub const fn is_wanted(&self) -> bool {
        self.count > 0
    }

    /// Reads the logits of the tokens from `first` on. Chunks come in ascending order of ids.
    pub fn read(&mut self, first: u32, logits: &[f32]) {
        if !self.is_wanted() {
            return;
        }
        let found = &mut self.found;
        for (token, &logit) in (first..).zip(logits) {
            if found.len() == self.count {
                match found.last() {
                    Some((_, least)) if logit > *least => drop(found.pop()),
                    _ => continue,
                }
            }
            let place = found.partition_point(|(_, other)| *other >= logit);
            found.insert(place, (token, logit));
        }
    }

    /// Forgets what was read, for another row.
    pub fn clear(&mut self) {
        self.found.clear();
    }

    /// The tokens with their logits: the likeliest first, the lowest id first among equals.
    pub fn found(&self) -> &[(u32, f32)] {
        &self.found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_read_in_chunks_gives_the_tokens_of_one_that_is_sorted() {
        // Many of them are equally likely.
        let logits: Vec<f32> = (0..700).map(|at| (at * 7919 % 101) as f32 / 10.0).collect();
        let mut sorted: Vec<_> = (0..).zip(logits.iter().copied()).collect();
        sorted.sort_by(|a: &(u32, f32), b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        for count in [0, 1, 5, 700, 900] {
            for chunk in [1, 64, 333, 700] {
                let mut likeliest = Likeliest::new(count);
                for (at, logits) in logits.chunks(chunk).enumerate() {
                    likeliest.read((at * chunk) as u32, logits);
                }
                assert_eq!(likeliest.found(), &sorted[..count.min(700)], "{count} by {chunk}");
            }
        }
    }
}
