use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Attempt, Unavailable, Verdict, Verifier};
use crate::extract::{Boxes, after_reasoning};

/// One demand on the form of a completion.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
#[schemars(rename = "FormatRule")]
pub enum Rule {
    /// It starts with `<think>`, which occurs once, and has a `</think>`.
    ///
    /// Source: `think_format_reward` of TRL, `^<think>(?!.*<think>)(.*?)</think>.*$`.
    ThinkTags,
    /// It has one `</think>` and no `<think>`, for templates that open the reasoning in the prompt.
    ThinkEnd,
    /// After the reasoning, `<answer>` and then `</answer>` occur once each, and nothing follows.
    AnswerTags,
    /// After the reasoning there is one box, and it closes.
    BoxedOnce,
    /// It ended by itself instead of being cut off.
    Finished,
}

impl Rule {
    fn holds(self, attempt: &Attempt<'_>) -> bool {
        let text = attempt.text;
        match self {
            Self::ThinkTags => {
                let rest = text.strip_prefix("<think>");
                rest.is_some_and(|rest| !rest.contains("<think>") && rest.contains("</think>"))
            }
            Self::ThinkEnd => !text.contains("<think>") && once(text, "</think>").is_some(),
            Self::AnswerTags => {
                let text = after_reasoning(text);
                match (once(text, "<answer>"), once(text, "</answer>")) {
                    (Some(start), Some(end)) => {
                        start < end && text.trim_end().ends_with("</answer>")
                    }
                    _ => false,
                }
            }
            Self::BoxedOnce => {
                let boxes = Boxes::find(after_reasoning(text));
                boxes.count == 1 && boxes.last_closed.is_some()
            }
            Self::Finished => !attempt.truncated,
        }
    }
}

/// Where `tag` stands, if it stands exactly once.
fn once(text: &str, tag: &str) -> Option<usize> {
    let mut places = text.match_indices(tag);
    let (first, _) = places.next()?;
    places.next().is_none().then_some(first)
}

/// Earns the share of its rules that hold, from 0 to 1.
#[derive(Debug, Clone)]
pub struct Format {
    /// What is demanded: at least one rule.
    pub require: Vec<Rule>,
}

impl Verifier for Format {
    fn name(&self) -> &'static str {
        "format"
    }

    fn verify(&self, attempts: &[Attempt<'_>]) -> Result<Vec<Verdict>, Unavailable> {
        let share = |attempt: &Attempt<'_>| {
            let kept = self.require.iter().filter(|rule| rule.holds(attempt)).count();
            kept as f64 / self.require.len().max(1) as f64
        };
        Ok(attempts.iter().map(|attempt| Verdict::form(share(attempt))).collect())
    }
}

/// Earns 1 where [`Rule::ThinkTags`] holds, and 0 otherwise: a weight of its own for that rule.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ThinkTags;

impl Verifier for ThinkTags {
    fn name(&self) -> &'static str {
        "think-tags"
    }

    fn verify(&self, attempts: &[Attempt<'_>]) -> Result<Vec<Verdict>, Unavailable> {
        let holds = |attempt: &Attempt<'_>| f64::from(u8::from(Rule::ThinkTags.holds(attempt)));
        Ok(attempts.iter().map(|attempt| Verdict::form(holds(attempt))).collect())
    }
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "these rewards are exact in binary")]
mod tests {
    use super::*;
    use crate::Problem;

    fn share(require: &[Rule], text: &str) -> f64 {
        let problem = Problem {
            id: "1".into(),
            problem: "1+1".into(),
            answer: "2".into(),
            source: String::new(),
            ..Problem::default()
        };
        let attempt =
            Attempt { problem: &problem, text, num_tokens: 3, max_tokens: 8, truncated: true };
        Format { require: require.to_vec() }.verify(&[attempt]).unwrap()[0].reward
    }

    #[track_caller]
    fn check(rule: Rule, good: &[&str], bad: &[&str]) {
        for text in good {
            assert_eq!(share(&[rule], text), 1.0, "{text}");
        }
        for text in bad {
            assert_eq!(share(&[rule], text), 0.0, "{text}");
        }
    }

    #[test]
    fn reasoning_stands_once_and_first() {
        check(
            Rule::ThinkTags,
            &[
                "<think></think>",
                "<think>a\nb</think> c",
                "<think>é</think><answer>",
                "<think>a <b> c</think>",
                "<think></think></think>",
            ],
            &[
                "",
                "a",
                "a</think>b",
                "a<think>b</think>",
                " <think>a</think>",
                "\n<think>a</think>",
                "<think>b",
                "<think>\nb\n",
                "a</think>b<think>c",
                "<think><think></think>",
                "<think>a</think>b<think>",
                "<think>a</think>b<think>c</think>",
                "<think >a</think>",
                "<Think>a</Think>",
            ],
        );
        check(
            Rule::ThinkEnd,
            &["</think>", "so\n</think>2"],
            &["so 2", "<think>so</think>", "</think></think>"],
        );
    }

    #[test]
    fn the_answer_stands_once_and_last() {
        check(
            Rule::AnswerTags,
            &["<answer>2</answer>", "<think><answer></think> <answer>2</answer>\n"],
            &["2", "</answer><answer>", "<answer>2</answer> so", "<answer><answer>2</answer>"],
        );
        check(
            Rule::BoxedOnce,
            &[r"\boxed{2}", r"<think>\boxed{1}</think>\boxed{2}", r"\fbox{}"],
            &["2", r"\boxed{2", r"\boxed{1}\boxed{2}", r"\boxed{\boxed{2}}", r"\boxed{1}\boxed{"],
        );
    }

    #[test]
    fn the_reward_is_the_share_of_the_rules_kept() {
        let all = [Rule::BoxedOnce, Rule::Finished, Rule::ThinkTags, Rule::AnswerTags];
        assert_eq!(share(&all, r"<think></think>\boxed{2}"), 0.5);
    }
}
