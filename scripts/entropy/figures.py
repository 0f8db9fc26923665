"""Redraws the figures and tables of docs/entropy.md from the runs kept under docs/entropy/runs.

Called by scripts/entropy-figures.sh, which brings matplotlib along.
"""

import math
import sys

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt  # noqa: E402

from runs import (  # noqa: E402
    COLOURS, ENTROPY, HELD_OUT, ROOT, RUNS, TASKS, correlation, critical_weight, last_evaluation, load, mean,
    over_seeds, smooth, target_of, tasks_of,
)
from tables import write_tables  # noqa: E402

FIGURES = ROOT / "docs/entropy"
LETTERS = ("a", "b", "c")
PAIRS = ("clong", "smollm2")
FAMILIES = {
    "GRPO and STARE": ("grpo", "stare-auto", "stare-w-high", "stare-c2"),
    "STARE's weight, gate and selection": (
        "stare-w-low", "stare-w-critical", "stare-w-high", "stare-adaptive", "stare-probability", "stare-open"),
    "other controls": ("grpo", "bonus-1e-3", "bonus-1e-2", "bonus-3e-2", "bonus-adaptive", "top-entropy", "clip-cov"),
    "four updates a step": ("grpo-4", "dapo", "kl-cov"),
}
MAIN = ("grpo", "stare-auto", "stare-c2", "bonus-1e-2", "dapo")


def save(figure, name):
    figure.tight_layout()
    figure.savefig(FIGURES / f"{name}.svg", metadata={"Date": None})
    if len(sys.argv) > 1:
        figure.savefig(f"{sys.argv[1]}/{name}.png", dpi=80)
    plt.close(figure)
    print(f"docs/entropy/{name}.svg")


def mark_target(axis, target):
    if target is not None:
        axis.axhline(target, color="black", lw=0.8, ls=":", label="STARE's target")


def draw_entropy(grouped):
    """Entropy of everything sampled, step by step, and the target."""
    tasks = [task for task in LETTERS if task in tasks_of(grouped)]
    size = (4.8 * len(tasks), 3.3 * len(FAMILIES))
    figure, axes = plt.subplots(len(FAMILIES), len(tasks), figsize=size, squeeze=False)
    for row, (family, methods) in zip(axes, FAMILIES.items()):
        for axis, task in zip(row, tasks):
            for method in methods:
                runs = grouped.get((task, method), [])
                if runs:
                    curve = smooth(over_seeds(runs, lambda run: run.series(ENTROPY)))
                    label = method if len(runs) == 1 else f"{method} ({len(runs)} seeds)"
                    axis.plot(*zip(*curve), color=COLOURS[method], label=label, lw=1.4)
            mark_target(axis, target_of(grouped, task))
            axis.set(title=f"{TASKS[task]} - {family}", xlabel="step", ylabel="entropy, nats a token")
            axis.title.set_fontsize(9)
            axis.set_ylim(0, 1.0)
            axis.legend(fontsize=7, frameon=False)
    save(figure, "entropy")


def draw_pairs(grouped):
    """Entropy of the long pair and of the pair on a language model."""
    tasks = [task for task in PAIRS if task in tasks_of(grouped)]
    if not tasks:
        return
    figure, axes = plt.subplots(1, len(tasks), figsize=(5.5 * len(tasks), 3.4), squeeze=False)
    for axis, task in zip(axes[0], tasks):
        for method in ("grpo", "stare-auto"):
            for run in grouped.get((task, method), [])[:1]:
                axis.plot(*zip(*smooth(run.series(ENTROPY), 2)), color=COLOURS[method], label=method, lw=1.3)
        mark_target(axis, target_of(grouped, task))
        axis.set(title=TASKS[task], xlabel="step", ylabel="entropy, nats a token")
        axis.set_ylim(bottom=0)
        axis.legend(fontsize=7, frameon=False)
    save(figure, "entropy-pairs")


def runs_of(grouped, task):
    return [run for (other, _), runs in grouped.items() if other == task for run in runs]


def draw_held_out(grouped):
    for task in tasks_of(grouped):
        figure, axes = plt.subplots(1, 4, figsize=(15, 3.6))
        for axis, (title, key) in zip(axes, HELD_OUT.items()):
            for method in MAIN:
                runs = grouped.get((task, method), [])
                if not runs:
                    continue
                middle, low, high = (
                    over_seeds(runs, lambda run, at=at: [(p[0], p[at]) for p in run.evaluations(key)]) for at in (1, 2, 3))
                label = method if len(runs) == 1 else f"{method} ({len(runs)} seeds)"
                axis.plot(*zip(*middle), color=COLOURS[method], label=label, lw=1.5)
                if method in ("grpo", "stare-auto"):
                    steps = [step for step, _ in middle]
                    axis.fill_between(steps, [v for _, v in low], [v for _, v in high],
                                      color=COLOURS[method], alpha=0.12, lw=0)
            axis.set(title=title.replace("K", runs_of(grouped, task)[0].samples), xlabel="step")
        axes[0].legend(fontsize=7, frameon=False)
        figure.suptitle(f"{TASKS[task]}: held-out problems (bands: 95 % over problems)", fontsize=9)
        save(figure, f"held-out-{task}")


def marker_of(method):
    return "o" if method.startswith("stare") else "s" if method in ("grpo", "grpo-4") else "^"


def draw_trade(grouped):
    """Where each method ends: accuracy of one sample against coverage of eight."""
    tasks = [task for task in LETTERS if task in tasks_of(grouped)]
    figure, axes = plt.subplots(1, len(tasks), figsize=(5 * len(tasks), 4.2), squeeze=False)
    for axis, task in zip(axes[0], tasks):
        for (other, method), runs in grouped.items():
            if other != task:
                continue
            x, y = (last_evaluation(runs, HELD_OUT[name])[0] for name in ("sampled accuracy", "pass@K"))
            axis.plot(x, y, marker_of(method), color=COLOURS[method], ms=7, alpha=0.85, label=method, ls="")
        axis.legend(fontsize=6.5, ncol=2, frameon=False)
        axis.set(title=TASKS[task], xlabel="sampled accuracy, last evaluation", ylabel="pass@8, last evaluation")
        axis.margins(x=0.1, y=0.25)
    save(figure, "trade")


def draw_length_law(grouped):
    figure, axis = plt.subplots(figsize=(4.8, 4))
    points = []
    for task in LETTERS:
        for run in grouped.get((task, "grpo"), []):
            length, weight = critical_weight([run], slice(0, 60))
            points.append((length, weight - 1))
            axis.plot(length, weight - 1, "o", color="#1f5fa8", ms=5)
            axis.annotate(task.upper(), points[-1], fontsize=8, xytext=(5, 4), textcoords="offset points")
    scale = math.exp(mean(math.log(x * y) for x, y in points))
    ends = [min(x for x, _ in points) * 0.8, max(x for x, _ in points) * 1.25]
    axis.plot(ends, [scale / x for x in ends], color="black", lw=0.8, ls=":", label=f"{scale:.0f} / length")
    axis.legend(frameon=False, fontsize=8)
    axis.set(xscale="log", yscale="log", xlabel="mean length of answers, tokens",
             ylabel="critical weight W* - 1", title="GRPO, steps 1 to 60, each seed")
    save(figure, "length-law")


def draw_prediction(grouped):
    tasks = [task for task in LETTERS if task in tasks_of(grouped)]
    figure, axes = plt.subplots(1, len(tasks), figsize=(4.6 * len(tasks), 3.9), squeeze=False)
    for axis, task in zip(axes[0], tasks):
        for method in ("grpo", "stare-auto"):
            found = [probe for run in grouped.get((task, method), []) for probe in run.probes()]
            if not found:
                continue
            predicted, fresh, batch = zip(*found)
            label = (f"{method}: r = {correlation(predicted, fresh):.2f} fresh (dots), "
                     f"{correlation(predicted, batch):.2f} batch (crosses)")
            axis.plot(predicted, batch, "x", color=COLOURS[method], ms=3, alpha=0.3)
            axis.plot(predicted, fresh, "o", color=COLOURS[method], ms=3, label=label)
        axis.axhline(0, color="black", lw=0.5)
        axis.axvline(0, color="black", lw=0.5)
        axis.set(title=TASKS[task], xlabel="predicted, for a unit step in the logits",
                 ylabel="measured change, nats a token")
        axis.legend(fontsize=6.5, frameon=False)
    save(figure, "prediction")


def draw_weights(grouped):
    """Factor and gate of the automatic weight, step by step."""
    tasks = [task for task in LETTERS if (task, "stare-auto") in grouped]
    figure, axes = plt.subplots(1, len(tasks), figsize=(4.8 * len(tasks), 3.6), squeeze=False)
    for axis, task in zip(axes[0], tasks):
        share = axis.twinx()
        for run in grouped[task, "stare-auto"]:
            axis.plot(*zip(*run.series("stare/reweight_w")), lw=1.1, label=f"W, seed {run.seed}")
            share.plot(*zip(*smooth(run.series("stare/gate_on"), 10)), lw=0.8, ls="--", color="#888888")
        share.set_ylim(0, 1)
        share.set_ylabel("share of steps with the gate open (dashed)", fontsize=7)
        axis.set(title=TASKS[task], xlabel="step", ylabel="W = 1.5 W*, running")
        axis.set_ylim(bottom=0)
        axis.legend(fontsize=7, frameon=False)
    save(figure, "auto-weight")


def draw_selection(grouped):
    """Share of the selected tokens that raise the entropy: quantile against fixed threshold."""
    tasks = [task for task in LETTERS if (task, "stare-probability") in grouped]
    if not tasks:
        return
    figure, axes = plt.subplots(2, len(tasks), figsize=(4.6 * len(tasks), 5.6), squeeze=False)
    keys = {"entropy/selected_raising": "of the winners' highest 10 %, Phi < 0",
            "actor/stare/positive_reweight_ratio": "share of tokens raised, gate open"}
    for row, (key, title) in zip(axes, keys.items()):
        for axis, task in zip(row, tasks):
            for method in ("stare-w-high", "stare-probability"):
                points = lambda run: [  # noqa: E731
                    (line["step"], line[key]) for line in run.steps
                    if line["stare/gate_on"] > 0 or key == "entropy/selected_raising"]
                curve = smooth(over_seeds(grouped.get((task, method), [])[:1], points), 10)
                if curve:
                    axis.plot(*zip(*curve), color=COLOURS[method], lw=1.3, label=method)
            axis.set(title=TASKS[task], xlabel="step", ylabel=title)
            axis.set_ylim(bottom=0)
            axis.legend(fontsize=7, frameon=False)
    save(figure, "selection")


def draw_quadrants(grouped):
    """What each quadrant does to the entropy, first order."""
    names = {"u_plus": ("winners, low surprisal", "#c0392b"), "l_plus": ("winners, high surprisal", "#1f5fa8"),
             "u_minus": ("losers, low surprisal", "#5b9bd5"), "l_minus": ("losers, high surprisal", "#e08e0b")}
    tasks = [task for task in LETTERS if (task, "grpo") in grouped]
    figure, axes = plt.subplots(1, len(tasks), figsize=(4.8 * len(tasks), 3.8), squeeze=False)
    for axis, task in zip(axes[0], tasks):
        for name, (label, colour) in names.items():
            key = f"quadrant/quantile/{name}/entropy"
            curve = smooth(over_seeds(grouped[task, "grpo"], lambda run: run.series(key)), 1)
            axis.plot(*zip(*curve), color=colour, lw=1.4, label=label)
        axis.axhline(0, color="black", lw=0.5)
        axis.set(title=f"{TASKS[task]} - GRPO", xlabel="step", ylabel="- sum A Phi / N")
        axis.title.set_fontsize(9)
        axis.legend(fontsize=7, frameon=False)
    save(figure, "quadrants")


def main():
    grouped = load()
    if not grouped:
        sys.exit(f"there are no runs in {RUNS}: bash scripts/entropy.sh makes them")
    plt.rcParams.update({"svg.hashsalt": "stearin", "svg.fonttype": "none", "font.size": 9})
    for draw in (draw_entropy, draw_pairs, draw_held_out, draw_trade, draw_length_law, draw_prediction, draw_weights,
                 draw_selection, draw_quadrants, write_tables):
        draw(grouped)


main()
