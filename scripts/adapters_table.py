"""Prints the table of scripts/adapters.sh as Markdown: one row for each kind of run, over its seeds.

    python3 scripts/adapters_table.py FOLDER
"""

import json
import math
import re
import statistics
import sys
from pathlib import Path

ORDER = ["full", "r1", "r8", "r32"]


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines() if line]


def bytes_of(folder: Path, names) -> int:
    return sum((folder / name).stat().st_size for name in names if (folder / name).is_file())


def held_out(run: Path) -> tuple[int, int]:
    """Correct completions of the last evaluation, and all of them."""
    last = max((run / "evals").iterdir())
    summary = json.loads((last / "held-out.json").read_text())
    count = summary["problems"] * summary["samples"]
    return round(summary["accuracy"] * count), count


def read(run: Path) -> dict:
    checkpoint = max((run / "checkpoints").iterdir())
    timings = lines(run / "timings.jsonl")
    correct, count = held_out(run)
    return {
        "correct": correct,
        "count": count,
        # The first steps warm up.
        "step_s": statistics.median(line["timing_s/step"] for line in timings[5:] if "timing_s/step" in line),
        "peak_mib": max(line["perf/peak_rss_mib"] for line in timings),
        "weights": bytes_of(checkpoint, ["adapter_model.safetensors", "model.safetensors"]),
        "whole": sum(file.stat().st_size for file in checkpoint.iterdir()),
    }


def wilson(correct: int, count: int) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson 1927)."""
    z, share = 1.959964, correct / count
    centre = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return centre - half, centre + half


def row(kind: tuple[str, str], runs: list[dict]) -> str:
    correct, count = sum(run["correct"] for run in runs), sum(run["count"] for run in runs)
    low, high = wilson(correct, count)
    seeds = ", ".join(f"{100 * run['correct'] / run['count']:.1f}" for run in runs)
    median = {key: statistics.median(run[key] for run in runs) for key in ("step_s", "peak_mib", "weights", "whole")}
    weights, base = kind
    return " | ".join([
        f"| {weights}", base, f"{100 * correct / count:.1f} ({100 * low:.1f} to {100 * high:.1f})", seeds, f"{median['step_s']:.2f}",
        f"{median['peak_mib']:.0f}", f"{median['weights'] / 2**20:.1f}", f"{median['whole'] / 2**20:.1f} |",
    ])


def main() -> None:
    kinds: dict[tuple[str, str], list[dict]] = {}
    for run in sorted(Path(sys.argv[1]).iterdir()):
        name = re.fullmatch(r"(full|r\d+)-(f32|bf16|q4_1)-s(\d+)", run.name)
        status = run / "status.json"
        if name and status.is_file() and json.loads(status.read_text())["state"] == "finished":
            kinds.setdefault((name[1], name[2]), []).append(read(run))
    print("| weights | base | held-out accuracy, % (95 %) | each seed | step, s | peak, MiB | weights, MiB | checkpoint, MiB |")
    print("|---|---|---|---|---|---|---|---|")
    for kind in sorted(kinds, key=lambda kind: (ORDER.index(kind[0]), kind[1])):
        print(row(kind, kinds[kind]))


if __name__ == "__main__":
    main()
