//! Times, rates and memory.

use super::{Spec, t};

pub(super) const TIMINGS: &[Spec] = &[
    t("timing_s/gen", "s", "sampling completions"),
    t("timing_s/reward", "s", "decoding and judging them"),
    t("timing_s/old_log_prob", "s", "scoring completions again with the policy"),
    t("timing_s/ref", "s", "scoring completions with the reference model"),
    t("timing_s/adv", "s", "advantages and token weights"),
    t("timing_s/probe", "s", "sampling and scoring the entropy probe"),
    t("timing_s/update_actor", "s", "forward, backward and optimizer"),
    t("timing_s/testing", "s", "held-out evaluation"),
    t("timing_s/save_checkpoint", "s", "writing the last checkpoint before this step"),
    t("timing_s/step", "s", "the whole step"),
    t("timing_per_token_ms/gen", "ms", "sampling time of a generated token"),
    t("timing_per_token_ms/update_actor", "ms", "update time of a token in the pack"),
    t("time", "s", "when the step was over, since 1970-01-01 UTC"),
    t("perf/total_num_tokens", "tokens", "rows through the update, prompts counted once a pack"),
    t("perf/throughput", "tokens/s", "those rows over the time of the whole step"),
    t("perf/gen_throughput", "tokens/s", "generated tokens over the sampling time"),
    t("perf/peak_rss_mib", "MiB", "largest resident memory of the process so far"),
];
