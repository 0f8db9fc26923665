//! The binary `stearin`.

fn main() {}
