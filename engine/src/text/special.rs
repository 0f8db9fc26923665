//! Special tokens: what ends a turn, and what stays in the text of a completion.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Text;
use crate::{Error, Result};

/// Which special tokens stay in the text of a completion, where verifiers and people read it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum KeepSpecialTokens {
    /// By a rule.
    By(KeepRule),
    /// These, as they are written in the vocabulary.
    Listed(Vec<String>),
}

settings::by_shape! { KeepSpecialTokens:
    "\"auto\", \"all\", \"none\" or a list of tokens such as [\"<think>\"]";
    text => KeepSpecialTokens::By,
    list => KeepSpecialTokens::Listed,
}

/// A rule for special tokens in the text of a completion.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(rename = "SpecialTokenRule")]
pub enum KeepRule {
    /// All but those that end a turn, that the tokenizer names (begin, end, padding, unknown and
    /// the like), and that the chat template writes around turns. `<think>` stays.
    #[default]
    Auto,
    /// Every one.
    All,
    /// None, as `skip_special_tokens` in `transformers`.
    None,
}

impl Default for KeepSpecialTokens {
    fn default() -> Self {
        Self::By(KeepRule::default())
    }
}

/// Stand-ins for what is said in a conversation: words that no template changes.
const SYSTEM: &str = "sentinel0system";
const USER: &str = "sentinel1user";
const ASSISTANT: &str = "sentinel2assistant";

/// The special tokens that a tokenizer configuration can name.
const NAMED: [&str; 7] =
    ["bos_token", "eos_token", "pad_token", "unk_token", "sep_token", "cls_token", "mask_token"];

impl Text {
    /// Ids of the tokens that are left out of the text of a completion.
    ///
    /// # Errors
    ///
    /// Fails when a listed token is not in the vocabulary.
    pub fn hidden_tokens(&self, keep: &KeepSpecialTokens) -> Result<BTreeSet<u32>> {
        let special = self.special_tokens();
        let all = special.keys().copied().collect();
        match keep {
            KeepSpecialTokens::By(KeepRule::All) => Ok(BTreeSet::new()),
            KeepSpecialTokens::By(KeepRule::None) => Ok(all),
            KeepSpecialTokens::By(KeepRule::Auto) => {
                let mut hidden = self.turn_markers(&special);
                hidden.extend(self.stop_tokens());
                hidden.extend(NAMED.iter().filter_map(|name| self.named_token(name)));
                Ok(hidden.intersection(&all).copied().collect())
            }
            KeepSpecialTokens::Listed(tokens) => {
                let mut hidden = all;
                for token in tokens {
                    let id = self.tokenizer().token_to_id(token).ok_or_else(|| {
                        Error::Text(format!(
                            "keep_special_tokens names \"{token}\", which the tokenizer does not \
                             have\nwrite it as the vocabulary does, or leave it out"
                        ))
                    })?;
                    hidden.remove(&id);
                }
                Ok(hidden)
            }
        }
    }

    /// The text of `tokens` without the `hidden` ones.
    ///
    /// # Errors
    ///
    /// Fails when the tokenizer's decoder does.
    pub fn decode_without(&self, tokens: &[u32], hidden: &BTreeSet<u32>) -> Result<String> {
        let shown: Vec<u32> = tokens.iter().copied().filter(|id| !hidden.contains(id)).collect();
        self.tokenizer().decode(&shown, false).map_err(|e| Error::Text(e.to_string()))
    }

    /// The token that ends an assistant's turn in the chat template; `None` where there is no
    /// template, or where it ends a turn by no special token.
    pub fn turn_end(&self) -> Option<u32> {
        let rendered = self.conversation(&[("user", USER), ("assistant", ASSISTANT)])?;
        let (_, after) = rendered.rsplit_once(ASSISTANT)?;
        let after = after.trim_start();
        let tokens = self.special_tokens().into_iter();
        let at_start = tokens.filter(|(_, content)| after.starts_with(content));
        at_start.max_by_key(|(_, content)| content.len()).map(|(id, _)| id)
    }

    /// The token that the tokenizer's configuration calls `name`, such as `eos_token`.
    pub fn named_token(&self, name: &str) -> Option<u32> {
        let value = self.tokenizer_config.get(name)?;
        let content = value.get("content").unwrap_or(value).as_str()?;
        self.tokenizer().token_to_id(content)
    }

    /// The same text with one more token that ends a turn, behind the others.
    ///
    /// # Errors
    ///
    /// Fails when the token is not in the vocabulary.
    pub fn with_stop_token(mut self, id: u32) -> Result<Self> {
        if self.tokenizer.id_to_token(id).is_none() {
            return Err(Error::Text(format!(
                "stop token {id} is not in the tokenizer's vocabulary"
            )));
        }
        if !self.stop_tokens.contains(&id) {
            self.stop_tokens.push(id);
        }
        Ok(self)
    }

    /// The tokens that the tokenizer marks as special, as they are written.
    fn special_tokens(&self) -> BTreeMap<u32, String> {
        let added = self.tokenizer().get_added_tokens_decoder().into_iter();
        let special = added.filter(|(_, token)| token.special && !token.content.is_empty());
        special.map(|(id, token)| (id, token.content)).collect()
    }

    /// Special tokens that the chat template writes around what is said.
    ///
    /// Tags such as `<think>` and `</think>` are content, even where a template writes them into an
    /// assistant's turn; where they stand before what a user says, they are the template's own.
    fn turn_markers(&self, special: &BTreeMap<u32, String>) -> BTreeSet<u32> {
        let turns = [("user", USER), ("assistant", ASSISTANT), ("user", USER)];
        let with_system: Vec<_> = [("system", SYSTEM)].into_iter().chain(turns).collect();
        // Some templates refuse a system message.
        let rendered = self.conversation(&with_system).or_else(|| self.conversation(&turns));
        let rendered = rendered.unwrap_or_default();
        // What stands before may be instructions that name a tag.
        let after = rendered.split_once(SYSTEM).map_or(&*rendered, |(_, after)| after);
        let header = after.split_once(USER).map_or("", |(header, _)| header);
        let is_marker = |token: &str| {
            after.contains(token) && (header.contains(token) || !is_tag(token, special))
        };
        special.iter().filter(|(_, token)| is_marker(token)).map(|(&id, _)| id).collect()
    }

    /// A conversation as the chat template writes it down; `None` where it does not.
    fn conversation(&self, turns: &[(&str, &str)]) -> Option<String> {
        let template = self.template.as_ref()?;
        template.render(turns, false, self.context()).ok()
    }
}

/// Whether a token is `<name>` or `</name>` and its counterpart is special, too.
fn is_tag(token: &str, special: &BTreeMap<u32, String>) -> bool {
    let Some(inner) = token.strip_prefix('<') else { return false };
    let counterpart = match inner.strip_prefix('/') {
        Some(name) => format!("<{name}"),
        None => format!("</{inner}"),
    };
    special.values().any(|other| *other == counterpart)
}
