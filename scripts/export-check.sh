#!/usr/bin/env bash
# Do transformers, PEFT and llama.cpp open what stearin writes, and compute the same? And does
# stearin open what PEFT writes? A stage of `.ci/run`; needs cargo, pip for the first two, npm for
# llama.cpp.
#
#   bash scripts/export-check.sh [FOLDER]
#
# The first part writes models and adapters with stearin's own logits: of every family, random and
# tiny, and of SmolLM2 where models/smollm2-135m-instruct.gguf is there. The others open them, and
# print a table: the largest difference of a logit over the largest logit, and the largest
# difference of a log-prob. Rows called `control` are of files that are spoilt on purpose; such a
# row passes when the difference is seen. The files are left in FOLDER, if it is given.
#
# Programs are fetched to the target directory once and used again while their versions in
# scripts/export do not change. What cannot be fetched, or takes longer than INSTALL_SECONDS each,
# is left out, with a message. $PYTHON and $NODE_MODULES are used instead of a fetch.
set -euo pipefail
cd "$(dirname "$0")/.."
here=scripts/export
target=${CARGO_TARGET_DIR:-target}
patience=${INSTALL_SECONDS:-1800}

if [ $# -gt 0 ]; then
  out=$1
  mkdir -p "$out"
else
  out=$(mktemp -d)
  trap 'rm -rf "$out"' EXIT
fi
out=$(cd "$out" && pwd)
export STEARIN_EXPORT_DIR=$out

# The same build as of all tests, so that nothing is compiled twice. A test of that name has to be
# there: cargo is content with none.
peers() {
  cargo test --quiet --release --workspace --test it -- --ignored --exact --nocapture "peers::$1" | tee "$out/log"
  grep -q "^test result: ok. 1 passed" "$out/log" || {
    echo "peers::$1: there is no such test, or it failed" >&2
    return 1
  }
}

# fetch FOLDER COMMAND...: runs the command once; `complete` says that it came to its end.
fetch() {
  local folder=$1
  shift
  [ -f "$folder/complete" ] && return
  rm -rf "$folder"
  mkdir -p "$folder"
  "$@" "$folder" && touch "$folder/complete" && return
  rm -rf "$folder"
  return 1
}

fetch_python() {
  python3 -m venv "$1" && timeout "$patience" "$1/bin/pip" install --quiet --disable-pip-version-check \
    --retries 1 --no-deps --requirement $here/requirements.txt && "$1/bin/python" $here/without_cuda.py
}

# Of the packages with llama.cpp, that for this machine: those for GPUs are ten times as large.
fetch_node() {
  local version platform
  version=$(sed -n 's/.*"node-llama-cpp": "\(.*\)".*/\1/p' $here/package.json)
  platform=$(node -p '({ darwin: "mac", win32: "win" }[process.platform] ?? process.platform) + "-" + process.arch') || return
  [ "$platform" = mac-arm64 ] && platform=mac-arm64-metal
  cp $here/package.json "$1" && timeout "$patience" npm install --prefix "$1" --omit=optional --silent --no-audit \
    --no-fund --ignore-scripts --no-save --fetch-retries=1 --fetch-retry-mintimeout=1000 "@node-llama-cpp/$platform@$version"
}

peers writes_files_for_others
checked=0 failed=0

python=$target/export-check-python-$(cksum < $here/requirements.txt | cut -d' ' -f1)
if [ -n "${PYTHON:-}" ] || { command -v python3 > /dev/null && fetch "$python" fetch_python; }; then
  "${PYTHON:-$python/bin/python}" $here/check.py "$out" || failed=1
  peers opens_what_peft_saved || failed=1
  checked=1
else
  echo "PEFT and transformers could not be installed within $patience s, for which pip, cc and readelf are needed:" \
    "they are not checked"
fi

node=$target/export-check-node-$(cksum < $here/package.json | cut -d' ' -f1)
if [ -n "${NODE_MODULES:-}" ]; then
  node=$(dirname "$NODE_MODULES")
fi
has_node() { command -v npm node > /dev/null && node -e 'process.exit(Number(parseInt(process.versions.node) < 20))'; }
if [ -d "$node/node_modules/node-llama-cpp" ] || { has_node && fetch "$node" fetch_node; }; then
  # Modules are looked for beside the script.
  cp $here/check.mjs "$node"
  node "$node/check.mjs" "$out" || failed=1
  checked=1
else
  echo "llama.cpp could not be installed within $patience s, for which Node 20 and npm are needed: it is not checked"
fi

[ $checked = 1 ] || echo "nothing was checked"
exit $failed
