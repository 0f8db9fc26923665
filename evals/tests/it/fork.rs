//! Completions that are continued again from one of their tokens.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::sync::Mutex;

use engine::text::Text;
use engine::text::tokenizers::Tokenizer;
use evals::attempt::{Begun, Completion, Sampler, continue_each};
use evals::{PromptStyle, Template};
use rewards::{Outcome, Problem, RubricConfig};
use rollout::{Finish, Key, OnProgress, Purpose, Sampling, to_the_end};
use serde_json::json;

use crate::toy;

const KEY: Key = Key { seed: 5, purpose: Purpose::Fork, step: 2 };

/// One token a byte: those of `1{}` and of `é`, and an end.
fn bytes() -> Text {
    let end = json!({ "id": 5, "content": "<end>", "special": true, "single_word": false,
        "lstrip": false, "rstrip": false, "normalized": false });
    let bytes = json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true,
        "use_regex": false });
    let vocab = json!({ "1": 0, "{": 1, "}": 2, "Ã": 3, "©": 4 });
    let json = json!({
        "version": "1.0",
        "added_tokens": [end],
        "pre_tokenizer": bytes,
        "decoder": bytes,
        "model": { "type": "BPE", "vocab": vocab, "merges": [] },
    });
    Text::new(Tokenizer::from_bytes(json.to_string()).unwrap(), None, vec![5]).unwrap()
}

/// The continuations of `kept` by a policy that knows nothing, by their numbers.
fn continued(
    text: &Text,
    style: &PromptStyle,
    (kept, answer): (&[u32], &str),
    count: usize,
    progress: &mut OnProgress<'_>,
) -> evals::Result<Vec<(usize, Completion)>> {
    let sampling =
        Sampling { max_new_tokens: NonZeroUsize::new(4).unwrap(), ..Sampling::default() };
    let sampler = Sampler {
        model: &toy::model(text),
        text,
        style,
        sampling: &sampling,
        slots: 5,
        alternatives: 0,
        rubric: &RubricConfig::default().build().unwrap(),
    };
    let problem = Problem { answer: answer.into(), ..Problem::default() };
    let begun = Begun { problem: &problem, prompt: &[0, 1], kept, number: 7 };
    let heard = Mutex::new(Vec::new());
    continue_each(&sampler, &begun, count, KEY, progress, &mut |number, one| {
        heard.lock().unwrap().push((number, one));
        Ok(())
    })?;
    let mut heard = heard.into_inner().unwrap();
    heard.sort_by_key(|(number, _)| *number);
    assert!(heard.iter().map(|(number, _)| *number).eq(0..count), "each is heard of once");
    Ok(heard)
}

fn style() -> PromptStyle {
    PromptStyle { template: Template::None {}, ..PromptStyle::default() }
}

#[test]
fn a_character_split_over_the_boundary_is_whole_in_the_text_that_is_judged() {
    let text = bytes();
    let all = continued(&text, &style(), (&[0, 3], "1"), 64, &mut to_the_end).unwrap();
    let (completes, others): (Vec<_>, Vec<_>) =
        all.iter().partition(|(_, one)| one.trajectory.completion[0] == 4);
    assert!(completes.len() > 3 && others.len() > 3);
    for (_, one) in completes {
        assert!(one.text.starts_with("1é"), "{:?}", one.text);
    }
    for (_, one) in others {
        assert!(one.text.starts_with("1\u{fffd}"), "{:?}", one.text);
    }
    let hidden = BTreeSet::from([5]);
    for (_, one) in &all {
        let whole = [&[0, 3], one.trajectory.completion.as_slice()].concat();
        assert_eq!(one.text, text.decode_without(&whole, &hidden).unwrap());
    }
}

#[test]
fn what_is_kept_counts_for_the_verdict_and_for_stop_strings() {
    let text = toy::text();
    let id = |token: &str| text.encode(token).unwrap();
    // The answer is complete already, whatever follows in words.
    let kept = id("\\boxed{7} ");
    let style = PromptStyle { stop: vec![" =".into()], ..style() };
    let all = continued(&text, &style, (&kept, "7"), 64, &mut to_the_end).unwrap();
    let right = all.iter().filter(|(_, one)| one.judged.outcome == Outcome::Correct).count();
    assert!(right > 32, "{right} of 64");
    let equals = id("=")[0];
    let (split, others): (Vec<_>, Vec<_>) =
        all.iter().partition(|(_, one)| one.trajectory.completion[0] == equals);
    assert!(!split.is_empty());
    for (_, one) in split {
        assert_eq!(one.trajectory.finish, Finish::StopString);
        assert_eq!(one.trajectory.completion.len(), 1);
        assert_eq!(one.text, "\\boxed{7} =");
    }
    assert!(others.iter().any(|(_, one)| one.trajectory.completion.len() == 4));
}

#[test]
fn each_continuation_has_its_own_draws_and_a_stop_ends_them() {
    let text = toy::text();
    let kept = text.encode("12").unwrap();
    let fork = |count| continued(&text, &style(), (&kept, "7"), count, &mut to_the_end).unwrap();
    let (few, many) = (fork(6), fork(20));
    assert_eq!(few, many[..6]);
    let different: BTreeSet<_> =
        many.iter().map(|(_, one)| one.trajectory.completion.clone()).collect();
    assert!(different.len() > 15);
    let stopped = continued(&text, &style(), (&kept, "7"), 64, &mut |_| ControlFlow::Break(()));
    assert!(matches!(stopped, Err(evals::Error::Rollout(rollout::Error::Stopped))));
}
