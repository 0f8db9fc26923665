//! Matrix products.

pub mod bf16;
