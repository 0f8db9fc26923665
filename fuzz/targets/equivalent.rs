//! Comparing any two answers: a gold and an answer, apart by a line end.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rewards::{Equivalence, Strictness, equivalent};

fuzz_target!(|pair: &str| {
    let (gold, answer) = pair.split_once('\n').unwrap_or((pair, pair));
    let rl = equivalent(gold, answer, Strictness::Rl);
    let eval = equivalent(gold, answer, Strictness::Eval);
    assert!(rl != Equivalence::Equal || eval == Equivalence::Equal, "a reward but no score");
    for strictness in [Strictness::Rl, Strictness::Eval] {
        let own = equivalent(gold, gold, strictness);
        let unjudged = matches!(own, Equivalence::GoldUnparseable | Equivalence::Limit);
        assert!(unjudged || own == Equivalence::Equal, "a gold that is not itself");
    }
});
