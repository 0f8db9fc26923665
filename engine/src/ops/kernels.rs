//! CPU kernels: the one module whose code may be unsafe, each block with its reason.

pub(crate) mod product;
