//! How strictly an answer is found and compared.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One choice for both layers, [`extract`](mod@crate::extract) and
/// [`equivalent`](mod@crate::equivalent), so that a score names one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Strictness {
    /// For rewards: only the answer that the prompt asks for counts, and what is not exactly the
    /// gold earns nothing.
    #[default]
    Rl,
    /// For scores: an answer in another place counts too, and a decimal may stand for a gold that
    /// is no rational number.
    Eval,
}

impl Strictness {
    /// Every one.
    pub const ALL: [Self; 2] = [Self::Rl, Self::Eval];

    /// Its name in recipes and records.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rl => "rl",
            Self::Eval => "eval",
        }
    }

    /// Length of the longest answer that is looked at, in bytes.
    ///
    /// It bounds the work of every later step, so that a verdict is the same on every machine.
    pub fn max_answer_bytes(self) -> usize {
        match self {
            Self::Rl | Self::Eval => 4096,
        }
    }
}

/// How the prompt asks for the answer to be marked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(rename = "AnswerMarker")]
pub enum Marker {
    /// `\boxed{42}`.
    #[default]
    Boxed,
    /// A line `Answer: 42` (DAPO).
    AnswerLine,
    /// A line `#### 42` (GSM8K).
    Hashes,
}

impl Marker {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::Boxed, Self::AnswerLine, Self::Hashes];

    /// Its name in recipes and records.
    pub fn name(self) -> &'static str {
        match self {
            Self::Boxed => "boxed",
            Self::AnswerLine => "answer-line",
            Self::Hashes => "hashes",
        }
    }

    /// A sentence for a prompt that asks for it.
    pub fn request(self) -> &'static str {
        match self {
            Self::Boxed => r"Put your final answer within \boxed{}.",
            Self::AnswerLine => "Give your final answer on a last line that begins with `Answer:`.",
            Self::Hashes => "Give your final answer on a last line that begins with `####`.",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What does as it is asked is found, at the greatest strictness.
    #[test]
    fn an_answer_in_the_form_that_is_asked_for_is_found() {
        for (marker, form, reply) in [
            (Marker::Boxed, r"\boxed{", r"So \boxed{42}."),
            (Marker::AnswerLine, "Answer:", "So.\nAnswer: 42"),
            (Marker::Hashes, "####", "So.\n#### 42"),
        ] {
            assert!(marker.request().contains(form), "{}", marker.request());
            let found = crate::extract::extract(reply, Strictness::Rl, marker);
            assert_eq!(found, crate::extract::Extracted::Answer("42"), "{reply}");
        }
    }

    #[test]
    fn names_are_those_of_the_recipes() {
        for strictness in Strictness::ALL {
            assert_eq!(serde_json::to_value(strictness).unwrap(), strictness.name());
        }
        for marker in Marker::ALL {
            assert_eq!(serde_json::to_value(marker).unwrap(), marker.name());
        }
    }
}
