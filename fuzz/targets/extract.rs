//! Finding an answer in any response, under every strictness and marker.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rewards::{Extracted, Marker, Strictness, extract};

fuzz_target!(|response: &str| {
    for strictness in [Strictness::Rl, Strictness::Eval] {
        for marker in [Marker::Boxed, Marker::AnswerLine, Marker::Hashes] {
            if let Extracted::Answer(answer) = extract(response, strictness, marker) {
                assert!(answer.len() <= response.len());
            }
        }
    }
});
