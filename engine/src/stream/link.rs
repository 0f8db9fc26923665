//! How fast blocks move between the master and the slots.

use std::fmt::Debug;
use std::thread;
use std::time::Duration;

use crate::{Error, Result};

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
    up: f64,
    down: f64,
}

impl Throttle {
    /// A link of so many bytes a second from the master to the slots, and so many back.
    ///
    /// # Errors
    ///
    /// Fails on a rate that is not finite or is less than one byte a second.
    pub fn new(up: f64, down: f64) -> Result<Self> {
        for (name, rate) in [("to the slots", up), ("back", down)] {
            if !(rate.is_finite() && rate >= 1.0) {
                return Err(Error::Input(format!(
                    "a link of {rate} bytes a second {name}: expected a finite number of at least 1"
                )));
            }
        }
        Ok(Self { up, down })
    }
}

impl Link for Throttle {
    fn up(&self, bytes: usize, took: Duration) {
        wait(bytes, self.up, took);
    }

    fn down(&self, bytes: usize, took: Duration) {
        wait(bytes, self.down, took);
    }
}

/// Sleeps until bytes would have come over at a rate of at least 1, given the time that they took.
fn wait(bytes: usize, rate: f64, took: Duration) {
    thread::sleep(Duration::from_secs_f64(bytes as f64 / rate).saturating_sub(took));
}
