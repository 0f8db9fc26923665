#!/usr/bin/env bash
# Compares our speed and memory with TRL, PyTorch, transformers and llama.cpp on the same model file
# and threads, peer and we in alternating rounds, and prints one table with the ratios. Needs
# python3 with pip, 10 GB of disk and, for the rows of llama.cpp, a C++ compiler. Without a model
# file: bash scripts/fetch-smollm2.sh.
#
#     bash bench/speed/compare.sh MODEL.gguf [--only ROW...] [--rounds N] [--earlier BINARY]
#                                            [--threads N] [--flags "OURS"] [--out RAW.jsonl]
#     bash bench/speed/compare.sh --setup-only
set -euo pipefail
caller=$PWD
cd "$(dirname "$0")/../.."
target=${CARGO_TARGET_DIR:-target}
here=bench/speed

fail() {
  echo "bench/speed: $*" >&2
  exit 1
}

key() {
  cat "$@" | cksum | cut -d' ' -f1
}

# Each is made again when its pins change; the file `complete` says that a set-up came to its end.
python=$target/bench-speed-python-$(key $here/requirements.txt)
llama=$target/bench-speed-llama-$(key $here/llama.txt)

set_up_python() {
  [ ! -f "$python/complete" ] || return 0
  echo "setting up $(tr '\n' ' ' < $here/requirements.txt)" >&2
  rm -rf "$python"
  python3 -m venv "$python"
  # The wheel for CPUs alone is taken where an index that has it is configured in pip.
  "$python/bin/pip" install --quiet --disable-pip-version-check --requirement $here/requirements.txt >&2
  touch "$python/complete"
}

set_up_llama() {
  [ ! -f "$llama/complete" ] || return 0
  command -v c++ > /dev/null || fail "a C++ compiler (c++) is missing"
  echo "building llama.cpp from $(cat $here/llama.txt)" >&2
  rm -rf "$llama"
  mkdir -p "$llama/source"
  "$python/bin/pip" download --quiet --disable-pip-version-check --no-deps \
    --no-binary llama-cpp-python --dest "$llama" --requirement $here/llama.txt >&2
  tar -xzf "$llama"/llama_cpp_python-*.tar.gz -C "$llama/source" --strip-components=1
  [ -f "$llama/source/vendor/llama.cpp/CMakeLists.txt" ] || fail "no vendor/llama.cpp in $llama/source"
  "$python/bin/cmake" -G Ninja -S "$llama/source/vendor/llama.cpp" -B "$llama/build" \
    -DCMAKE_MAKE_PROGRAM="$(realpath "$python")/bin/ninja" -DCMAKE_BUILD_TYPE=Release -DGGML_NATIVE=ON \
    -DLLAMA_CURL=OFF -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_SERVER=OFF >&2
  "$python/bin/cmake" --build "$llama/build" --target llama-batched-bench llama-quantize >&2
  touch "$llama/complete"
}

command -v python3 > /dev/null || fail "python3 is missing"
set_up_python
# Only decoding is compared with llama.cpp, whose build takes minutes.
quantize=()
case " $* " in
  *" --only "*decode*) set_up_llama ;;
  *" --only "* | *" --earlier "*) llama=without ;;
  *) set_up_llama ;;
esac
if [ "${1:-}" = --setup-only ]; then
  echo "set up: $python $llama"
  exit 0
fi

case ${1:-} in
  "" | -*) fail "the first argument is the model file: compare.sh MODEL.gguf [flags]" ;;
  /*) model=$1 ;;
  *) model=$caller/$1 ;;
esac
shift
[ -f "$model" ] || fail "$model is missing: bash scripts/fetch-smollm2.sh fetches the one of the table"
if [ -z "${STEARIN:-}" ]; then
  cargo build --release
  STEARIN=$target/release/stearin
fi
[ -x "$STEARIN" ] || fail "$STEARIN is no program: set STEARIN to the binary that is measured"

models=$target/bench-speed-models-$(key $here/requirements.txt $here/llama.txt $here/convert.py "$model")
# No __pycache__ in the repository, and no bars among the messages.
export PYTHONDONTWRITEBYTECODE=1 TQDM_DISABLE=1
[ "$llama" = without ] || quantize=(--quantize "$llama/build/bin/llama-quantize")
"$python/bin/python" $here/convert.py --model "$model" --folder "$models" "${quantize[@]}" >&2
exec "$python/bin/python" $here/compare.py --model "$model" --stearin "$STEARIN" \
  --llama "$llama/build/bin" --models "$models" "$@"
