"""The runs kept under docs/entropy/runs, and what figures and tables take from them."""

import collections
import csv
import json
import math
import pathlib
import re
import statistics
import tomllib

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
RUNS = ROOT / "docs/entropy/runs"

TASKS = {
    "a": "A: three numbers",
    "b": "B: three numbers, retries",
    "c": "C: four numbers, long answers",
    "clong": "C, four times the steps",
    "smollm2": "SmolLM2-135M",
}
# In the order of tables and legends.
COLOURS = {
    "grpo": "#c0392b",
    "stare-auto": "#1f5fa8",
    "stare-w-low": "#a9cbe8",
    "stare-w-critical": "#5b9bd5",
    "stare-w-high": "#0b2545",
    "stare-adaptive": "#2a9d8f",
    "stare-c2": "#2e8b57",
    "stare-probability": "#b5179e",
    "stare-open": "#8e44ad",
    "bonus-1e-3": "#d9b99b",
    "bonus-1e-2": "#a67c52",
    "bonus-3e-2": "#6b4a26",
    "bonus-adaptive": "#222222",
    "top-entropy": "#d1495b",
    "clip-cov": "#c78fb5",
    "grpo-4": "#f28482",
    "dapo": "#e08e0b",
    "kl-cov": "#6a994e",
}
ENTROPY = "unfiltered/entropy"
# K stands for the number of samples of a problem: 8, on SmolLM2 4.
HELD_OUT = {
    "greedy accuracy": "val-core/held-out-greedy/acc/mean@1",
    "sampled accuracy": "val-core/held-out/acc/mean@K",
    "pass@K": "val-aux/held-out/pass@K",
    "distinct correct of K": "val-aux/held-out/distinct_correct",
}


def read_table(path):
    with open(path, newline="") as rows:
        return [{key: float(text) for key, text in row.items() if text} for row in csv.DictReader(rows)]


class Run:
    """One finished run: its steps in order, its evaluations by step."""

    def __init__(self, folder):
        match = re.fullmatch(r"(.+?)-(.+)-s(\d+)", folder.name)
        self.name, self.task, self.method, self.seed = folder.name, match[1], match[2], int(match[3])
        self.steps = read_table(folder / "steps.csv")
        self.evaluated = read_table(folder / "evaluations.csv")
        self.facts = json.loads((folder / "run.json").read_text())
        recipe = tomllib.loads((folder / "recipe.toml").read_text())
        self.target = recipe["stage"][-1]["weighting"].get("target_entropy")
        self.samples = str(recipe["eval"]["samples"])

    def series(self, key):
        return [(row["step"], row[key]) for row in self.steps if key in row]

    def values(self, key, half=None):
        found = [value for _, value in self.series(key)]
        return found[len(found) // 2:] if half == "last" else found

    def evaluations(self, key):
        """Points (step, value, low, high) of a held-out figure."""
        key = key.replace("K", self.samples)
        base = re.sub(r"val-core/(.*)/mean@\d+$", r"val-aux/\1", key)
        return [
            (row["step"], row[key], row.get(f"{base}/low", row[key]), row.get(f"{base}/high", row[key]))
            for row in self.evaluated if key in row
        ]

    def probes(self):
        """Predicted change, and those measured on fresh rollouts and on the batch."""
        keys = [f"entropy/{what}_delta" for what in ("predicted", "probe", "batch")]
        return [tuple(row[key] for key in keys) for row in self.steps if keys[1] in row]


def load():
    """Runs by task and method, in the order of the tables."""
    grouped = collections.defaultdict(list)
    runs = [Run(folder) for folder in sorted(RUNS.glob("*-s*")) if (folder / "run.json").exists()]
    tasks, methods = list(TASKS), list(COLOURS)
    for run in sorted(runs, key=lambda run: (tasks.index(run.task), methods.index(run.method), run.seed)):
        grouped[run.task, run.method].append(run)
    return dict(grouped)


def tasks_of(grouped):
    return list(dict.fromkeys(task for task, _ in grouped))


def methods_of(grouped, task):
    return [method for other, method in grouped if other == task]


def target_of(grouped, task):
    targets = [run.target for (other, _), runs in grouped.items() if other == task for run in runs]
    return next((target for target in targets if target is not None), None)


def mean(values):
    values = list(values)
    return sum(values) / len(values) if values else math.nan


def smooth(points, reach=5):
    """Means over `reach` steps to either side."""
    return [
        (step, mean(value for _, value in points[max(0, i - reach): i + reach + 1]))
        for i, (step, _) in enumerate(points)
    ]


def over_seeds(runs, points_of):
    """Mean at each step over the runs that have it."""
    at = collections.defaultdict(list)
    for run in runs:
        for step, value in points_of(run):
            at[step].append(value)
    return [(step, mean(values)) for step, values in sorted(at.items())]


def critical_weight(runs, part=slice(None)):
    """Mean length, and 1 + Lambda / Gamma of the sums over steps."""
    steps = [row for run in runs for row in run.steps[part]]
    pull, push = (sum(row[f"entropy/{name}"] for row in steps) for name in ("lambda", "gamma"))
    return mean(row["response_length/mean"] for row in steps), 1 + pull / push if push > 0 else math.nan


def correlation(xs, ys):
    return statistics.correlation(xs, ys) if len(xs) > 2 else math.nan


def last_evaluation(runs, key):
    """Mean over seeds of the last evaluation, and half an interval: 95 % over problems, or over seeds
    where they spread wider."""
    found = [run.evaluations(key)[-1][1:] for run in runs if run.evaluations(key)]
    if not found:
        return None
    half = mean((high - low) / 2 for _, low, high in found)
    values = [value for value, _, _ in found]
    if len(values) > 1:
        # Student's t of 95 % for two to five seeds.
        t = {2: 12.71, 3: 4.30, 4: 3.18, 5: 2.78}[len(values)]
        half = max(half, t * statistics.stdev(values) / math.sqrt(len(values)))
    return mean(values), half


def gate_opens(run):
    """The first step in which the gate is open."""
    return next((int(step) for step, open_ in run.series("stare/gate_on") if open_ > 0), None)
