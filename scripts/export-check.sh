#!/usr/bin/env bash
# Do `transformers` and llama.cpp open what stearin saves, and say the same? Outside the tests:
# needs pip and torch, and for llama.cpp npm.
#
#   bash scripts/export-check.sh [FOLDER]
#
# The first part writes checkpoints of every family, random and tiny, and of SmolLM2 where
# models/smollm2-135m-instruct.gguf is there, each with stearin's own logits, token ids and rendered
# chat beside it, and each as GGUF files of every type. The second opens the checkpoints with
# transformers: Python from $PYTHON, else from a new environment. The third opens the files with
# llama.cpp: node-llama-cpp from $NODE_MODULES, else installed in FOLDER.
set -euo pipefail
cd "$(dirname "$0")/.."

out=${1:-$(mktemp -d)}
mkdir -p "$out"
out=$(cd "$out" && pwd)
STEARIN_EXPORT_DIR=$out cargo test --release --package engine --test it -- --ignored --exact real::writes_checkpoints_for_others

if [ -z "${PYTHON:-}" ]; then
  python3 -m venv "$out/venv"
  PYTHON=$out/venv/bin/python
  "$PYTHON" -m pip install --quiet --disable-pip-version-check torch transformers
fi
"$PYTHON" scripts/export_check.py "$out"

if [ -z "${NODE_MODULES:-}" ]; then
  if ! command -v npm > /dev/null; then
    echo "npm is not there: GGUF files are not opened with llama.cpp"
    exit
  fi
  npm install --prefix "$out" --silent --no-audit --no-fund --ignore-scripts node-llama-cpp
  NODE_MODULES=$out/node_modules
fi
# Modules are looked for beside the script.
cp scripts/llama_check.mjs "$NODE_MODULES/.."
node "$NODE_MODULES/../llama_check.mjs" "$out"
