//! What a supervised stage learns, and what verifiers read of a completion.

use std::num::NonZeroUsize;

use engine::text::{KeepRule, KeepSpecialTokens, Text};
use evals::attempt::{Draw, GradedGroup, Sampler, attempt};
use evals::{Bos, PromptStyle, Target, Template};
use rewards::{Problem, Role, RubricConfig, Turn};
use rollout::{Key, Purpose, Sampling};

use crate::toy;

const SPECIAL: [&str; 4] = ["<turn>", "</turn>", "<think>", "</think>"];
const TEMPLATE: &str = "{% for m in messages %}<turn>{{ m.content }}</turn>{% endfor %}\
    {% if add_generation_prompt %}<turn>{% endif %}";

fn text() -> Text {
    toy::with_special(&SPECIAL, Some(TEMPLATE))
}

fn target(style: &PromptStyle, text: &Text, solution: &str) -> Target {
    style.target(text, &asked("1+1"), solution, style.end(text)).unwrap()
}

fn asked(problem: &str) -> Problem {
    Problem { problem: problem.into(), ..Problem::default() }
}

#[test]
fn a_solution_ends_as_the_template_ends_a_turn() {
    let (text, style) = (text(), PromptStyle::default());
    let Target { prompt, completion, .. } = target(&style, &text, "=2");
    assert_eq!(prompt, text.encode("<turn>1+1</turn><turn>").unwrap());
    assert_eq!(completion, text.encode("=2</turn>").unwrap());
    // Sampling stops at the same token.
    let end = text.encode("<end></turn>").unwrap();
    assert_eq!(style.prepare(text.clone()).unwrap().stop_tokens(), end);
    // Without the template the tokenizer's own token is the end.
    let plain = PromptStyle { template: Template::None {}, ..style };
    assert_eq!(target(&plain, &text, "=2").completion, text.encode("=2<end>").unwrap());
    assert_eq!(plain.prepare(text).unwrap().stop_tokens().len(), 1);
}

#[test]
fn a_template_that_marks_no_end_leaves_it_to_the_tokenizer() {
    let template = "{% for m in messages %}{{ m.content }}={% endfor %}";
    let text = toy::with_special(&SPECIAL, Some(template));
    let style = PromptStyle::default();
    assert_eq!(target(&style, &text, "2").completion, text.encode("2<end>").unwrap());
}

fn texts(text: &Text, keep: KeepSpecialTokens) -> Vec<GradedGroup> {
    let style = PromptStyle { keep_special_tokens: keep, ..PromptStyle::default() };
    let sampling =
        Sampling { max_new_tokens: NonZeroUsize::new(24).unwrap(), ..Sampling::default() };
    let sampler = Sampler {
        model: &toy::model(text),
        text,
        style: &style,
        sampling: &sampling,
        slots: 4,
        alternatives: 0,
        rubric: &RubricConfig::default().build().unwrap(),
    };
    let problem = Problem {
        id: "a".into(),
        problem: "1+1".into(),
        answer: "2".into(),
        source: String::new(),
        ..Problem::default()
    };
    let draws = [Draw { number: 0, problem: &problem }];
    let key = Key { seed: 1, purpose: Purpose::Train, step: 0 };
    attempt(&sampler, &draws, 24, key, &mut rollout::to_the_end).unwrap()
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

/// The toy's tokens with `<begin>`, which the tokenizer names, and puts before a text.
fn beginning(names: bool, puts: bool) -> Text {
    let template = "{% for m in messages %}{{ m.content }}{% endfor %}";
    let text = toy::with_special(&["<begin>"], Some(template));
    let id = text.encode("<begin>").unwrap()[0];
    let folder = tempfile::tempdir().unwrap();
    for (name, contents) in text.to_files().unwrap() {
        let mut json: serde_json::Value = serde_json::from_str(&contents).unwrap();
        if name == "tokenizer.json" && puts {
            json["post_processor"] = serde_json::json!({
                "type": "BertProcessing", "sep": ["<end>", id - 1], "cls": ["<begin>", id]
            });
        }
        if name == "tokenizer_config.json" && names {
            json["bos_token"] = "<begin>".into();
        }
        std::fs::write(folder.path().join(name), json.to_string()).unwrap();
    }
    Text::from_folder(folder.path(), &serde_json::Value::Null).unwrap()
}

fn plain(text: &str) -> Template {
    Template::Plain { text: text.into() }
}

#[test]
fn a_plain_prompt_begins_as_the_tokenizer_begins_a_text() {
    let text = beginning(true, true);
    let ids = |source: &str| text.encode(source).unwrap();
    let prompt = |template, problem: &str| {
        PromptStyle { template, ..PromptStyle::default() }.tokens(&text, &asked(problem)).unwrap()
    };
    assert_eq!(prompt(Template::None {}, "1+1="), ids("<begin>1+1="));
    assert_eq!(prompt(plain("{problem}="), "1+1"), ids("<begin>1+1="));
    assert_eq!(prompt(Template::None {}, ""), ids("<begin>"), "a prompt of nothing else");
    // What a chat begins with is for its template to say, and nothing is said twice.
    assert_eq!(prompt(Template::Chat {}, "1+1"), ids("1+1"));
    assert_eq!(prompt(Template::None {}, "<begin>1+1"), ids("<begin>1+1"));
    assert_eq!(prompt(plain("<begin>{problem}"), "1"), ids("<begin>1"));
    assert_eq!(prompt(Template::None {}, "<begin><begin>1"), ids("<begin><begin>1"));
    assert_eq!(prompt(Template::None {}, "1<begin>"), ids("<begin>1<begin>"));
    // The post-processor's end of the text is no part of a prompt.
    assert!(!prompt(Template::None {}, "1").contains(&ids("<end>")[0]));
    let style = PromptStyle { template: Template::None {}, ..PromptStyle::default() };
    let Target { prompt, completion, .. } = target(&style, &text, "=2");
    assert_eq!((prompt, completion), (ids("<begin>1+1"), ids("=2<end>")));
}

#[test]
fn the_begin_token_can_be_set() {
    let styles = [Template::Chat {}, Template::None {}, plain("{problem}")];
    for (names, puts) in [(true, true), (false, true), (true, false)] {
        let text = beginning(names, puts);
        let ids = |source: &str| text.encode(source).unwrap();
        for template in &styles {
            let style =
                |bos| PromptStyle { bos, template: template.clone(), ..PromptStyle::default() };
            let prompt = |bos, problem: &str| style(bos).tokens(&text, &asked(problem)).unwrap();
            assert_eq!(prompt(Bos::Always, "1"), ids("<begin>1"));
            assert_eq!(prompt(Bos::Always, "<begin>1"), ids("<begin>1"));
            assert_eq!(prompt(Bos::Never, "1"), ids("1"));
            assert_eq!(prompt(Bos::Never, "<begin>1"), ids("<begin>1"));
            let auto = if puts && *template != (Template::Chat {}) { "<begin>1" } else { "1" };
            assert_eq!(prompt(Bos::Auto, "1"), ids(auto));
        }
    }
    let style =
        PromptStyle { bos: Bos::Always, template: Template::None {}, ..PromptStyle::default() };
    let error = style.tokens(&beginning(false, false), &asked("1")).unwrap_err().to_string();
    assert!(error.contains("`bos` is \"always\"") && error.contains("no begin token"), "{error}");
}

/// A conversation: a system turn, and questions with their answers; the last one is open.
fn chat(turns: &[(Role, &str)], last: &str) -> Problem {
    let turn = |&(role, content): &(Role, &str)| Turn { role, content: content.into() };
    Problem { history: turns.iter().map(turn).collect(), ..asked(last) }
}

/// Roles and contents with tokens of their own around them.
const ROLES: &str = "{% set mark = {'system': 'd', 'user': 'e', 'assistant': 'o'} %}\
    {% for m in messages %}<turn>{{ mark[m.role] }}{{ m.content }}</turn>{% endfor %}\
    {% if add_generation_prompt %}<turn>o{% endif %}";

#[test]
fn the_assistants_turns_alone_are_learnt_token_by_token() {
    use Role::{Assistant, System, User};
    let text = toy::with_special(&SPECIAL, Some(ROLES));
    let style = PromptStyle::default();
    let turns = [(System, "0"), (User, "1+1"), (Assistant, "=2"), (User, "2+2"), (Assistant, "4")];
    let problem = chat(&turns, "3+3");
    let end = style.end(&text);
    let Target { prompt, completion, learnt } = style.target(&text, &problem, "=6", end).unwrap();
    // Reference: the template written out, each piece with whether it is learnt.
    let pieces = [
        ("<turn>d0</turn><turn>e1+1</turn><turn>o", false),
        ("=2</turn>", true),
        ("<turn>e2+2</turn><turn>o", false),
        ("4</turn>", true),
        ("<turn>e3+3</turn><turn>o", false),
        ("=6</turn>", true),
    ];
    let tokens = |pieces: &[(&str, bool)]| -> Vec<(u32, bool)> {
        let tokens = |&(piece, is): &(&str, bool)| {
            text.encode(piece).unwrap().into_iter().map(move |token| (token, is))
        };
        pieces.iter().flat_map(tokens).collect()
    };
    let first: Vec<_> = tokens(&pieces[..1]).into_iter().map(|(token, _)| token).collect();
    assert_eq!(prompt, first);
    let got: Vec<_> = completion.iter().copied().zip(learnt.iter().copied()).collect();
    assert_eq!(got, tokens(&pieces[1..]));
    assert_eq!(completion.len(), learnt.len());
    // Prompt and target are what the prompt of the last question is, and its solution.
    let asked = style.tokens(&text, &problem).unwrap();
    let whole = [&*prompt, &*completion].concat();
    assert_eq!(whole[..asked.len()], asked);
    // What stands before a learnt token is what the policy would have been given at that turn.
    let earlier = chat(&turns[..2], "1+1");
    let earlier = Problem { history: earlier.history[..1].to_vec(), ..earlier };
    assert_eq!(style.tokens(&text, &earlier).unwrap(), prompt);
}

#[test]
fn a_begin_token_moves_the_turns_and_a_system_turn_replaces_the_styles() {
    use Role::{Assistant, System, User};
    let text = toy::with_special(&["<turn>", "</turn>", "<begin>"], Some(ROLES));
    let style = PromptStyle { system: Some("9".into()), ..PromptStyle::default() };
    let with = style.prompt(&text, &chat(&[(System, "0")], "1")).unwrap();
    assert_eq!(with, "<turn>d0</turn><turn>e1</turn><turn>o");
    let turns = [(User, "1"), (Assistant, "2")];
    let own = style.prompt(&text, &chat(&turns, "3")).unwrap();
    assert_eq!(own, "<turn>d9</turn><turn>e1</turn><turn>o2</turn><turn>e3</turn><turn>o");
    let target = style.target(&text, &chat(&turns, "3"), "4", style.end(&text)).unwrap();
    assert_eq!(target.prompt, text.encode("<turn>d9</turn><turn>e1</turn><turn>o").unwrap());
    let plain = PromptStyle { template: Template::None {}, ..PromptStyle::default() };
    let error = plain.prompt(&text, &chat(&turns, "3")).unwrap_err().to_string();
    assert!(error.contains("turns before it, which need"), "{error}");
}

#[test]
fn a_template_that_rewrites_earlier_turns_is_refused() {
    use Role::{Assistant, User};
    let refused = |template: &str, said: &str, words: &str| {
        let text = toy::with_special(&SPECIAL, Some(template));
        let style = PromptStyle::default();
        let problem = chat(&[(User, "1"), (Assistant, said)], "3");
        let error = style.target(&text, &problem, "4", style.end(&text)).unwrap_err().to_string();
        assert!(error.contains("turn 2 cannot be learnt") && error.contains(words), "{error}");
        // A prompt can still be made of it.
        assert!(style.tokens(&text, &problem).is_ok());
    };
    // The number of messages stands first, as a date or a list of tools may.
    refused(&format!("{{{{ messages|length }}}}{ROLES}"), "2", "once more turns follow");
    // Reasoning is left out of all turns but the last, as Qwen3 and R1 do.
    let thoughtless = ROLES.replace("{{ m.content }}", "{{ m.content.split('</think>')[-1] }}");
    refused(&thoughtless, "<think>1</think>2", "does not write it as it was said");
    // An opening tag is written for the next turn only.
    let opened = ROLES.replace("<turn>o{%", "<turn>o<think>{%");
    refused(&opened, "2", "once more turns follow");
    let endless = "{% for m in messages %}<turn>{{ m.content }}{% endfor %}\
        {% if add_generation_prompt %}<turn>{% endif %}";
    refused(endless, "2", "which ends a turn");
    // Trimmed by the template, as Llama 3's does.
    let trims = ROLES.replace("{{ m.content }}", "{{ m.content|trim }}");
    let text = toy::with_special(&SPECIAL, Some(&trims));
    let style = PromptStyle::default();
    let problem = chat(&[(User, "1"), (Assistant, " 2 ")], "3");
    let target = style.target(&text, &problem, "4", style.end(&text)).unwrap();
    assert_eq!(target.learnt.iter().filter(|&&learnt| learnt).count(), 4);
}
