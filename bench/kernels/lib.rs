//! Nothing: the benchmarks of the kernels stand in `benches`.
