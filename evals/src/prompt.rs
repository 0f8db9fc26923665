//! How a problem is put to the policy.

mod chat;
mod template_args;

use engine::text::{KeepSpecialTokens, Text};
use rewards::{Problem, Role};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{Error, Result};

/// The text around a problem in its prompt, and what ends a completion besides the stop tokens.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PromptStyle {
    /// System prompt, for chats that have no system turn of their own. `"off"`: the model's
    /// template decides. An empty text is a system turn without text.
    #[serde(with = "settings::off::text")]
    #[schemars(with = "settings::OrOff<String>")]
    pub system: Option<String>,
    /// What the problem is put into. Base models without a chat template need `"plain"` or
    /// `"none"`.
    ///
    /// Names: HF `chat_template`.
    pub template: Template,
    /// Whether the prompt begins with the tokenizer's begin token.
    ///
    /// Names: HF `add_bos_token`.
    pub bos: Bos,
    /// Names that the chat template reads in addition to the conversation, such as `enable_thinking
    /// = false`. `tools` and `documents` are lists of tables. Left out: none.
    ///
    /// Names: verl `apply_chat_template_kwargs`, TRL `chat_template_kwargs`.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub template_args: Map<String, Value>,
    /// Text right after the problem, for example how to give the answer, or `"off"`. Left out: in a
    /// chat without `system` whose stages judge by a verifier that looks for an answer, a sentence
    /// that asks for it in the form that is read, which `--dry-run` shows; elsewhere none.
    #[serde(skip_serializing_if = "Option::is_none", with = "settings::off::zero_if_any")]
    #[schemars(with = "settings::OrOff<String>")]
    pub suffix: Option<String>,
    /// Texts that end a completion, in addition to the model's stop tokens.
    ///
    /// Names: vLLM `stop`, HF `stop_strings`.
    pub stop: Vec<String>,
    /// Which special tokens stay in the text of a completion, which verifiers and people read: a
    /// rule, or a list of tokens.
    ///
    /// Names: vLLM `skip_special_tokens`.
    pub keep_special_tokens: KeepSpecialTokens,
}

/// Whether a prompt begins with the tokenizer's begin token. It is never there twice: a prompt
/// whose text writes it gets no second one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(rename = "BeginToken")]
pub enum Bos {
    /// As in `transformers`: a plain prompt begins as the tokenizer begins a text, and what a chat
    /// begins with is for its template to write.
    #[default]
    Auto,
    /// Always, in a chat too.
    Always,
    /// Only where the text of the prompt writes it.
    Never,
}

/// What a supervised stage learns of one problem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Tokens before the first that is learnt.
    pub prompt: Vec<u32>,
    /// Tokens from there on, as sampling would leave them: the token that ends a turn is the last.
    pub completion: Vec<u32>,
    /// Which tokens of the completion are learnt: those of the assistant's turns, each with the
    /// token that ends it.
    pub learnt: Vec<bool>,
}

/// What a problem is put into.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(remote = "Self", rename_all = "kebab-case", deny_unknown_fields)]
#[schemars(tag = "kind", transform = settings::by_name)]
#[schemars(rename = "PromptTemplate")]
pub enum Template {
    /// The model's own chat template: the turns of a chat, or one user turn.
    Chat {},
    /// A text, for models without a chat template.
    Plain {
        /// The text. `{problem}` stands for the problem with its suffix.
        text: String,
    },
    /// Nothing: the prompt is the problem and its suffix.
    None {},
}

settings::tagged!(Template);

impl Default for Template {
    fn default() -> Self {
        Self::Chat {}
    }
}

const SLOT: &str = "{problem}";

impl PromptStyle {
    /// What is wrong with the style: each entry names a key of it and says what to change.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if let Template::Plain { text } = &self.template {
            let found = text.matches(SLOT).count();
            if found != 1 {
                problems
                    .push(format!("`template.text` needs `{SLOT}` once, found it {found} times"));
            }
        }
        let chat = self.template == Template::Chat {};
        for (key, set) in
            [("system", self.system.is_some()), ("template_args", !self.template_args.is_empty())]
        {
            if set && !chat {
                problems.push(format!("`{key}` needs `template = {{ kind = \"chat\" }}`"));
            }
        }
        problems.extend(template_args::problems(&self.template_args));
        if self.stop.iter().any(String::is_empty) {
            problems.push("`stop` holds an empty text, which would end every completion".into());
        }
        problems
    }

    /// Asks for the answer by `request` where the style leaves the suffix out and is a chat without
    /// a system prompt; elsewhere a suffix that is left out is none.
    pub fn ask_for_answer(&mut self, request: Option<&str>) {
        let is_free = self.template == Template::Chat {} && self.system.is_none();
        let request = request.filter(|_| is_free).map(|request| format!("\n{request}"));
        self.suffix.get_or_insert_with(|| request.unwrap_or_default());
    }

    /// The prompt of a problem.
    ///
    /// # Errors
    ///
    /// Fails when the chat template does, when a plain template has no `{problem}`, and when a chat
    /// of several turns has no chat template to go through.
    pub fn prompt(&self, text: &Text, problem: &Problem) -> Result<String> {
        let suffix = self.suffix.as_deref().unwrap_or_default();
        let asked = format!("{}{suffix}", problem.problem);
        match &self.template {
            Template::Chat {} if *text.template_args() != self.template_args => {
                Err(Error::Prompt("`template_args` are not the text's: prepare it first".into()))
            }
            Template::Chat {} => {
                let mut turns = self.before(problem, problem.history.len());
                turns.push((Role::User.name(), &asked));
                Ok(text.render_turns(&turns)?)
            }
            _ if !problem.history.is_empty() => Err(Error::Prompt(
                "the problem has turns before it, which need `template = { kind = \"chat\" }`"
                    .into(),
            )),
            Template::Plain { text } => {
                // Not `replace`, so that a problem which itself says `{problem}` stays as it is.
                let (before, after) = text.split_once(SLOT).ok_or_else(|| {
                    Error::Prompt(format!("`template.text` needs `{SLOT}` once, found it 0 times"))
                })?;
                Ok(format!("{before}{asked}{after}"))
            }
            Template::None {} => Ok(asked),
        }
    }

    /// The tokens of the prompt of a problem.
    ///
    /// # Errors
    ///
    /// Fails where [`PromptStyle::prompt`] does, when the prompt has no token, and when it is to
    /// begin with a begin token and the tokenizer has none.
    pub fn tokens(&self, text: &Text, problem: &Problem) -> Result<Vec<u32>> {
        let mut tokens = text.encode(&self.prompt(text, problem)?)?;
        let begin = self.begin(text)?;
        if !tokens.starts_with(&begin) {
            tokens.splice(0..0, begin);
        }
        if tokens.is_empty() {
            return Err(Error::Prompt("the prompt is empty; give it a `template`".into()));
        }
        Ok(tokens)
    }

    /// What the tokens of a prompt begin with.
    fn begin(&self, text: &Text) -> Result<Vec<u32>> {
        let own = text.begin();
        match (self.bos, &self.template) {
            (Bos::Never, _) | (Bos::Auto, Template::Chat {}) => Ok(Vec::new()),
            (Bos::Auto, _) => Ok(own.to_vec()),
            (Bos::Always, _) if !own.is_empty() => Ok(own.to_vec()),
            (Bos::Always, _) => text.named_token("bos_token").map(|id| vec![id]).ok_or_else(|| {
                Error::Prompt(
                    "`bos` is \"always\", but the tokenizer has no begin token; name one as bos_token \
                     in tokenizer_config.json, or set `bos` to \"auto\""
                        .into(),
                )
            }),
        }
    }

    /// `text` as this style uses it: its chat template is given `template_args`, and the token that
    /// ends a turn in this style is among its stop tokens.
    ///
    /// Checkpoints exist whose chat template ends turns with another token than their generation
    /// configuration names: a base model with a chat template is one. Sampling stops at either.
    ///
    /// # Errors
    ///
    /// Fails when the token is not in the vocabulary.
    pub fn prepare(&self, text: Text) -> Result<Text> {
        let text = text.with_template_args(self.template_args.clone());
        let end = self.end(&text);
        Ok(text.with_stop_token(end)?)
    }

    /// What to know about the style with a prepared `text`: arguments that its template ignores.
    ///
    /// # Errors
    ///
    /// Fails when there are arguments and the template does not parse.
    pub fn notes(&self, text: &Text) -> Result<Vec<String>> {
        if self.template_args.is_empty() {
            return Ok(Vec::new());
        }
        let note =
            |name| format!("the chat template does not read `{name}` of prompt.template_args");
        Ok(text.unread_template_args()?.into_iter().map(note).collect())
    }

    /// The token that ends a completion: the chat template's where that is used, else the
    /// tokenizer's, else the first stop token.
    pub fn end(&self, text: &Text) -> u32 {
        let of_template = if self.template == (Template::Chat {}) { text.turn_end() } else { None };
        of_template
            .or_else(|| text.named_token("eos_token"))
            .unwrap_or_else(|| text.stop_tokens()[0])
    }

    /// What is learnt of a problem and its solution; `end` is the token that [`PromptStyle::end`]
    /// names. The assistant's turns in its history are learnt, too.
    ///
    /// # Errors
    ///
    /// Fails where [`PromptStyle::tokens`] does, when the solution cannot be encoded after the
    /// prompt, and when the chat template does not write an earlier turn of the assistant as
    /// sampling would have left it.
    pub fn target(
        &self,
        text: &Text,
        problem: &Problem,
        solution: &str,
        end: u32,
    ) -> Result<Target> {
        let mut prompt = self.tokens(text, problem)?;
        let rendered = self.prompt(text, problem)?;
        let mut last = text.encode_after(&rendered, solution)?;
        last.push(end);
        let turns = self.earlier_turns(text, problem, &rendered, &prompt, end)?;
        let first = turns.first().map_or(prompt.len(), |turn| turn.start);
        let mut learnt = vec![false; prompt.len() - first];
        for turn in turns {
            learnt[turn.start - first..turn.end - first].fill(true);
        }
        learnt.resize(learnt.len() + last.len(), true);
        let mut completion = prompt.split_off(first);
        completion.append(&mut last);
        Ok(Target { prompt, completion, learnt })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contradictions_are_all_listed() {
        let style = PromptStyle {
            system: Some("be brief".into()),
            template: Template::Plain { text: "Q: {probem}".into() },
            stop: vec![String::new()],
            ..PromptStyle::default()
        };
        assert_eq!(style.problems().len(), 3);
        assert_eq!(PromptStyle::default().problems(), Vec::<String>::new());
    }

    #[test]
    fn an_answer_is_asked_for_only_where_the_style_says_nothing_of_its_own() {
        let suffix = |style: PromptStyle, request| {
            let mut style = style;
            style.ask_for_answer(request);
            style.suffix.unwrap()
        };
        let chat = PromptStyle::default();
        assert_eq!(suffix(chat.clone(), Some("Box it.")), "\nBox it.");
        assert_eq!(suffix(chat.clone(), None), "");
        let own = |suffix: &str| PromptStyle { suffix: Some(suffix.into()), ..chat.clone() };
        assert_eq!(suffix(own(""), Some("Box it.")), "");
        assert_eq!(suffix(own("Say it."), Some("Box it.")), "Say it.");
        let system = PromptStyle { system: Some("Box all.".into()), ..chat.clone() };
        assert_eq!(suffix(system, Some("Box it.")), "");
        for template in [Template::None {}, Template::Plain { text: "{problem}=".into() }] {
            assert_eq!(suffix(PromptStyle { template, ..chat.clone() }, Some("Box it.")), "");
        }
    }
}
