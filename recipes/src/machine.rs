//! What the machine has: threads, memory.

use std::num::NonZeroUsize;
use std::thread::available_parallelism;

/// Fixes the number of threads of this process and returns it: `asked`, else `RAYON_NUM_THREADS`,
/// else all that the machine has.
///
/// Has to come before the first tensor and before any other thread: rayon and Candle read the
/// number once, from the environment.
#[expect(
    unsafe_code,
    reason = "Candle takes its number of threads from the environment and from nowhere else"
)]
pub fn fix_threads(asked: Option<NonZeroUsize>) -> usize {
    let from_environment = || std::env::var("RAYON_NUM_THREADS").ok()?.parse::<NonZeroUsize>().ok();
    let threads = asked
        .or_else(from_environment)
        .or_else(|| available_parallelism().ok())
        .unwrap_or(NonZeroUsize::MIN)
        .get();
    for name in ["RAYON_NUM_THREADS", "CANDLE_NUM_THREADS"] {
        // SAFETY: called by commands before they start a thread, so nobody reads the environment
        // at the same time.
        unsafe { std::env::set_var(name, threads.to_string()) };
    }
    threads
}

/// Memory of the machine, in bytes, all and not in use, where the system says.
pub fn memory() -> Option<(u64, u64)> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    Some((kib_line(&text, "MemTotal:")? * 1024, kib_line(&text, "MemAvailable:")? * 1024))
}

/// Largest resident memory of this process so far, in MiB, where the system says.
pub fn peak_rss_mib() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    Some(kib_line(&text, "VmHWM:")? as f64 / 1024.0)
}

fn kib_line(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.starts_with(name))?;
    line[name.len()..].trim().strip_suffix("kB")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_in_kib() {
        let text = "MemTotal:       24635664 kB\nMemFree:        20000000 kB\n";
        assert_eq!(kib_line(text, "MemTotal:"), Some(24_635_664));
        assert_eq!(kib_line(text, "MemAvailable:"), None);
    }
}
