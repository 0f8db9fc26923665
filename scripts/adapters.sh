#!/usr/bin/env bash
# The experiment of docs/adapters.md: does an adapter learn as all weights do? GRPO on sums with
# SmolLM2-135M-Instruct: all weights, and adapters of rank 1, 8 and 32 on the base as its file has
# it (Q4_1), decoded to f32, and with products in bf16.
#
#   bash scripts/adapters.sh                        # every run of the list
#   bash scripts/adapters.sh full-f32-s1 r8-q4_1-s2 # these
#   bash scripts/adapters.sh --table                # the table of the runs that are finished
#
# A run is WEIGHTS-BASE-sSEED in runs/adapters/. It may be interrupted: the next call resumes it.
# STEARIN names the binary.
set -euo pipefail
cd "$(dirname "$0")/.."

runs=runs/adapters

list() {
  local seed weights base
  for seed in 1 2 3; do
    echo "full-f32-s$seed"
    for weights in r8 r1 r32; do echo "$weights-q4_1-s$seed"; done
    echo "full-bf16-s$seed"
    echo "r8-bf16-s$seed"
  done
  # Equal to those on the file's blocks, to the bit.
  echo "r8-f32-s1"
}

# The arguments of `stearin train` for a run.
arguments() {
  local weights base seed
  [[ $1 =~ ^(full|r[0-9]+)-(f32|bf16|q4_1)-s([0-9]+)$ ]] || { echo "$1: expected WEIGHTS-BASE-sSEED" >&2; exit 2; }
  weights=${BASH_REMATCH[1]} base=${BASH_REMATCH[2]} seed=${BASH_REMATCH[3]}
  case $weights in
    full) echo recipes/smollm2-arithmetic.toml ;;
    *) echo recipes/lora-smollm2-sums.toml --set "model.adapter.rank=${weights#r}" ;;
  esac
  case $base in
    q4_1) echo --set model.base=as-stored ;;
    bf16) echo --set model.dtype=bf16 ;;
  esac
  echo --set "seed=$seed" --set eval.every=60
}

one() {
  local folder=$runs/$1 resume=()
  if grep -q '"state": "finished"' "$folder/status.json" 2> /dev/null; then return; fi
  if [ -n "$(find "$folder/checkpoints" -maxdepth 1 -name 'step-*' 2> /dev/null)" ]; then
    resume=(--resume)
  else
    # Stopped before its first checkpoint: there is nothing to go on from.
    rm -rf "$folder"
  fi
  echo "$1"
  mkdir -p "$runs"
  # shellcheck disable=SC2046
  "$STEARIN" train $(arguments "$1") --run-dir "$folder" "${resume[@]}" >> "$runs/$1.log" 2>&1
}

if [ "${1:-}" = --table ]; then
  exec python3 scripts/adapters_table.py "$runs"
fi
if [ -z "${STEARIN:-}" ]; then
  cargo build --release --package recipes
  STEARIN=${CARGO_TARGET_DIR:-target}/release/stearin
fi
for name in ${*:-$(list)}; do one "$name"; done
python3 scripts/adapters_table.py "$runs"
