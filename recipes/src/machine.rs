//! What the machine has: threads, memory.

use std::env;
use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::thread::available_parallelism;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Result, bail};
use sysinfo::{MemoryRefreshKind, RefreshKind, System};

/// Seconds since 1970-01-01 UTC, for people and readers alone.
#[expect(clippy::disallowed_methods, reason = "no result depends on it")]
pub(crate) fn now() -> f64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    // Microseconds: the digits beyond are noise, and take space in every line.
    (since.as_secs_f64() * 1e6).round() / 1e6
}

/// The machine's name; empty where the system does not say.
pub(crate) fn host() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().to_owned()
}

/// Threads, at most. Each is started at once and takes memory, so a slip of the finger could take
/// the machine down.
const MOST_THREADS: usize = 1024;

/// Fixes the number of threads of this process and returns it: `asked`, else `RAYON_NUM_THREADS`,
/// else all that the machine has.
///
/// Has to come before the first tensor and before any other thread: rayon and Candle read the
/// number once, from the environment.
///
/// # Errors
///
/// Fails, and fixes nothing, when the number is above 1,024, or that of the environment is none.
#[expect(
    unsafe_code,
    reason = "Candle takes its number of threads from the environment and from nowhere else"
)]
pub fn fix_threads(asked: Option<NonZeroUsize>) -> Result<usize> {
    let all = available_parallelism().map_or(1, NonZeroUsize::get);
    let threads = threads(asked, env::var_os("RAYON_NUM_THREADS"), all)?;
    for name in ["RAYON_NUM_THREADS", "CANDLE_NUM_THREADS"] {
        // SAFETY: called by commands before they start a thread, so nobody reads the environment
        // at the same time.
        unsafe { env::set_var(name, threads.to_string()) };
    }
    Ok(threads)
}

/// The number of threads: `asked`, else that of the environment, else `all`. As for rayon, nothing
/// and 0 in the environment mean all.
fn threads(
    asked: Option<NonZeroUsize>,
    environment: Option<OsString>,
    all: usize,
) -> Result<usize> {
    let environment = environment.unwrap_or_default();
    let environment = environment.to_string_lossy();
    let (name, threads) = match (asked, environment.as_ref()) {
        (Some(asked), _) => ("threads", Some(asked.get())),
        (None, "" | "0") => return Ok(all.min(MOST_THREADS)),
        (None, text) => ("RAYON_NUM_THREADS", text.parse().ok()),
    };
    match threads {
        Some(threads) if threads <= MOST_THREADS => Ok(threads),
        _ => {
            let got = threads.map_or_else(|| format!("`{environment}`"), |n| n.to_string());
            bail!(
                "{name}: expected a whole number up to {MOST_THREADS}, got {got}; leave it out to use \
                 all {all} of this machine"
            )
        }
    }
}

/// Memory of the machine, in bytes, all and not in use, where the system says.
pub fn memory() -> Option<(u64, u64)> {
    let ram = RefreshKind::nothing().with_memory(MemoryRefreshKind::nothing().with_ram());
    let system = System::new_with_specifics(ram).ok()?;
    let all = system.total_memory();
    (all > 0).then(|| (all, system.available_memory()))
}

/// Largest resident memory of this process so far, in MiB, where the system says.
#[cfg(target_os = "linux")]
pub fn peak_rss_mib() -> Option<f64> {
    // Not getrusage: what the program had before exec counts there.
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    Some(kib_line(&text, "VmHWM:")? as f64 / 1024.0)
}

/// Largest resident memory of this process so far, in MiB, where the system says.
#[cfg(all(unix, not(target_os = "linux")))]
pub fn peak_rss_mib() -> Option<f64> {
    use nix::sys::resource::{UsageWho, getrusage};

    // In bytes on the systems of Apple, in KiB on the others.
    let unit = if cfg!(target_vendor = "apple") { 1.0 } else { 1024.0 };
    let peak = getrusage(UsageWho::RUSAGE_SELF).ok()?.max_rss();
    Some(peak as f64 * unit / f64::from(1 << 20))
}

/// Largest resident memory of this process so far, in MiB, where the system says.
#[cfg(not(unix))]
pub fn peak_rss_mib() -> Option<f64> {
    None
}

#[cfg(target_os = "linux")]
fn kib_line(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.starts_with(name))?;
    line[name.len()..].trim().strip_suffix("kB")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_are_bounded_wherever_their_number_comes_from() {
        let number = |asked, environment: &str| {
            let environment = Some(environment.into()).filter(|text: &OsString| !text.is_empty());
            threads(NonZeroUsize::new(asked), environment, 6).map_err(|error| error.to_string())
        };
        assert_eq!(number(0, ""), Ok(6));
        assert_eq!(number(0, "0"), Ok(6));
        assert_eq!(number(0, "3"), Ok(3));
        assert_eq!(number(1024, "3"), Ok(1024));
        assert_eq!(threads(None, None, 5000).unwrap(), 1024);
        let most = "expected a whole number up to 1024, got";
        for (asked, environment, expected) in [
            (1025, "3", format!("threads: {most} 1025;")),
            (i64::MAX as usize, "", format!("threads: {most} 9223372036854775807;")),
            (0, "1025", format!("RAYON_NUM_THREADS: {most} 1025;")),
            (0, "99999999999999999999", format!("RAYON_NUM_THREADS: {most} `9999999999999999")),
            (0, "two", format!("RAYON_NUM_THREADS: {most} `two`;")),
            (0, "-1", format!("RAYON_NUM_THREADS: {most} `-1`;")),
        ] {
            let error = number(asked, environment).unwrap_err();
            assert!(error.starts_with(&expected), "{error}");
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn the_machine_has_the_memory_that_the_system_says() {
        let text = std::fs::read_to_string("/proc/meminfo").unwrap();
        let (all, free) = memory().unwrap();
        assert_eq!(Some(all), kib_line(&text, "MemTotal:").map(|kib| kib * 1024));
        assert!(0 < free && free < all, "{free} of {all}");
        assert_eq!(kib_line(&text, "MemNothing:"), None, "no such line");
    }

    #[test]
    fn the_peak_is_one_of_memory_that_was_touched() {
        const MIB: usize = 64;
        let before = peak_rss_mib().unwrap();
        let filled = vec![1_u8; MIB << 20];
        assert_eq!(
            std::hint::black_box(&filled).iter().map(|&one| usize::from(one)).sum::<usize>(),
            MIB << 20
        );
        drop(filled);
        let after = peak_rss_mib().unwrap();
        assert!(after >= before && after > MIB as f64 && after < 1e5, "{before} {after}");
    }
}
