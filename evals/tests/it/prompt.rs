//! What a supervised stage learns, and what verifiers read of a completion.

use std::num::NonZeroUsize;

use engine::text::{KeepRule, KeepSpecialTokens, Text};
use evals::attempt::{Asked, Graded, Setup, attempt};
use evals::{PromptStyle, Target, Template};
use rewards::{Problem, RubricConfig};
use rollout::{Key, Purpose, Sampling};

use crate::toy;

const SPECIAL: [&str; 4] = ["<turn>", "</turn>", "<think>", "</think>"];
const TEMPLATE: &str = "{% for m in messages %}<turn>{{ m.content }}</turn>{% endfor %}\
    {% if add_generation_prompt %}<turn>{% endif %}";

fn text() -> Text {
    toy::with_special(&SPECIAL, Some(TEMPLATE))
}

fn target(style: &PromptStyle, text: &Text, solution: &str) -> Target {
    style.target(text, "1+1", solution, style.end(text)).unwrap()
}

#[test]
fn a_solution_ends_as_the_template_ends_a_turn() {
    let (text, style) = (text(), PromptStyle::default());
    let Target { prompt, completion } = target(&style, &text, "=2");
    assert_eq!(prompt, text.encode("<turn>1+1</turn><turn>").unwrap());
    assert_eq!(completion, text.encode("=2</turn>").unwrap());
    // Sampling stops at the same token.
    let end = text.encode("<end></turn>").unwrap();
    assert_eq!(style.with_stop_token(text.clone()).unwrap().stop_tokens(), end);
    // Without the template the tokenizer's own token is the end.
    let plain = PromptStyle { template: Template::None, ..style };
    assert_eq!(target(&plain, &text, "=2").completion, text.encode("=2<end>").unwrap());
    assert_eq!(plain.with_stop_token(text).unwrap().stop_tokens().len(), 1);
}

#[test]
fn a_template_that_marks_no_end_leaves_it_to_the_tokenizer() {
    let template = "{% for m in messages %}{{ m.content }}={% endfor %}";
    let text = toy::with_special(&SPECIAL, Some(template));
    let style = PromptStyle::default();
    assert_eq!(target(&style, &text, "2").completion, text.encode("2<end>").unwrap());
}

fn texts(text: &Text, keep: KeepSpecialTokens) -> Vec<Graded> {
    let style = PromptStyle { keep_special_tokens: keep, ..PromptStyle::default() };
    let sampling =
        Sampling { max_new_tokens: NonZeroUsize::new(24).unwrap(), ..Sampling::default() };
    let setup = Setup {
        model: &toy::model(text),
        text,
        style: &style,
        sampling: &sampling,
        slots: 4,
        rubric: &RubricConfig::default().build().unwrap(),
    };
    let problem = Problem {
        id: "a".into(),
        problem: "1+1".into(),
        answer: "2".into(),
        source: String::new(),
        solution: None,
    };
    let asked = [Asked { number: 0, problem: &problem }];
    let key = Key { seed: 1, purpose: Purpose::Train, step: 0 };
    attempt(&setup, &asked, 24, key, &mut |_| {}).unwrap()
}

#[test]
fn verifiers_read_the_special_tokens_that_the_style_keeps() {
    let text = text();
    let id = |token: &str| text.tokenizer().token_to_id(token).unwrap();
    let graded = texts(&text, KeepSpecialTokens::default());
    let has = |token: &str| {
        let completions = &graded[0].completions;
        completions.iter().filter(|one| one.trajectory.completion.contains(&id(token))).count()
    };
    // A random policy draws them all.
    assert!(has("<think>") > 0 && has("</think>") > 0 && has("</turn>") > 0 && has("<end>") > 0);
    for one in &graded[0].completions {
        for (token, stays) in
            [("<think>", true), ("</think>", true), ("</turn>", false), ("<end>", false)]
        {
            let there = one.trajectory.completion.contains(&id(token));
            assert_eq!(one.text.contains(token), there && stays, "{token} in {}", one.text);
        }
    }
    let none = texts(&text, KeepSpecialTokens::By(KeepRule::None));
    assert!(none[0].completions.iter().all(|one| !one.text.contains('<')));
    let listed = texts(&text, KeepSpecialTokens::Listed(vec!["</turn>".into()]));
    let shown = listed[0].completions.iter().any(|one| one.text.contains("</turn>"));
    assert!(shown && listed[0].completions.iter().all(|one| !one.text.contains("<think>")));
}
