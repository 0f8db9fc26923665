#!/usr/bin/env bash
# The experiment of docs/entropy.md: tasks x methods x seeds, two runs at a time with one thread each.
#
#   bash scripts/entropy.sh                       # every run of the list that is not kept yet
#   bash scripts/entropy.sh a-grpo-s0 b-dapo-s1   # these
#   bash scripts/entropy.sh --list                # the list, and which of it is kept
#
# A run is TASK-METHOD-sSEED: recipes/entropy/TASK.toml with recipes/entropy/methods/METHOD.toml over it. It
# lives in runs/entropy/ and may be interrupted: the next call resumes it. What a finished run leaves for
# the figures is kept in docs/entropy/runs/; delete that folder of a run to have it run again. A task's
# policy is warmed up first, where that has not been done. JOBS sets how many runs go side by side,
# STEARIN the binary.
set -euo pipefail
cd "$(dirname "$0")/.."

runs=runs/entropy
kept=docs/entropy/runs
export STEARIN=${STEARIN:-}

# Main pairs with three seeds, all others with one.
list() {
  local task method seed
  for seed in 0 1 2; do
    for task in a b c; do
      for method in grpo stare-auto stare-w-high; do echo "$task-$method-s$seed"; done
    done
  done
  for task in a b c; do
    for method in stare-w-low stare-w-critical stare-c2 stare-open stare-probability stare-adaptive \
      bonus-1e-3 bonus-1e-2 bonus-3e-2 bonus-adaptive clip-cov top-entropy grpo-4 dapo kl-cov; do
      echo "$task-$method-s0"
    done
  done
}

# Splits a run's name into task, method and seed.
split() {
  [[ $1 =~ ^([a-z0-9]+)-(.+)-s([0-9]+)$ ]] || { echo "$1: expected TASK-METHOD-sSEED" >&2; exit 2; }
  task=${BASH_REMATCH[1]} method=${BASH_REMATCH[2]} seed=${BASH_REMATCH[3]}
  local file
  for file in "recipes/entropy/$task.toml" "recipes/entropy/methods/$method.toml"; do
    [ -f "$file" ] || { echo "$1: there is no $file" >&2; exit 2; }
  done
}

# What differs from task to task: the target entropy, and weights below, near and above the critical one.
settings() {
  local target low critical high
  case $task in
    a) target=0.30 low=1.1 critical=2.5 high=4.0 ;;
    b) target=0.40 low=1.1 critical=1.5 high=2.0 ;;
    c) target=0.40 low=1.02 critical=1.1 high=1.3 ;;
    *) target=0.20 low=1.02 critical=1.1 high=1.3 ;;
  esac
  local weighting=stage.rl.weighting
  case $method in
    stare-*) echo "$weighting.target_entropy=$target" ;;
    bonus-adaptive) echo "stage.rl.entropy_bonus.target=$target" ;;
  esac
  case $method in
    stare-w-low | stare-adaptive) echo "$weighting.weight=$low" ;;
    stare-w-critical) echo "$weighting.weight=$critical" ;;
    stare-w-high | stare-open | stare-probability) echo "$weighting.weight=$high" ;;
    stare-c2) echo "$weighting.weight=$critical" ;;
  esac
}

state() {
  sed -n 's/.*"state": "\([a-z-]*\)".*/\1/p' "$1/status.json" 2> /dev/null || true
}

# Starts or resumes the run in folder $1; the rest are the arguments of `stearin train`.
train() {
  local folder=$1
  shift
  [ "$(state "$folder")" = finished ] && return
  local resume=()
  if [ -n "$(find "$folder/checkpoints" -maxdepth 1 -name 'step-*' 2> /dev/null)" ]; then
    resume=(--resume)
  else
    # Stopped before its first checkpoint: there is nothing to go on from.
    rm -rf "$folder"
  fi
  mkdir -p "$runs/logs"
  local log
  log=$runs/logs/$(basename "$folder").log
  "$STEARIN" train "$@" --run-dir "$folder" "${resume[@]}" >> "$log" 2>&1 || {
    local code=$?
    echo "$(basename "$folder"): exit code $code; see $log" >&2
    return $code
  }
}

warm() {
  local task=$1 base=()
  case $task in
    a) ;;
    b) warm a && base=(--set "model.path=$runs/a-warm") ;;
    c) warm b && base=(--set "model.path=$runs/b-warm") ;;
    *) return ;;
  esac
  train "$runs/$task-warm" "recipes/entropy/$task-warm.toml" "${base[@]}"
}

# What the figures read: the main series of every step, all else of every twentieth and of those evaluated.
keep() {
  local folder=$1 name
  name=$(basename "$folder")
  rm -rf "$kept/.$name"
  mkdir -p "$kept/.$name"
  python3 - "$folder" "$kept/.$name" << 'PYTHON'
import datetime, json, pathlib, sys

folder, target = map(pathlib.Path, sys.argv[1:])


exact = ("actor/entropy", "actor/loss")  # for runs that should be equal
series = exact + (
    "stage", "step", "unfiltered/entropy", "unfiltered/score/mean", "response_length/mean", "actor/grad_norm",
    "entropy/lambda", "entropy/gamma", "entropy/selected_raising", "stare/gate_on", "stare/reweight_w",
    "stare/target_entropy", "actor/entropy_coefficient", "dynamic_sampling/batches",
)
dropped = ("training/", "surprisal/histogram/", "reflection/", "rollout_corr/", "health/")


def thin(row):
    whole = row["step"] % 20 == 0 or any(key.startswith("val-") for key in row)
    probed = "entropy/probe_delta" in row
    for key, value in row.items():
        measured = probed and key.startswith("entropy/") and "/quantile/" not in key
        if key in series or measured or (whole and not key.startswith(dropped)):
            rounded = isinstance(value, float) and key not in exact
            yield key, float(f"{value:.5g}") if rounded else value


with open(target / "metrics.jsonl", "w") as out:
    for line in open(folder / "metrics.jsonl"):
        print(json.dumps(dict(thin(json.loads(line))), separators=(",", ":")), file=out)
seconds = {"all": 0.0, "testing": 0.0}
steps = []
for line in open(folder / "timings.jsonl"):
    row = json.loads(line)
    steps.append(row.get("timing_s/step", 0.0))
    seconds["testing"] += row.get("timing_s/testing", 0.0)
seconds["all"] = sum(steps) + seconds["testing"]
environment = json.loads((folder / "environment.json").read_text())
date = datetime.date.fromtimestamp((folder / "status.json").stat().st_mtime)
facts = {
    "date": date.isoformat(),
    "commit": environment.get("commit") or "unknown",
    "threads": environment.get("threads"),
    "seconds": round(seconds["all"], 1),
    "seconds_evaluating": round(seconds["testing"], 1),
    "seconds_step_median": round(sorted(steps)[len(steps) // 2], 3),
}
(target / "run.json").write_text(json.dumps(facts, indent=2) + "\n")
PYTHON
  cp "$folder/recipe.toml" "$kept/.$name/"
  rm -rf "${kept:?}/$name"
  # The rename is what makes it kept.
  mv "$kept/.$name" "$kept/$name"
  rm -rf "$folder/checkpoints"
}

one() {
  local name=$1 task method seed setting arguments=()
  split "$name"
  [ -f "$kept/$name/run.json" ] && return
  [ -d "$runs/$task-warm" ] && arguments+=(--set "model.path=$runs/$task-warm")
  for setting in $(settings); do arguments+=(--set "$setting"); done
  echo "$name"
  train "$runs/$name" "recipes/entropy/$task.toml" "recipes/entropy/methods/$method.toml" \
    --set "seed=$seed" --set "name=$name" "${arguments[@]}"
  keep "$runs/$name"
}

case ${1:-} in
  --one)
    one "$2"
    exit
    ;;
  --list)
    for name in $(list); do
      if [ -f "$kept/$name/run.json" ]; then echo "$name kept"; else echo "$name"; fi
    done
    exit
    ;;
esac

read -ra names <<< "$(if [ $# -gt 0 ]; then echo "$@"; else list | tr '\n' ' '; fi)"
for name in "${names[@]}"; do split "$name"; done
if [ -z "$STEARIN" ]; then
  cargo build --release --package recipes
  STEARIN=${CARGO_TARGET_DIR:-target}/release/stearin
fi
for task in $(printf '%s\n' "${names[@]}" | cut -d- -f1 | sort -u); do warm "$task"; done
printf '%s\n' "${names[@]}" | xargs -P "${JOBS:-2}" -n 1 bash "$0" --one
