//! How a problem is put to the policy.

use engine::text::Text;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// What stands around a problem in its prompt, and what ends a completion besides the stop tokens.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PromptStyle {
    /// System prompt of a chat; left out, the model's template decides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system: Option<String>,
    /// What the problem is put into.
    pub template: Template,
    /// Text right after the problem, for example how to give the answer.
    pub suffix: String,
    /// Texts that end a completion.
    pub stop: Vec<String>,
}

/// What a problem is put into.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Template {
    /// The model's own chat template, one user turn.
    #[default]
    Chat,
    /// A text, for models without a chat template.
    Plain {
        /// The text; `{problem}` stands for the problem and its suffix.
        text: String,
    },
    /// Nothing: the prompt is the problem and its suffix.
    None,
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
        if self.system.is_some() && self.template != Template::Chat {
            problems.push("`system` needs `template = { kind = \"chat\" }`".into());
        }
        if self.stop.iter().any(String::is_empty) {
            problems.push("`stop` holds an empty text, which would end every completion".into());
        }
        problems
    }

    /// The prompt of a problem.
    ///
    /// # Errors
    ///
    /// Fails when the chat template does, or a plain template has no `{problem}`.
    pub fn prompt(&self, text: &Text, problem: &str) -> Result<String> {
        let asked = format!("{problem}{}", self.suffix);
        match &self.template {
            Template::Chat => Ok(text.render(self.system.as_deref(), &asked)?),
            Template::Plain { text } => {
                // Not `replace`, so that a problem which itself says `{problem}` stays as it is.
                let (before, after) = text.split_once(SLOT).ok_or_else(|| {
                    Error::Prompt(format!("`template.text` needs `{SLOT}` once, found it 0 times"))
                })?;
                Ok(format!("{before}{asked}{after}"))
            }
            Template::None => Ok(asked),
        }
    }

    /// The tokens of the prompt of a problem.
    ///
    /// # Errors
    ///
    /// Fails where [`PromptStyle::prompt`] does, and when the prompt has no token.
    pub fn tokens(&self, text: &Text, problem: &str) -> Result<Vec<u32>> {
        let tokens = text.encode(&self.prompt(text, problem)?)?;
        if tokens.is_empty() {
            return Err(Error::Prompt("the prompt is empty; give it a `template`".into()));
        }
        Ok(tokens)
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
}
