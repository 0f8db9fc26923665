use serde::{Deserialize, Serialize};

use super::FORMAT;
use crate::identity::Files;

/// What a run's numbers may depend on besides its recipe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Environment {
    /// Version of this file.
    pub format: u32,
    /// Version of stearin.
    pub stearin: String,
    /// Commit it was built from; empty where it was not known.
    pub commit: String,
    /// The compiler.
    pub rustc: String,
    /// Version of Candle.
    pub candle: String,
    /// Operating system.
    pub os: String,
    /// Processor family.
    pub arch: String,
    /// What the processor can do, of that which chooses between kernels.
    pub cpu_features: Vec<String>,
    /// Threads that share a matrix product; sums depend on it.
    pub threads: usize,
    /// What multiplies in bf16, where the run does so on a CPU; sums depend on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bf16_kernel: Option<String>,
    /// What the run read from files; none in runs from before it was recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<Files>,
    /// Files that were other ones when the run was resumed, as its user accepted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub accepted: Vec<Accepted>,
}

/// Changed files that a resume was told to accept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    /// Steps done before.
    pub step: u64,
    /// What differed, one line a file.
    pub changes: Vec<String>,
}

impl Environment {
    /// This process, computing with `threads` threads.
    pub fn of_this_process(threads: usize) -> Self {
        Self {
            format: FORMAT,
            stearin: env!("CARGO_PKG_VERSION").into(),
            commit: env!("STEARIN_COMMIT").into(),
            rustc: env!("STEARIN_RUSTC").into(),
            candle: env!("STEARIN_CANDLE").into(),
            os: std::env::consts::OS.into(),
            arch: std::env::consts::ARCH.into(),
            cpu_features: cpu_features(),
            threads,
            bf16_kernel: None,
            files: None,
            accepted: Vec::new(),
        }
    }
}

impl Environment {
    /// What else than threads, kernel and files is not as it was `then`: a run that goes on under
    /// it may differ in its last digits.
    pub fn changes_since(&self, then: &Self) -> Vec<String> {
        let now_then = [
            ("stearin", &self.stearin, &then.stearin),
            ("commit", &self.commit, &then.commit),
            ("rustc", &self.rustc, &then.rustc),
            ("candle", &self.candle, &then.candle),
            ("os", &self.os, &then.os),
            ("arch", &self.arch, &then.arch),
            ("cpu_features", &self.cpu_features.join(" "), &then.cpu_features.join(" ")),
        ];
        now_then
            .into_iter()
            .filter(|(_, now, then)| now != then)
            .map(|(name, now, then)| format!("{name}: {then} then, {now} now"))
            .collect()
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
        let then = Environment { commit: "a".into(), ..Environment::of_this_process(1) };
        let now = Environment { commit: "b".into(), threads: 2, ..then.clone() };
        assert_eq!(now.changes_since(&then), ["commit: a then, b now"]);
        assert!(then.changes_since(&then).is_empty());
    }
}
