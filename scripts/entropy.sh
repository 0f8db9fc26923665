#!/usr/bin/env bash
# The experiment of docs/entropy.md: tasks x methods x seeds, two runs at a time with one thread
# each.
#
#   bash scripts/entropy.sh                       # every run of the list that is not kept yet
#   bash scripts/entropy.sh a-grpo-s0 b-dapo-s1   # these
#   bash scripts/entropy.sh --list                # the list, and which of it is kept
#
# A run is TASK-METHOD-sSEED: recipes/entropy/TASK.toml with recipes/entropy/methods/METHOD.toml
# over it. It lives in runs/entropy/ and may be interrupted: the next call resumes it. What a
# finished run leaves for the figures is kept in docs/entropy/runs/; delete that folder of a run to
# have it run again. A task's policy is warmed up first, where that has not been done. JOBS sets how
# many runs go side by side, STEARIN the binary.
set -euo pipefail
cd "$(dirname "$0")/.."

runs=runs/entropy
kept=docs/entropy/runs
export STEARIN=${STEARIN:-}

# Main pairs with three seeds, all others with one; the pair on a language model, and the long pair.
list() {
  local task method seed
  for seed in 0 1 2; do
    for task in a b c; do
      for method in grpo stare-auto stare-w-high; do echo "$task-$method-s$seed"; done
    done
  done
  for task in smollm2 clong; do
    for method in grpo stare-auto; do echo "$task-$method-s0"; done
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

# What differs from task to task: the target entropy, and weights below, near and above the critical
# one.
settings() {
  local target low critical high
  case $task in
    a) target=0.30 low=1.1 critical=2.5 high=4.0 ;;
    b) target=0.40 low=1.1 critical=1.5 high=2.0 ;;
    c) target=0.50 low=1.02 critical=1.1 high=1.3 ;;
    clong) target=0.40 low=1.02 critical=1.1 high=1.3 ;;
    *) target=0.20 low=1.02 critical=1.1 high=1.3 ;;
  esac
  local weighting=stage.rl.weighting
  case $method in
    stare-*) echo "$weighting.target_entropy=$target" ;;
    bonus-adaptive) echo "stage.rl.entropy_bonus.target=$target" ;;
  esac
  case $method in
    stare-w-low | stare-adaptive) echo "$weighting.reweight_w=$low" ;;
    stare-w-critical) echo "$weighting.reweight_w=$critical" ;;
    stare-w-high | stare-open | stare-probability) echo "$weighting.reweight_w=$high" ;;
    stare-c2) echo "$weighting.reweight_w=$critical" ;;
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

# The folder of the policy that a task begins with, where it is warmed up.
warmed() {
  echo "$runs/${1%long}-warm"
}

warm() {
  local task=${1%long} base=()
  case $task in
    a) ;;
    b) warm a && base=(--set "model.path=$(warmed a)") ;;
    c) warm b && base=(--set "model.path=$(warmed b)") ;;
    *) return ;;
  esac
  train "$(warmed "$task")" "recipes/entropy/$task-warm.toml" "${base[@]}"
}

# What the figures read.
keep() {
  local folder=$1 name
  name=$(basename "$folder")
  rm -rf "$kept/.$name"
  mkdir -p "$kept/.$name"
  python3 scripts/entropy/keep.py "$folder" "$kept/.$name"
  rm -rf "${kept:?}/$name"
  # The rename is what makes it kept.
  mv "$kept/.$name" "$kept/$name"
  rm -rf "$folder/checkpoints"
}

one() {
  local name=$1 task method seed setting arguments=()
  split "$name"
  [ -f "$kept/$name/run.json" ] && return
  [ -d "$(warmed "$task")" ] && arguments+=(--set "model.path=$(warmed "$task")")
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
