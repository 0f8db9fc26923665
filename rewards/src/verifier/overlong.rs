use std::num::NonZeroUsize;

use super::{Attempt, Unavailable, Verdict, Verifier};

/// Soft punishment of completions that nearly fill what they are allowed: 0 up to the buffer, then
/// falling linearly to -1 at the end of it.
///
/// The weight of the verifier is what the source calls the penalty factor.
///
/// Source: DAPO, arXiv 2503.14476, equation 13.
#[derive(Debug, Clone, Copy)]
pub struct Overlong {
    /// Length of the stretch before the limit in which the punishment grows, in tokens.
    pub buffer: NonZeroUsize,
}

impl Overlong {
    /// The punishment of one length, all in tokens. A buffer longer than `max_tokens` punishes from
    /// the first token on.
    pub fn punishment(self, num_tokens: usize, max_tokens: usize) -> f64 {
        let buffer = self.buffer.get() as f64;
        let expected = max_tokens as f64 - buffer;
        ((expected - num_tokens as f64) / buffer).min(0.0)
    }
}

impl Verifier for Overlong {
    fn name(&self) -> &'static str {
        "overlong"
    }

    fn verify(&self, attempts: &[Attempt<'_>]) -> Result<Vec<Verdict>, Unavailable> {
        let reward =
            |attempt: &Attempt<'_>| self.punishment(attempt.num_tokens, attempt.max_tokens);
        Ok(attempts.iter().map(|attempt| Verdict::form(reward(attempt))).collect())
    }
}
