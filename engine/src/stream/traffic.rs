//! What has been moved, and how long it took.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Bytes and times since the beginning. The threads work at the same time, so the times overlap.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Traffic {
    /// Bytes read into slots, and of rows of the embedding.
    pub read_bytes: u64,
    /// Seconds of reading, the link's waiting included.
    pub read_seconds: f64,
    /// Bytes written back.
    pub written_bytes: u64,
    /// Seconds of writing, the link's waiting included.
    pub write_seconds: f64,
    /// Seconds that passes waited for a slot.
    pub wait_seconds: f64,
    /// Seconds of deferred updates.
    pub update_seconds: f64,
    /// Seconds that passes held a slot.
    pub compute_seconds: f64,
    /// Slots that were filled.
    pub reads: u64,
    /// Slots that were written back.
    pub writes: u64,
    /// Slots that were filled for a pass that did not come.
    pub unused: u64,
    /// Rows of a streamed embedding that were read.
    pub rows: u64,
}

impl Traffic {
    /// What came after an earlier reading.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            read_bytes: self.read_bytes - earlier.read_bytes,
            read_seconds: self.read_seconds - earlier.read_seconds,
            written_bytes: self.written_bytes - earlier.written_bytes,
            write_seconds: self.write_seconds - earlier.write_seconds,
            wait_seconds: self.wait_seconds - earlier.wait_seconds,
            update_seconds: self.update_seconds - earlier.update_seconds,
            compute_seconds: self.compute_seconds - earlier.compute_seconds,
            reads: self.reads - earlier.reads,
            writes: self.writes - earlier.writes,
            unused: self.unused - earlier.unused,
            rows: self.rows - earlier.rows,
        }
    }
}

/// A number of transfers, with their bytes and time.
#[derive(Debug, Default)]
pub(super) struct Counter {
    times: AtomicU64,
    bytes: AtomicU64,
    nanos: AtomicU64,
}

/// The counters behind [`Traffic`].
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) up: Counter,
    pub(super) down: Counter,
    pub(super) wait: Counter,
    pub(super) update: Counter,
    pub(super) compute: Counter,
    pub(super) unused: Counter,
    /// Rows of the embedding, each of them once.
    pub(super) rows: Counter,
}

impl Counter {
    pub(super) fn add(&self, bytes: usize, took: Duration) {
        self.add_many(1, bytes, took);
    }

    /// Counts several transfers that took a time together.
    pub(super) fn add_many(&self, times: usize, bytes: usize, took: Duration) {
        self.times.fetch_add(times as u64, Ordering::Relaxed);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        self.nanos.fetch_add(took.as_nanos() as u64, Ordering::Relaxed);
    }

    /// Counts what has gone on since `began`.
    pub(super) fn since(&self, bytes: usize, began: Instant) {
        self.add(bytes, began.elapsed());
    }

    fn seconds(&self) -> f64 {
        self.nanos.load(Ordering::Relaxed) as f64 / 1e9
    }
}

impl Counters {
    pub(super) fn read(&self) -> Traffic {
        let number = |number: &AtomicU64| number.load(Ordering::Relaxed);
        Traffic {
            read_bytes: number(&self.up.bytes) + number(&self.rows.bytes),
            read_seconds: self.up.seconds() + self.rows.seconds(),
            written_bytes: number(&self.down.bytes),
            write_seconds: self.down.seconds(),
            wait_seconds: self.wait.seconds(),
            update_seconds: self.update.seconds(),
            compute_seconds: self.compute.seconds(),
            reads: number(&self.up.times),
            writes: number(&self.down.times),
            unused: number(&self.unused.times),
            rows: number(&self.rows.times),
        }
    }
}
