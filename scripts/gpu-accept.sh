#!/usr/bin/env bash
# What to run on a machine with an NVIDIA GPU, a driver and the CUDA toolkit (nvcc; 12.8 to 13.4).
#
# No machine with a GPU has run this yet: the CUDA build is type-checked in every run of `.ci/run`,
# and that is all that is known of it. Read a failure here as news, and a pass as the first one.
set -euo pipefail
cd "$(dirname "$0")/.."

for tool in nvidia-smi nvcc cargo; do
  command -v "$tool" > /dev/null || { echo "$tool is not on the PATH" >&2; exit 2; }
done
nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv
nvcc --version | tail -2

# A target directory of its own: nothing made by the stand-in nvcc can get in.
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-target}/cuda
bin=$CARGO_TARGET_DIR/release/stearin

echo "== build"
cargo build --release --features cuda

echo "== what the binary says of the machine"
"$bin" doctor

echo "== tests, on the CPU: the feature must not change them"
cargo test --release --workspace --features cuda

echo "== a real model on the GPU: transformers' logits, greedy tokens, rollouts against training"
bash scripts/fetch-smollm2.sh
STEARIN_TEST_DEVICE=cuda cargo test --release --workspace --features cuda --test it real:: -- \
  --nocapture --test-threads 1

echo "== the quickstart on the GPU: the accuracy has to rise as it does on the CPU"
run=$(mktemp -d)/run
"$bin" train recipes/quickstart.toml --set model.device=cuda --run-dir "$run"
grep -H accuracy "$run"/evals/*/*.json
