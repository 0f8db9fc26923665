"""The tables of docs/entropy.md."""

import re

from runs import (
    ENTROPY, HELD_OUT, ROOT, TASKS, correlation, critical_weight, gate_opens, last_evaluation, mean,
    methods_of, target_of, tasks_of,
)

PAGE = ROOT / "docs/entropy.md"


def rows_of(header, rows):
    line = "| " + " | ".join(header) + " |"
    return [line, "|" + "---|" * len(header), *("| " + " | ".join(row) + " |" for row in rows)]


def number(value, digits=2):
    return f"{value:.{digits}f}" if value == value else ""


def main_table(grouped, task):
    samples = grouped[task, methods_of(grouped, task)[0]][0].samples
    header = ["method", "seeds", "entropy, first 5 steps", "last 5", "last half", "gate on, last half",
              "W, last half", *(name.replace("K", samples) for name in HELD_OUT)]
    target = target_of(grouped, task)
    rows = []
    for method in methods_of(grouped, task):
        runs = grouped[task, method]
        over = lambda of: mean(of(run) for run in runs)  # noqa: E731
        half = over(lambda run: mean(run.values("actor/entropy", "last")))
        off = f" ({100 * (half / target - 1):+.0f} %)" if method.startswith("stare") and target else ""
        gate = over(lambda run: mean(run.values("stare/gate_on", "last")))
        held = [last_evaluation(runs, key) for key in HELD_OUT.values()]
        rows.append([
            method, str(len(runs)), number(over(lambda run: mean(run.values(ENTROPY)[:5])), 3),
            number(over(lambda run: mean(run.values(ENTROPY)[-5:])), 3), number(half, 3) + off,
            f"{100 * gate:.0f} %" if gate == gate else "",
            number(over(lambda run: mean(run.values("stare/reweight_w", "last")))),
            *("" if pair is None else f"{pair[0]:.3f} ± {pair[1]:.3f}" for pair in held),
        ])
    return rows_of(header, rows)


def critical_table(grouped):
    header = ["task", "length, tokens", "W*, first 60 steps", "(W* - 1) x length", "W*, last half"]
    rows = []
    for task in tasks_of(grouped):
        runs = grouped.get((task, "grpo"))
        if not runs:
            continue
        length, weight = critical_weight(runs, slice(0, 60))
        _, later = critical_weight(runs, slice(len(runs[0].steps) // 2, None))
        rows.append([TASKS[task], number(length, 1), number(weight), number((weight - 1) * length, 1),
                     number(later)])
    return rows_of(header, rows)


def prediction_table(grouped):
    header = ["task", "method", "probes", "r, fresh rollouts", "r, the batch itself", "mean predicted",
              "mean measured, fresh", "mean measured, batch"]
    rows = []
    for (task, method), runs in grouped.items():
        found = [probe for run in runs for probe in run.probes()]
        if method not in ("grpo", "stare-auto", "stare-w-high", "stare-open") or len(found) < 3:
            continue
        predicted, fresh, batch = zip(*found)
        rows.append([
            task.upper() if len(task) == 1 else task, method, str(len(found)), number(correlation(predicted, fresh)),
            number(correlation(predicted, batch)), f"{mean(predicted):+.4f}", f"{mean(fresh):+.4f}",
            f"{mean(batch):+.4f}",
        ])
    return rows_of(header, rows)


def threshold_table(grouped):
    header = ["task", "selection", "share of tokens raised while the gate is open", "of the winners' 10 % highest surprisals, Phi < 0",
              "entropy, last half", "gate on, last half"]
    rows = []
    for task in tasks_of(grouped):
        for method, name in (("stare-w-high", "quantile, P = 0.1"), ("stare-probability", "probability below 0.1")):
            for run in grouped.get((task, method), [])[:1]:
                opened = [row for row in run.steps if row["stare/gate_on"] > 0]
                rows.append([
                    task.upper(), name,
                    f"{100 * mean(row['actor/stare/positive_reweight_ratio'] for row in opened):.1f} %",
                    f"{100 * mean(row['entropy/selected_raising'] for row in opened):.0f} %",
                    number(mean(run.values("actor/entropy", "last")), 3),
                    f"{100 * mean(run.values('stare/gate_on', 'last')):.0f} %",
                ])
    return rows_of(header, rows)


def identity_table(grouped):
    """Until the gate opens, a run is GRPO's run of that seed."""
    header = ["run", "gate first open in step", "steps before it, equal to GRPO's to the bit", "loss of that step equal"]
    rows = []
    for (task, method), runs in grouped.items():
        for run in runs if method in ("stare-auto", "stare-w-high", "stare-open", "stare-c2") else []:
            twin = next((one for one in grouped.get((task, "grpo"), []) if one.seed == run.seed), None)
            opens = gate_opens(run)
            if twin is None or opens is None:
                continue
            same = [all(mine[key] == its[key] for key in ("actor/entropy", "actor/loss"))
                    for mine, its in zip(run.steps, twin.steps)]
            before = same[: opens - 1]
            rows.append([run.name, str(opens), f"{sum(before)} of {len(before)}",
                         "yes" if same[opens - 1] else "no"])
    return rows_of(header, rows)


def runs_table(grouped):
    header = ["run", "steps", "minutes", "median step, s", "commit", "date"]
    rows = [
        [run.name, str(len(run.steps)), number(run.facts["seconds"] / 60, 1),
         number(run.facts["seconds_step_median"]), run.facts["commit"][:8], run.facts["date"]]
        for runs in grouped.values() for run in runs
    ]
    return rows_of(header, rows)


def write_tables(grouped):
    tables = {f"task-{task}": main_table(grouped, task) for task in tasks_of(grouped)}
    tables["critical"] = critical_table(grouped)
    tables["prediction"] = prediction_table(grouped)
    tables["threshold"] = threshold_table(grouped)
    tables["identity"] = identity_table(grouped)
    tables["runs"] = runs_table(grouped)
    page = PAGE.read_text()
    for name, rows in tables.items():
        pattern = re.compile(rf"(<!-- table {name} -->\n).*?(<!-- end -->)", re.S)
        page, count = pattern.subn(lambda m: m[1] + "\n".join(rows) + "\n" + m[2], page)
        if count == 0:
            print(f"docs/entropy.md has no place for the table {name}:\n" + "\n".join(rows))
    PAGE.write_text(page)
