//! The server as a client sees it, on records that are written by hand.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bounds;
mod client;
mod compare;
mod damage;
mod foreign;
