//! Checks of requests, before anything runs.

use std::collections::BTreeSet;

use super::Generator;
use crate::{Error, Request, Result};

impl Generator<'_> {
    /// Fails for requests and settings that cannot be served.
    pub(super) fn check(&self, requests: &[Request]) -> Result<()> {
        let problems = self.sampling.problems();
        if !problems.is_empty() {
            return Err(Error::Sampling(problems));
        }
        if self.slots == 0 {
            return Err(Error::NoSlots);
        }
        let config = self.policy.config();
        let (context, vocab) = (config.context, config.vocab_size);
        for (index, request) in requests.iter().enumerate() {
            let problem = |problem| Err(Error::Request { index, problem });
            if request.prompt.is_empty() {
                return problem("the prompt is empty".to_owned());
            }
            let length = request.given();
            if length >= context {
                let what = if request.prefix.is_empty() { "a prompt" } else { "a beginning" };
                return problem(format!(
                    "{what} of {length} tokens leaves no room in the model's context of {context}"
                ));
            }
            let mut given = request.prompt.iter().chain(&request.prefix);
            if let Some(token) = given.find(|&&token| token as usize >= vocab) {
                let what = if request.prompt.contains(token) { "prompt" } else { "prefix" };
                return problem(format!(
                    "token {token} of the {what} is outside the vocabulary of {vocab} tokens"
                ));
            }
            if request.group_size == 0 {
                return problem("a group of no completions".to_owned());
            }
        }
        self.check_choice()
    }

    /// Fails if no token could be sampled.
    fn check_choice(&self) -> Result<()> {
        let suppressed =
            if self.sampling.min_new_tokens > 0 { self.early() } else { self.unused.to_vec() };
        let vocab = self.policy.config().vocab_size;
        let rows: BTreeSet<u32> =
            suppressed.into_iter().filter(|&token| (token as usize) < vocab).collect();
        if rows.len() < vocab {
            return Ok(());
        }
        Err(Error::Sampling(vec![format!(
            "none of the vocabulary's {vocab} tokens may be drawn: each one is a stop token or stands for \
         no text"
        )]))
    }

    /// The tokens that are not sampled before `min_new_tokens`.
    pub(super) fn early(&self) -> Vec<u32> {
        [self.stop_tokens, self.unused].concat()
    }
}
