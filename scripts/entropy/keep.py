"""Keeps what the figures read of a finished run: `keep.py RUN-FOLDER TARGET-FOLDER`.

Two tables: steps.csv (a row a step of reinforcement learning; what is measured now and then is empty in
between) and evaluations.csv (a row an evaluation). Beside them run.json and the recipe.
"""

import csv
import datetime
import json
import pathlib
import shutil
import sys

# Unrounded, for runs that should be equal to the bit.
EXACT = ("actor/entropy", "actor/loss")
STEPS = EXACT + (
    "unfiltered/entropy", "unfiltered/score/mean", "response_length/mean", "actor/grad_norm",
    "entropy/lambda", "entropy/gamma", "entropy/predicted_delta", "entropy/probe_delta",
    "entropy/batch_delta", "entropy/selected_raising", "stare/gate_on", "stare/reweight_w",
    "actor/stare/positive_reweight_ratio", "actor/entropy_coefficient", "dynamic_sampling/batches",
)
EVERY_TENTH = tuple(
    f"quadrant/quantile/{quadrant}/{what}"
    for quadrant in ("u_plus", "l_plus", "u_minus", "l_minus")
    for what in ("tokens", "advantage", "entropy")
)
HELD_OUT = ("/acc/", "/pass@4", "/pass@8", "/distinct_correct", "/response_length/mean")


def rounded(key, value):
    return value if key in EXACT or not isinstance(value, float) else float(f"{value:.4g}")


def table(path, rows, keys):
    """Writes the columns among `keys` that some row has."""
    found = [key for key in keys if any(key in row for row in rows)]
    with open(path, "w", newline="") as out:
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(["step", *found])
        for row in rows:
            writer.writerow([row["step"], *(rounded(key, row[key]) if key in row else "" for key in found)])


def facts(folder):
    steps, evaluating = [], 0.0
    for line in open(folder / "timings.jsonl"):
        row = json.loads(line)
        if row["stage"] == "rl":
            steps.append(row["timing_s/step"])
        evaluating += row.get("timing_s/testing", 0.0)
    environment = json.loads((folder / "run.json").read_text())
    date = datetime.date.fromtimestamp((folder / "status.json").stat().st_mtime)
    return {
        "date": date.isoformat(),
        "commit": environment.get("commit") or "unknown",
        "threads": environment.get("threads"),
        "seconds": round(sum(steps) + evaluating, 1),
        "seconds_evaluating": round(evaluating, 1),
        "seconds_step_median": round(sorted(steps)[len(steps) // 2], 3),
    }


def main():
    folder, target = map(pathlib.Path, sys.argv[1:])
    rows = [json.loads(line) for line in open(folder / "metrics.jsonl")]
    steps = [row for row in rows if row["stage"] == "rl"]
    for row in steps:
        if row["step"] % 10 != 1:
            for key in EVERY_TENTH:
                row.pop(key, None)
    table(target / "steps.csv", steps, STEPS + EVERY_TENTH)
    evaluated = [row for row in rows if any(key.startswith("val-") for key in row)]
    keys = dict.fromkeys(
        key for row in evaluated for key in row
        if key.startswith("val-") and any(part in key for part in HELD_OUT))
    table(target / "evaluations.csv", evaluated, keys)
    (target / "run.json").write_text(json.dumps(facts(folder), indent=2) + "\n")
    shutil.copy(folder / "recipe.toml", target)


main()
