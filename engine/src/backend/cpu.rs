//! The model on plain slices: `f32` on a CPU, every operation with its own backward.

mod copies;
mod kv;
mod linear;
mod rows;
mod slices;

pub(crate) mod block;
pub(crate) mod decode;
pub(crate) mod head;
pub(crate) mod prefill;
pub(crate) mod trunk;

pub use kernels::attention::{Attended, Heads, attention, attention_backward};
pub use kernels::threads::Threads;
pub(crate) use kv::KvBlock;
pub use linear::Weight;
pub use rows::{rms_norm, rms_norm_backward, rope, swiglu, swiglu_backward};
pub(crate) use slices::{Lent, values, with};
