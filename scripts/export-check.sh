#!/usr/bin/env bash
# Does `transformers` open what stearin saves, and say the same? Outside the tests: needs pip and
# torch.
#
#   bash scripts/export-check.sh [FOLDER]
#
# The first half writes checkpoints of every family, random and tiny, and of SmolLM2 where
# models/smollm2-135m-instruct.gguf is there, each with stearin's own logits, token ids and rendered
# chat beside it; the second opens them with transformers. Python from $PYTHON, else from a new
# environment.
set -euo pipefail
cd "$(dirname "$0")/.."

out=${1:-$(mktemp -d)}
mkdir -p "$out"
out=$(cd "$out" && pwd)
STEARIN_EXPORT_DIR=$out cargo test --release --package engine --test it -- --ignored --exact real::writes_checkpoints_for_transformers

if [ -z "${PYTHON:-}" ]; then
  python3 -m venv "$out/venv"
  PYTHON=$out/venv/bin/python
  "$PYTHON" -m pip install --quiet --disable-pip-version-check torch transformers
fi
"$PYTHON" scripts/export_check.py "$out"
