#!/usr/bin/env bash
# The run that the tests of the page read: `bash run.sh FOLDER`. A quickstart cut short, with the
# weights of STARE and a probe, so that every panel has something to show.
set -euo pipefail
"${STEARIN:-stearin}" train "$(dirname "$0")/../recipes/quickstart.toml" --run-dir "$1" \
  --set data.held_out.count=32 --set eval.every=20 --set eval.samples=4 --set eval.tokens=8 \
  --set record.samples.every=4 --set record.samples.alternatives=3 \
  --set stage.sft.steps=60 --set stage.rl.steps=16 --set stage.rl.batch=8 --set stage.rl.algorithm=stare \
  --set 'stage.rl.probe={every=4,problems=8,group_size=4}'
