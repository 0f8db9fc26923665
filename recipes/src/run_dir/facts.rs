//! `run.json` of this process.

use std::hash::{BuildHasher as _, RandomState};

use evals::run::{FORMAT, Facts};

use crate::machine::now;

/// A run that this process begins, computing with `threads` threads; what is of its recipe is left
/// open.
pub fn of_this_process(threads: usize) -> Facts {
    Facts {
        format: FORMAT,
        kind: "train".into(),
        name: String::new(),
        // The standard library draws the keys of its hash maps from the system.
        id: format!("{:016x}", RandomState::new().hash_one(std::process::id())),
        created: now() as u64,
        command: String::new(),
        seed: 0,
        stearin: env!("CARGO_PKG_VERSION").into(),
        commit: env!("STEARIN_COMMIT").into(),
        rustc: env!("STEARIN_RUSTC").into(),
        candle: env!("STEARIN_CANDLE").into(),
        os: std::env::consts::OS.into(),
        arch: std::env::consts::ARCH.into(),
        cpu_features: cpu_features(),
        threads,
        device: String::new(),
        bf16_kernel: None,
        model: None,
        problems: std::collections::BTreeMap::default(),
        files: None,
        accepted: Vec::new(),
    }
}

#[cfg(target_arch = "x86_64")]
fn cpu_features() -> Vec<String> {
    let found = [
        ("avx2", is_x86_feature_detected!("avx2")),
        ("fma", is_x86_feature_detected!("fma")),
        ("avx512f", is_x86_feature_detected!("avx512f")),
        ("avx512vnni", is_x86_feature_detected!("avx512vnni")),
        ("avx512bf16", is_x86_feature_detected!("avx512bf16")),
    ];
    found.into_iter().filter(|(_, is_there)| *is_there).map(|(name, _)| name.into()).collect()
}

#[cfg(not(target_arch = "x86_64"))]
fn cpu_features() -> Vec<String> {
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_build_is_noticed_and_threads_are_left_to_others() {
        let then = Facts { commit: "a".into(), ..of_this_process(1) };
        let now = Facts { commit: "b".into(), threads: 2, ..then.clone() };
        assert_eq!(now.changes_since(&then), ["commit: a then, b now"]);
        assert!(then.changes_since(&then).is_empty());
    }

    #[test]
    fn every_run_has_a_name_of_its_own() {
        let (one, other) = (of_this_process(1), of_this_process(1));
        assert!(one.id.len() == 16 && one.id != other.id, "{} {}", one.id, other.id);
    }
}
