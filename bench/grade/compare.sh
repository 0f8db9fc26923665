#!/usr/bin/env bash
# Sets our grader beside Math-Verify on the same rows, in one run, and prints the table of
# docs/grader.md. Needs python3 with pip, and the rows: cases, adversarial, variants and bulk in
# $STEARIN_DATA/grader.
#
#     STEARIN_DATA=DIR bash bench/grade/compare.sh [--limit ROWS_OF_A_FILE]
set -euo pipefail
cd "$(dirname "$0")/../.."

: "${STEARIN_DATA:?the folder that holds grader/*.jsonl}"
target=${CARGO_TARGET_DIR:-target}
if [ -z "${STEARIN:-}" ]; then
  cargo build --release
  STEARIN=$target/release/stearin
fi
# An environment of its own, made again when the pins change.
pins=bench/grade/requirements.txt
venv=$target/bench-grade-$(cksum < "$pins" | cut -d' ' -f1)
if [ ! -f "$venv/complete" ]; then
  rm -rf "$venv"
  python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet --requirement "$pins"
  touch "$venv/complete"
fi
exec "$venv/bin/python" bench/grade/compare.py --stearin "$STEARIN" "$@"
