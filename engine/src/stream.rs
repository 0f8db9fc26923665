//! Weights that are changed, or fetched, on their way to a pass.
//!
//! A [`Transform`] computes other values of the trainable parameters. [`Perturbed`] applies one to
//! the weights of every pass of a policy, in [`Scratch`] memory of one block, and never writes the
//! weights themselves. The functions of [`crate::lockstep`] advance several passes together, so
//! that one block of weights serves all.
//!
//! [`Streamed`] weights are kept in a [`Master`], in memory or in a file, and fetched a block at a
//! time into a ring of slots. An update is a [`Transform`], too: it is applied to a block when that
//! is fetched next. Results equal those of resident weights to the bit.
//!
//! Source: arXiv 2503.12668 for the order of the operations: update, probes, write-back.

mod arena;
mod disk;
mod file;
mod hazards;
pub(crate) mod in_place;
mod link;
mod master;
mod needs;
mod passes;
mod perturbed;
mod ring;
mod setting;
mod streamed;
mod table;
mod terms;
#[cfg(test)]
mod tests;
mod traffic;
mod transform;
mod units;

pub use arena::{Arena, Share};
pub use disk::Access;
pub use link::{Link, Throttle, Unlimited};
pub use master::Master;
pub use needs::Needs;
pub(crate) use passes::STREAMED_ROWS;
pub use passes::{Load, PassTerms, Sampling};
pub(crate) use perturbed::Lease;
pub use perturbed::{Perturbed, Scratch};
pub use setting::{Ends, Options};
pub use streamed::Streamed;
pub use terms::{Terms, Times};
pub use traffic::Traffic;
pub use transform::{PIECE, Transform};
