//! How fast blocks move between the master and the slots.

use std::fmt::Debug;
use std::thread;
use std::time::Duration;

/// What stands between the master and the slots. It is told of every transfer, on the thread that
/// made it, and may wait.
pub trait Link: Debug + Send + Sync {
    /// So many bytes were read into a slot, in the time given.
    fn up(&self, bytes: usize, took: Duration);

    /// So many bytes were written back to the master, in the time given.
    fn down(&self, bytes: usize, took: Duration);
}

/// As fast as the master is.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unlimited;

impl Link for Unlimited {
    fn up(&self, _: usize, _: Duration) {}

    fn down(&self, _: usize, _: Duration) {}
}

/// A link of a given speed in each direction, for measurements: a thread sleeps until the transfer
/// would have ended, so it takes no time from the computation.
#[derive(Debug, Clone, Copy)]
pub struct Throttle {
    /// Bytes a second from the master to the slots.
    pub up: f64,
    /// Bytes a second back.
    pub down: f64,
}

impl Link for Throttle {
    fn up(&self, bytes: usize, took: Duration) {
        thread::sleep(Duration::from_secs_f64(bytes as f64 / self.up).saturating_sub(took));
    }

    fn down(&self, bytes: usize, took: Duration) {
        thread::sleep(Duration::from_secs_f64(bytes as f64 / self.down).saturating_sub(took));
    }
}
