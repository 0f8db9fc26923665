//! Names that TRL gives to metrics of the table.

use super::matches;

/// Keys of the table with TRL's name for the same thing, as `GRPOTrainer` and `Trainer` of TRL
/// 1.16.0 log them. A part in angle brackets is the same name on both sides.
pub const TRL: &[(&str, &str)] = &[
    ("train/loss", "loss"),
    ("train/grad_norm", "grad_norm"),
    ("train/lr", "learning_rate"),
    ("actor/loss", "loss"),
    ("actor/entropy", "entropy"),
    ("actor/kl_loss", "kl"),
    ("actor/pg_clipfrac", "clip_ratio/region_mean"),
    ("actor/grad_norm", "grad_norm"),
    ("actor/lr", "learning_rate"),
    ("training/epoch", "epoch"),
    ("critic/rewards/mean", "reward"),
    ("reward/part/<verifier>", "rewards/<verifier>/mean"),
    ("reward/group/zero_spread", "frac_reward_zero_std"),
    ("response_length/mean", "completions/mean_length"),
    ("response_length/min", "completions/min_length"),
    ("response_length/max", "completions/max_length"),
    ("response_length/clip_ratio", "completions/clipped_ratio"),
    ("rollout_corr/log_prob_gap_mean", "sampling/sampling_logp_difference/mean"),
    ("rollout_corr/log_prob_gap_max", "sampling/sampling_logp_difference/max"),
    ("rollout_corr/rollout_is_min", "sampling/importance_sampling_ratio/min"),
    ("rollout_corr/rollout_is_mean", "sampling/importance_sampling_ratio/mean"),
    ("rollout_corr/rollout_is_max", "sampling/importance_sampling_ratio/max"),
    ("timing_s/step", "step_time"),
];

/// TRL's name for a key; none where TRL has no such metric.
pub fn trl_name(key: &str) -> Option<String> {
    let (ours, theirs) = TRL.iter().find(|(ours, _)| matches(ours, key))?;
    let Some(at) = ours.find('<') else { return Some((*theirs).to_owned()) };
    let name = &key[at..];
    Some(theirs.replace(&ours[at..], name))
}

/// The key of a metric of an RL stage that TRL gives this name; none where there is none.
pub fn our_name(name: &str) -> Option<String> {
    TRL.iter().filter(|(ours, _)| !ours.starts_with("train/")).find_map(|(ours, theirs)| {
        let Some(at) = ours.find('<') else { return (*theirs == name).then(|| (*ours).to_owned()) };
        let (before, after) = theirs.split_once(&ours[at..])?;
        let own = name.strip_prefix(before)?.strip_suffix(after)?;
        (!own.is_empty()).then(|| format!("{}{own}", &ours[..at]))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::TABLE;

    #[test]
    fn every_row_is_one_of_the_table() {
        for (ours, _) in TRL {
            assert!(TABLE.iter().any(|spec| spec.key == *ours), "{ours}");
        }
    }

    #[test]
    fn two_keys_of_one_stage_never_get_one_name() {
        let supervised = |key: &str| key.starts_with("train/");
        for (at, (ours, theirs)) in TRL.iter().enumerate() {
            let is_free = TRL[..at]
                .iter()
                .all(|(other, name)| name != theirs || supervised(other) != supervised(ours));
            assert!(is_free, "{theirs}");
            // Nor the name of another key of ours, which may keep it.
            assert!(TABLE.iter().all(|spec| !matches(spec.key, theirs)), "{theirs}");
        }
    }

    #[test]
    fn a_name_of_trl_leads_back_to_its_key() {
        for (ours, _) in TRL.iter().filter(|(ours, _)| !ours.starts_with("train/")) {
            let key = ours.replace("<verifier>", "a b");
            assert_eq!(our_name(&trl_name(&key).unwrap()), Some(key));
        }
        assert_eq!(our_name("rewards/len_fn/std"), None);
        assert_eq!(our_name("rewards//mean"), None);
    }

    #[test]
    fn a_bracketed_part_moves_with_its_name() {
        assert_eq!(trl_name("reward/part/answer").as_deref(), Some("rewards/answer/mean"));
        assert_eq!(trl_name("actor/entropy").as_deref(), Some("entropy"));
        assert_eq!(trl_name("stare/gate_on"), None);
    }
}
