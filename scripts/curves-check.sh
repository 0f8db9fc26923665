#!/usr/bin/env bash
# Do TensorBoard and Python's csv module read what `stearin curves` writes? Trains a tiny model for
# a few steps, exports the run in every form, and compares each with the logs of the run; then cuts
# a run while its export is followed. Outside the tests: needs pip.
#
#   bash scripts/curves-check.sh
#
# Python from $PYTHON, which has tensorboard, else from a new environment. The binary from $STEARIN,
# else from cargo.
set -euo pipefail
cd "$(dirname "$0")/.."

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
if [ -z "${PYTHON:-}" ]; then
  python3 -m venv "$work/venv"
  PYTHON=$work/venv/bin/python
  if ! "$PYTHON" -m pip install --quiet --disable-pip-version-check tensorboard==2.20.0 'setuptools<81'; then
    echo "TensorBoard could not be installed: nothing is checked"
    exit 0
  fi
fi
if [ -z "${STEARIN:-}" ]; then
  cargo build --release --quiet --package recipes
  STEARIN=${CARGO_TARGET_DIR:-target}/release/stearin
fi

train() {
  "$STEARIN" train recipes/quickstart.toml --quiet --run-dir "$work/run" "$@" > /dev/null
}
short=(--set stage.sft.steps=4 --set stage.rl.steps=6 --set eval.every=3 --set checkpoint.every=4)
train "${short[@]}"
for format in csv jsonl tensorboard; do
  for names in verl trl; do
    "$STEARIN" curves "$work/run" --format $format --names $names --output "$work/$names-$format"
  done
done
"$PYTHON" scripts/curves_check.py exports "$work"

# A run that stands still; its logs are cut back and go on otherwise, as those of a killed run do.
cp -r "$work/run" "$work/cut"
"$PYTHON" scripts/curves_check.py cut "$work" "$STEARIN"
