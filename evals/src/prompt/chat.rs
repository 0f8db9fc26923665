//! Chats of several turns: what stands before a turn, and which tokens an assistant's turn has.

use std::ops::Range;

use engine::text::Text;
use rewards::{Problem, Role};

use super::PromptStyle;
use crate::{Error, Result};

impl PromptStyle {
    /// The first `count` turns of a problem's history, after the style's system prompt where the
    /// chat has none.
    pub(super) fn before<'a>(
        &'a self,
        problem: &'a Problem,
        count: usize,
    ) -> Vec<(&'static str, &'a str)> {
        let own = problem.history.first().is_some_and(|turn| turn.role == Role::System);
        let system = self.system.as_deref().filter(|_| !own);
        let system = system.map(|content| (Role::System.name(), content));
        let turns = problem.history[..count].iter();
        system.into_iter().chain(turns.map(|turn| (turn.role.name(), &*turn.content))).collect()
    }

    /// Where the assistant's turns of a problem's history are among the tokens of its prompt, each
    /// with the token that ends it; `rendered` is the prompt as text.
    ///
    /// Such a turn has to stand in the prompt as sampling would have left it: after the prompt that
    /// it answered, token by token, and before the token that ends it.
    pub(super) fn earlier_turns(
        &self,
        text: &Text,
        problem: &Problem,
        rendered: &str,
        prompt: &[u32],
        end: u32,
    ) -> Result<Vec<Range<usize>>> {
        let end = text.tokenizer().id_to_token(end).unwrap_or_default();
        // The begin token may stand before what is rendered.
        let begin = prompt.len() - text.encode(rendered)?.len();
        let own = &prompt[begin..];
        let mut turns = Vec::new();
        for (at, turn) in problem.history.iter().enumerate() {
            if turn.role != Role::Assistant {
                continue;
            }
            let refused = |what: &str| {
                Error::Prompt(format!(
                    "turn {} cannot be learnt: {what}\ngive each turn of the assistant a row of its \
                     own, with the turns before it as its prompt, or use another chat template",
                    at + 1
                ))
            };
            let before = text.render_turns(&self.before(problem, at))?;
            let after = rendered.strip_prefix(&before).ok_or_else(|| {
                refused("the chat template writes what stands before it otherwise once more turns follow")
            })?;
            let said = [&*turn.content, turn.content.trim()];
            let said = said
                .into_iter()
                .find(|said| after.starts_with(said))
                .ok_or_else(|| refused("the chat template does not write it as it was said"))?;
            if end.is_empty() || !after[said.len()..].starts_with(&end) {
                return Err(refused(&format!(
                    "the chat template does not write `{end}` behind it, which ends a turn"
                )));
            }
            let stop = before.len() + said.len() + end.len();
            let [start, stop] = [before.len(), stop].map(|length| -> Result<usize> {
                let tokens = text.encode(&rendered[..length])?;
                let apart = own.starts_with(&tokens);
                apart.then_some(begin + tokens.len()).ok_or_else(|| {
                    refused("the tokenizer joins its first or last token with the template's")
                })
            });
            turns.push(start?..stop?);
        }
        Ok(turns)
    }
}
