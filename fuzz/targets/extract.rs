//! Finding an answer in any response, under every policy and marker.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rewards::{Extracted, Marker, Policy, extract};

fuzz_target!(|response: &str| {
    for policy in [Policy::Rl, Policy::Eval] {
        for marker in [Marker::Boxed, Marker::AnswerLine, Marker::Hashes] {
            if let Extracted::Answer(answer) = extract(response, policy, marker) {
                assert!(answer.len() <= response.len());
            }
        }
    }
});
