//! The engine's tests: one binary.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod adapter;
mod added;
mod blocks;
mod checkpoint;
mod config;
mod decode;
mod disk;
mod ends;
mod exact;
mod export;
mod gguf;
mod gguf_heads;
mod gradients;
mod half;
#[cfg(feature = "hub")]
mod hub;
mod loss;
mod loss_family;
mod model;
mod oracles;
mod packing;
mod peers;
mod places;
mod policy;
mod pre_tokenizer;
mod real;
mod rope_settings;
mod saved_keys;
mod special;
mod stored;
mod stored_weights;
mod stream;
mod support;
mod templates;
mod text;
