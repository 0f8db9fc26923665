"""Redraws the figures and tables of docs/entropy.md from the runs kept under docs/entropy/runs.

Called by scripts/entropy-figures.sh, which brings matplotlib along.
"""

import collections
import json
import math
import pathlib
import re
import statistics
import sys

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parent.parent
RUNS = ROOT / "docs/entropy/runs"
FIGURES = ROOT / "docs/entropy"
PAGE = ROOT / "docs/entropy.md"

TASKS = {
    "a": "A: three numbers",
    "b": "B: three numbers, retries",
    "c": "C: long answers",
    "smollm2": "SmolLM2-135M",
}
COLOURS = {
    "grpo": "#c0392b",
    "dapo": "#e08e0b",
    "stare-auto": "#1f5fa8",
    "stare-w-low": "#9bbfe0",
    "stare-w-critical": "#5b9bd5",
    "stare-w-high": "#123f73",
    "stare-c2": "#2e8b57",
    "stare-open": "#8e44ad",
    "stare-probability": "#16a2a2",
    "bonus-1e-3": "#d9b99b",
    "bonus-1e-2": "#a67c52",
    "bonus-3e-2": "#6b4a26",
    "bonus-adaptive": "#555555",
    "clip-cov": "#c78fb5",
    "kl-cov": "#8fbf5f",
}
ENTROPY = "unfiltered/entropy"


class Run:
    """One finished run: its steps in order, its evaluations by step."""

    def __init__(self, folder):
        match = re.fullmatch(r"(.+?)-(.+)-s(\d+)", folder.name)
        self.task, self.method, self.seed = match[1], match[2], int(match[3])
        lines = [json.loads(line) for line in open(folder / "metrics.jsonl")]
        self.steps = [line for line in lines if line.get("stage") == "rl"]
        self.evaluated = [line for line in lines if any(key.startswith("val-") for key in line)]
        self.facts = json.load(open(folder / "run.json"))

    def series(self, key):
        return [(line["step"], line[key]) for line in self.steps if key in line]

    def values(self, key, half=None):
        found = [value for _, value in self.series(key)]
        if half == "last":
            return found[len(found) // 2:]
        if half == "first":
            return found[: len(found) // 2]
        return found

    def evaluations(self, prefix, suffix):
        """Points (step, value, low, high) of a held-out figure."""
        points = []
        for line in self.evaluated:
            for key, value in line.items():
                if not (key.startswith(prefix) and key.endswith(suffix)):
                    continue
                low, high = bounds(line, key)
                points.append((line["step"], value, low, high))
        return points


def bounds(line, key):
    """The 95 % interval that stands beside a held-out figure, or the figure itself."""
    if "/acc/mean@" in key:
        base = key.split("/acc/")[0].replace("val-core", "val-aux") + "/acc"
    else:
        base = key
    value = line[key]
    return line.get(base + "/low", value), line.get(base + "/high", value)


def load():
    runs = [Run(folder) for folder in sorted(RUNS.iterdir()) if (folder / "metrics.jsonl").exists()]
    grouped = collections.defaultdict(list)
    for run in runs:
        grouped[run.task, run.method].append(run)
    return grouped


def mean(values):
    return sum(values) / len(values) if values else math.nan


def smooth(points, reach=5):
    """Means over `reach` steps to either side."""
    out = []
    for i, (step, _) in enumerate(points):
        near = [value for _, value in points[max(0, i - reach): i + reach + 1]]
        out.append((step, mean(near)))
    return out


def over_seeds(runs, points_of):
    """Mean at each step over the runs that have it."""
    at = collections.defaultdict(list)
    for run in runs:
        for step, value, *_ in points_of(run):
            at[step].append(value)
    return [(step, mean(values)) for step, values in sorted(at.items())]


def save(figure, name):
    figure.tight_layout()
    figure.savefig(FIGURES / f"{name}.svg", metadata={"Date": None})
    plt.close(figure)
    print(f"docs/entropy/{name}.svg")


def methods_of(grouped, task):
    order = list(COLOURS)
    found = [method for other, method in grouped if other == task]
    return sorted(found, key=lambda m: order.index(m) if m in order else len(order))


def draw_entropy(grouped):
    """Entropy of everything sampled, step by step, and the target."""
    tasks = [task for task in TASKS if methods_of(grouped, task)]
    figure, axes = plt.subplots(1, len(tasks), figsize=(5.2 * len(tasks), 4.2), squeeze=False)
    for axis, task in zip(axes[0], tasks):
        for method in methods_of(grouped, task):
            runs = grouped[task, method]
            curve = smooth(over_seeds(runs, lambda run: run.series(ENTROPY)))
            axis.plot(*zip(*curve), color=COLOURS.get(method, "#999999"), label=method, lw=1.4)
        target = target_of(grouped, task)
        if target:
            axis.axhline(target, color="black", lw=0.8, ls=":", label="target")
        axis.set(title=TASKS[task], xlabel="step", ylabel="entropy, nats a token (unfiltered)")
        axis.set_ylim(bottom=0)
        axis.legend(fontsize=6, ncol=2, frameon=False)
    save(figure, "entropy")


def target_of(grouped, task):
    for (other, _), runs in grouped.items():
        found = runs[0].values("stare/target_entropy") if other == task else []
        if found:
            return found[0]
    return None


HELD_OUT = [
    ("greedy accuracy", "val-core/held-out-greedy", "/acc/mean@1"),
    ("sampled accuracy", "val-core/held-out/", "/acc/mean@8"),
    ("pass@8", "val-aux/held-out/", "/pass@8"),
    ("distinct correct of 8", "val-aux/held-out/", "/distinct_correct"),
]


def draw_held_out(grouped, methods=("grpo", "dapo", "stare-auto", "stare-c2", "bonus-1e-2")):
    for task in TASKS:
        if not any((task, method) in grouped for method in methods):
            continue
        figure, axes = plt.subplots(1, 4, figsize=(15, 3.6))
        for axis, (title, prefix, suffix) in zip(axes, HELD_OUT):
            for method in methods:
                runs = grouped.get((task, method), [])
                curve = over_seeds(runs, lambda run: run.evaluations(prefix, suffix))
                if not curve:
                    continue
                colour = COLOURS.get(method, "#999999")
                axis.plot(*zip(*curve), color=colour, label=f"{method} ({len(runs)})", lw=1.5)
                low = over_seeds(runs, lambda run: [(p[0], p[2]) for p in run.evaluations(prefix, suffix)])
                high = over_seeds(runs, lambda run: [(p[0], p[3]) for p in run.evaluations(prefix, suffix)])
                axis.fill_between(
                    [step for step, _ in low], [v for _, v in low], [v for _, v in high],
                    color=colour, alpha=0.10, lw=0)
            axis.set(title=title, xlabel="step")
        axes[0].legend(fontsize=7, frameon=False)
        figure.suptitle(f"{TASKS[task]}, held-out problems; bands: 95 % over problems, mean over seeds", fontsize=9)
        save(figure, f"held-out-{task}")


def critical_weight(runs, part=slice(None)):
    """1 + Lambda / Gamma of sums over steps, and the mean length."""
    sums = [0.0, 0.0]
    lengths = []
    for run in runs:
        steps = [line for line in run.steps if "entropy/lambda" in line][part]
        sums[0] += sum(line["entropy/lambda"] for line in steps)
        sums[1] += sum(line["entropy/gamma"] for line in steps)
        lengths += [line["response_length/mean"] for line in steps]
    weight = 1 + sums[0] / sums[1] if sums[1] > 0 else math.nan
    return mean(lengths), weight


def draw_length_law(grouped):
    figure, axis = plt.subplots(figsize=(4.8, 4))
    points = []
    for task in TASKS:
        runs = grouped.get((task, "grpo"), [])
        for run in runs:
            length, weight = critical_weight([run], slice(0, 100))
            if weight > 1:
                points.append((length, weight - 1))
                axis.plot(length, weight - 1, "o", color="#1f5fa8", ms=5)
                axis.annotate(TASKS[task][0], (length, weight - 1), fontsize=8,
                              xytext=(4, 4), textcoords="offset points")
    if points:
        scale = math.exp(mean([math.log(x * y) for x, y in points]))
        xs = [min(x for x, _ in points) * 0.8, max(x for x, _ in points) * 1.25]
        axis.plot(xs, [scale / x for x in xs], color="black", lw=0.8, ls=":", label=f"{scale:.0f} / length")
        axis.legend(frameon=False, fontsize=8)
    axis.set(xscale="log", yscale="log", xlabel="mean length of answers, tokens",
             ylabel="critical weight W* - 1", title="GRPO, steps 1 to 100")
    save(figure, "length-law")


def correlation(xs, ys):
    if len(xs) < 3:
        return math.nan
    return statistics.correlation(xs, ys)


def probes(runs):
    return [
        (line["entropy/predicted_delta"], line["entropy/probe_delta"], line["entropy/batch_delta"])
        for run in runs for line in run.steps if "entropy/probe_delta" in line
    ]


def draw_prediction(grouped, methods=("grpo", "stare-auto")):
    tasks = [task for task in TASKS if any(probes(grouped.get((task, m), [])) for m in methods)]
    if not tasks:
        return
    figure, axes = plt.subplots(1, len(tasks), figsize=(4.4 * len(tasks), 3.8), squeeze=False)
    for axis, task in zip(axes[0], tasks):
        for method in methods:
            found = probes(grouped.get((task, method), []))
            if not found:
                continue
            predicted, fresh, batch = zip(*found)
            colour = COLOURS[method]
            label = f"{method}: r = {correlation(predicted, fresh):.2f} fresh, {correlation(predicted, batch):.2f} batch"
            axis.plot(predicted, fresh, "o", color=colour, ms=3.5, label=label)
            axis.plot(predicted, batch, "x", color=colour, ms=3, alpha=0.35)
        axis.axhline(0, color="black", lw=0.5)
        axis.axvline(0, color="black", lw=0.5)
        axis.set(title=TASKS[task], xlabel="predicted, per unit of logit step", ylabel="measured change, nats a token")
        axis.legend(fontsize=7, frameon=False)
    save(figure, "prediction")


def draw_weights(grouped):
    """Factor and gate of the automatic weight, step by step."""
    tasks = [task for task in TASKS if (task, "stare-auto") in grouped]
    if not tasks:
        return
    figure, axes = plt.subplots(1, len(tasks), figsize=(4.6 * len(tasks), 3.6), squeeze=False)
    for axis, task in zip(axes[0], tasks):
        for run in grouped[task, "stare-auto"]:
            points = run.series("stare/reweight_w")
            axis.plot(*zip(*points), lw=1.2, label=f"W, seed {run.seed}")
            gate = smooth(run.series("stare/gate_on"), 10)
            axis.plot(*zip(*gate), lw=0.8, ls="--", color="#888888")
        axis.set(title=TASKS[task], xlabel="step", ylabel="W; dashed: share of steps with the gate open")
        axis.set_ylim(bottom=0)
        axis.legend(fontsize=7, frameon=False)
    save(figure, "auto-weight")


def draw_selection(grouped):
    """Share of the selected tokens that raise the entropy: quantile against fixed threshold."""
    pairs = [(task, m) for task in TASKS for m in ("grpo", "stare-auto", "stare-probability") if (task, m) in grouped]
    if not pairs:
        return
    figure, axis = plt.subplots(figsize=(6, 3.8))
    styles = {"a": "-", "b": "--", "c": ":", "smollm2": "-."}
    for task, method in pairs:
        curve = smooth(over_seeds(grouped[task, method], lambda run: run.series("entropy/selected_raising")), 10)
        if curve:
            axis.plot(*zip(*curve), styles[task], color=COLOURS[method], lw=1.3, label=f"{task.upper()} {method}")
    axis.set(xlabel="step", ylabel="share of L+ with Phi < 0", ylim=(0, 1))
    axis.legend(fontsize=7, frameon=False)
    save(figure, "selection")


def figure_of(points):
    return points[-1][1:] if points else None


def last(runs, prefix, suffix):
    """Mean over seeds of the last evaluation, with an interval that is no narrower than one seed's
    over problems nor than the seeds' own spread."""
    found = [figure_of(run.evaluations(prefix, suffix)) for run in runs]
    found = [one for one in found if one]
    if not found:
        return None
    values = [value for value, _, _ in found]
    half = mean([(high - low) / 2 for _, low, high in found])
    if len(values) > 1:
        half = max(half, 1.96 * statistics.stdev(values) / math.sqrt(len(values)))
    return mean(values), half


def said(pair, digits=3):
    return "" if pair is None else f"{pair[0]:.{digits}f} ± {pair[1]:.{digits}f}"


def table_main(grouped, task):
    rows = ["| method | seeds | H first 5 | H last 5 | H of last half (kept batch) | gate on | W, last half | "
            "greedy | sampled | pass@8 | distinct correct of 8 |", "|" + "---|" * 11]
    for method in methods_of(grouped, task):
        runs = grouped[task, method]
        first = mean([mean(run.values(ENTROPY)[:5]) for run in runs])
        end = mean([mean(run.values(ENTROPY)[-5:]) for run in runs])
        held = mean([mean(run.values("actor/entropy", "last")) for run in runs])
        gates = [mean(run.values("stare/gate_on", "last")) for run in runs if run.values("stare/gate_on")]
        weights = [mean(run.values("stare/reweight_w", "last")) for run in runs if run.values("stare/reweight_w")]
        gate = f"{100 * mean(gates):.0f} %" if gates else ""
        weight = f"{mean(weights):.2f}" if weights else ""
        cells = [said(last(runs, prefix, suffix)) for _, prefix, suffix in HELD_OUT]
        rows.append(f"| {method} | {len(runs)} | {first:.3f} | {end:.3f} | {held:.3f} | {gate} | {weight} | "
                    + " | ".join(cells) + " |")
    return rows


def table_critical(grouped):
    rows = ["| task | mean length, tokens | W* (steps 1 to 100) | (W* - 1) x length | W* (last half) |", "|---|---|---|---|---|"]
    for task, name in TASKS.items():
        runs = grouped.get((task, "grpo"))
        if not runs:
            continue
        length, weight = critical_weight(runs, slice(0, 100))
        steps = len(runs[0].steps)
        _, later = critical_weight(runs, slice(steps // 2, None))
        rows.append(f"| {name} | {length:.1f} | {weight:.2f} | {(weight - 1) * length:.1f} | {later:.2f} |")
    return rows


def table_prediction(grouped):
    rows = ["| task | method | probes | r, fresh rollouts | r, same batch | mean predicted | mean measured, fresh | mean measured, batch |",
            "|" + "---|" * 8]
    for (task, method), runs in grouped.items():
        found = probes(runs)
        if len(found) < 3:
            continue
        predicted, fresh, batch = zip(*found)
        rows.append(f"| {task.upper()} | {method} | {len(found)} | {correlation(predicted, fresh):.2f} | "
                    f"{correlation(predicted, batch):.2f} | {mean(predicted):+.4f} | {mean(fresh):+.4f} | {mean(batch):+.4f} |")
    return rows


def table_runs(grouped):
    rows = ["| run | steps | minutes | commit | date |", "|---|---|---|---|---|"]
    for runs in grouped.values():
        for run in runs:
            facts = run.facts
            rows.append(f"| {run.task}-{run.method}-s{run.seed} | {len(run.steps)} | {facts['seconds'] / 60:.1f} | "
                        f"{facts['commit'][:8]} | {facts['date']} |")
    return rows


def write_tables(grouped):
    tables = {f"task-{task}": table_main(grouped, task) for task in TASKS if methods_of(grouped, task)}
    tables["critical"] = table_critical(grouped)
    tables["prediction"] = table_prediction(grouped)
    tables["runs"] = table_runs(grouped)
    page = PAGE.read_text()
    for name, rows in tables.items():
        pattern = re.compile(rf"(<!-- table {name} -->\n).*?(<!-- end -->)", re.S)
        page, count = pattern.subn(lambda m: m[1] + "\n".join(rows) + "\n" + m[2], page)
        if count == 0:
            print(f"docs/entropy.md has no place for the table {name}:\n" + "\n".join(rows))
    PAGE.write_text(page)


def main():
    grouped = load()
    if not grouped:
        sys.exit(f"there are no runs in {RUNS}: bash scripts/entropy.sh makes them")
    plt.rcParams.update({"svg.hashsalt": "stearin", "font.size": 9})
    draw_entropy(grouped)
    draw_held_out(grouped)
    draw_length_law(grouped)
    draw_prediction(grouped)
    draw_weights(grouped)
    draw_selection(grouped)
    write_tables(grouped)


main()
