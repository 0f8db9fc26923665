//! Of evaluations on held-out problems.

use super::{Spec, m};

pub(super) const HELD_OUT: &[Spec] = &[
    m(
        "val-core/<set>/acc/mean@<samples>",
        "1",
        "held-out accuracy, mean over samples and problems",
    ),
    m("val-aux/<set>/acc/low", "1", "lower end of the accuracy's 95 % interval over problems"),
    m("val-aux/<set>/acc/high", "1", "upper end of the accuracy's 95 % interval over problems"),
    m(
        "val-aux/<set>/pass@<k>",
        "1",
        "chance that one of k held-out completions is correct, unbiased (arXiv 2107.03374)",
    ),
    m("val-aux/<set>/pass@<k>/low", "1", "lower end of its 95 % interval over problems"),
    m("val-aux/<set>/pass@<k>/high", "1", "upper end of its 95 % interval over problems"),
    m(
        "val-aux/<set>/distinct_correct",
        "completions",
        "correct held-out completions of a problem with different texts, mean over problems",
    ),
    m(
        "val-aux/<set>/distinct_correct/low",
        "completions",
        "lower end of its 95 % interval over problems",
    ),
    m(
        "val-aux/<set>/distinct_correct/high",
        "completions",
        "upper end of its 95 % interval over problems",
    ),
    m(
        "val-aux/<set>/maj@<k>",
        "1",
        "chance that the majority of k held-out completions is correct, ties shared",
    ),
    m("val-aux/<set>/maj@<k>/low", "1", "lower end of its 95 % interval over problems"),
    m("val-aux/<set>/maj@<k>/high", "1", "upper end of its 95 % interval over problems"),
    m("val-aux/<set>/greedy", "1", "share of problems that the likeliest completion solves"),
    m("val-aux/<set>/greedy/low", "1", "lower end of its 95 % interval over problems"),
    m("val-aux/<set>/greedy/high", "1", "upper end of its 95 % interval over problems"),
    m(
        "val-core/<set>/<source>/acc/mean@<samples>",
        "1",
        "held-out accuracy on the problems of this source, where the set has several",
    ),
    m("val-aux/<set>/<source>/acc/low", "1", "lower end of its 95 % interval over problems"),
    m("val-aux/<set>/<source>/acc/high", "1", "upper end of its 95 % interval over problems"),
    m("val-aux/<set>/<source>/problems", "problems", "problems of this source that were judged"),
    m("val-aux/<set>/reward/mean", "1", "mean held-out reward, all verifiers weighted"),
    m("val-aux/<set>/reward/low", "1", "lower end of its 95 % interval over problems"),
    m("val-aux/<set>/reward/high", "1", "upper end of its 95 % interval over problems"),
    m("val-aux/<set>/response_length/mean", "tokens", "mean length of held-out completions"),
    m("val-aux/<set>/response_length/low", "tokens", "lower end of its 95 % interval"),
    m("val-aux/<set>/response_length/high", "tokens", "upper end of its 95 % interval"),
    m("val-aux/<set>/response_length/clip_ratio", "1", "share of them cut at the limit"),
    m("val-aux/<set>/outcome/<outcome>", "1", "share of held-out completions with this outcome"),
];
