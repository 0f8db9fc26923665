#!/usr/bin/env bash
# Compares `stearin eval` with lm-evaluation-harness on the same model, weights and prompts: token
# ids of prompts, texts, accuracy, verdicts of both programs' graders on the same texts, and time.
# Needs python3 with pip, 8 GB of disk, and the benchmarks as JSON lines in the folder of --data.
#
#     bash bench/eval/compare.sh MODEL [--data DIR] [--only BENCH...] [--limit N] [--peer-limit N]
#                                      [--threads N] [--batch N] [--out DIR]
#     bash bench/eval/compare.sh MODEL --rounds N [--seconds S] [as above]
#     bash bench/eval/compare.sh MODEL --sampled --out DIR
#
# MODEL is a .gguf file or a folder in the layout of transformers. With --rounds only time is
# measured; --sampled compares the texts of those rounds.
set -euo pipefail
caller=$PWD
cd "$(dirname "$0")/../.."
target=${CARGO_TARGET_DIR:-target}
here=bench/eval

fail() {
  echo "bench/eval: $*" >&2
  exit 1
}

command -v python3 > /dev/null || fail "python3 is missing"
# Made again when the pins change; the file `complete` says that the set-up came to its end.
python=$target/bench-eval-python-$(cksum < $here/requirements.txt | cut -d' ' -f1)
if [ ! -f "$python/complete" ]; then
  echo "setting up $(tr '\n' ' ' < $here/requirements.txt)" >&2
  rm -rf "$python"
  python3 -m venv "$python"
  # The wheel for CPUs alone is taken where an index that has it is configured in pip.
  "$python/bin/pip" install --quiet --disable-pip-version-check --requirement $here/requirements.txt >&2
  touch "$python/complete"
fi

case ${1:-} in
  "" | -*) fail "the first argument is the model: compare.sh MODEL [flags]" ;;
  /*) model=$1 ;;
  *) model=$caller/$1 ;;
esac
shift
if [ -z "${STEARIN:-}" ]; then
  cargo build --release
  STEARIN=$target/release/stearin
fi
[ -x "$STEARIN" ] || fail "$STEARIN is no program: set STEARIN to the binary that is compared"

# No __pycache__ in the repository, no bars among the messages, nothing from a network.
export PYTHONDONTWRITEBYTECODE=1 TQDM_DISABLE=1 HF_HUB_OFFLINE=1 HF_DATASETS_OFFLINE=1
export TOKENIZERS_PARALLELISM=false CUDA_VISIBLE_DEVICES=
if [ -f "$model" ]; then
  # Both programs then read the same f32 weights.
  models=$target/bench-eval-models-$(cat $here/requirements.txt bench/speed/convert.py "$model" | cksum | cut -d' ' -f1)
  "$python/bin/python" bench/speed/convert.py --model "$model" --folder "$models" >&2
  model=$models/transformers
fi
[ -f "$model/config.json" ] || fail "$model has no config.json: expected a .gguf file or a folder of transformers"
case " $* " in
  *" --rounds "*) program=rounds.py ;;
  *) program=compare.py ;;
esac
exec "$python/bin/python" $here/$program --model "$model" --stearin "$STEARIN" --target "$target" "$@"
