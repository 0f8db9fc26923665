//! Completions of which the beginning is given.
use std::num::NonZeroUsize;

use candle::DType;
use engine::Family;
use rollout::scheduler::SequenceId;
use rollout::{Finish, Generator, Request, Sampling, Stop, to_the_end};

use crate::generate::{config, generator, model, one, requests, run, sampling};

#[test]
fn a_completion_goes_on_from_its_own_beginning_as_it_did() {
    let model = model(config(Family::Qwen3), DType::F32);
    let sampling = Sampling { min_new_tokens: 6, top_p: 0.95, ..sampling(24) };
    for (request, group) in requests().iter().zip(run(&model, &requests(), &sampling, 16)) {
        for (sibling, whole) in group.trajectories.iter().enumerate() {
            for kept in [0, 1, 5, whole.completion.len() - 1] {
                let prefix = whole.completion[..kept].to_vec();
                // Draws go by the sibling, so it is asked for with those before it.
                let request = Request { prefix, group_size: sibling + 1, ..request.clone() };
                let left = NonZeroUsize::new(24 - kept).unwrap();
                let least = sampling.min_new_tokens.saturating_sub(kept);
                let rest =
                    Sampling { max_new_tokens: left, min_new_tokens: least, ..sampling.clone() };
                let group = run(&model, &[request], &rest, 3).swap_remove(0);
                let continued = &group.trajectories[sibling];
                assert_eq!(continued.completion, whole.completion[kept..], "after {kept}");
                assert_eq!(continued.log_probs, whole.log_probs[kept..]);
                assert_eq!(continued.entropies, whole.entropies[kept..]);
                assert_eq!(continued.finish, whole.finish);
            }
        }
    }
}

/// Ends a completion whose last two tokens are these.
struct Pair(u32, u32);

impl Stop for Pair {
    fn stops(&self, completion: &[u32]) -> bool {
        completion.ends_with(&[self.0, self.1])
    }
}

#[test]
fn limits_count_what_is_new_and_stops_see_the_whole() {
    let model = model(config(Family::Llama), DType::F32);
    let request = Request { prefix: vec![5; 20], ..one() };
    let four = sampling(4);
    let without = run(&model, std::slice::from_ref(&request), &four, 1).swap_remove(0);
    assert!(without.trajectories[0].completion.len() <= 4);
    assert_eq!(without.prompt, [1]);
    let first = without.trajectories[0].completion[0];
    let stop = Pair(5, first);
    let stopping = Generator { stop: Some(&stop), stop_tokens: &[], ..generator(&model, &four, 1) };
    let ended = stopping.generate(std::slice::from_ref(&request), &mut to_the_end).unwrap();
    assert_eq!(ended[0].trajectories[0].completion, [first]);
    assert_eq!(ended[0].trajectories[0].finish, Finish::StopString);
    // The context counts everything.
    let near = Request { prefix: vec![5; 93], ..one() };
    let free = Generator { stop_tokens: &[], ..generator(&model, &four, 1) };
    let cut = free.generate(&[near], &mut to_the_end).unwrap();
    assert_eq!(cut[0].trajectories[0].completion.len(), 2);
    let error = |prefix: Vec<u32>| {
        let generator = generator(&model, &four, 1);
        let request = Request { prefix, ..one() };
        generator.generate(&[request], &mut to_the_end).unwrap_err().to_string()
    };
    assert!(error(vec![5; 95]).contains("96 tokens leaves no room in the model's context of 96"));
    assert!(error(vec![5, 41]).contains("token 41 of the prefix is outside"));
}

#[test]
fn completions_are_handed_over_one_by_one() {
    let model = model(config(Family::Llama), DType::F32);
    let sampling = sampling(30);
    let whole = run(&model, &requests(), &sampling, 2);
    let mut heard = Vec::new();
    let mut complete = |id: SequenceId, trajectory| {
        heard.push((id, trajectory));
        Ok::<_, rollout::Error>(())
    };
    let generator = generator(&model, &sampling, 2);
    generator.generate_sequences(&requests(), &mut to_the_end, &mut complete).unwrap();
    assert!(!heard.is_sorted_by_key(|(id, _)| *id), "they come as they end");
    heard.sort_by_key(|(id, _)| *id);
    let all = whole.iter().flat_map(|group| &group.trajectories);
    assert!(heard.iter().map(|(_, trajectory)| trajectory).eq(all));
}
