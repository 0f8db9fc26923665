# The commands of everyday work. `just` is optional: each line works by itself.

# List the recipes.
default:
    @just --list

# Before a commit: formatting, clippy, docs.
check:
    bash .ci/run fmt lint doc

# The whole test suite, as the README says it.
test:
    cargo test --release --workspace

# One room alone, e.g. `just room rewards`.
room name:
    cargo test --release -p {{name}}

# Everything that has to pass before a change lands.
ci:
    bash .ci/run

# Type-check the CUDA build without a CUDA toolkit.
cuda-check:
    bash .ci/run cuda

# Fetch the small real model into models/ (ignored by git).
weights:
    bash scripts/fetch-smollm2.sh
