"""Time of both programs on the same rows, in alternating rounds, each with rows of its own.

The whole process counts: start, model, sampling, grading. `sampling` is the part that each program
spends in sampling, by its own clock, with the prompts' passes. The texts are kept; `compare.py
--sampled` compares them.
"""

import argparse
import json
import os
import pathlib
import re
import statistics
import time
from typing import Any

import programs
from programs import Setting
from tasks import BENCHMARKS, Benchmark, read, spaced, write_rows

WHO = ["lm-eval", "stearin"]
RATE = re.compile(r"sampled (\d+) tokens in .*: (\d+) tokens/s")
Line = dict[str, Any]


def once(who: str, setting: Setting, benchmark: Benchmark, folder: pathlib.Path) -> Line:
    """One program on the rows of a folder, where it leaves its texts."""
    rows, place = programs.rows_of(folder, benchmark), programs.Places(folder)
    line: Line = {"who": who, "bench": benchmark.name, "load": os.getloadavg()[0], "began": round(time.time())}
    if who == "lm-eval":
        took = programs.run(programs.their_command(setting, benchmark, rows, place.theirs), setting.threads)
        said = json.loads(place.theirs.read_text())
        line |= {"tokens": said["tokens"], "sampling": said["generate_seconds"]}
    else:
        took = programs.run(programs.our_command(setting, benchmark, rows, place.ours), setting.threads)
        tokens, rate = map(int, RATE.search(took.said).groups())
        if rate == 0:
            raise programs.Failed("stearin sampled less than a token a second: the machine is too busy to measure time")
        line |= {"tokens": tokens, "sampling": tokens / rate}
    return line | {"seconds": took.seconds, "peak_mib": took.peak_mib}


def measure(setting: Setting, options: argparse.Namespace, out: pathlib.Path) -> None:
    """Prints medians; every run goes to `rounds.jsonl`."""
    print("| benchmark | rounds | program | whole, s | sampling, s | tokens | tokens/s | peak, MiB | load |")
    print("|---|---|---|---|---|---|---|---|---|")
    ends = time.monotonic() + (options.seconds or float("inf"))
    with (out / "rounds.jsonl").open("w") as file:
        for benchmark in (BENCHMARKS[name] for name in options.only):
            rows = spaced(read(options.data, benchmark.name), options.rounds * options.limit)
            found: dict[str, list[Line]] = {who: [] for who in WHO}
            longest = 0.0
            for turn in range(options.rounds):
                began = time.monotonic()
                if began + longest > ends:
                    break
                folder = programs.round_folder(out, benchmark, turn)
                write_rows(rows[turn :: options.rounds], programs.rows_of(folder, benchmark))
                for who in WHO:
                    line = once(who, setting, benchmark, folder) | {"round": turn}
                    found[who].append(line)
                    print(json.dumps(line), file=file, flush=True)
                longest = max(longest, time.monotonic() - began)
            report(benchmark.name, found)


def report(name: str, found: dict[str, list[Line]]) -> None:
    for who, lines in found.items():
        print(table_line(name, who, lines))
    print(f"\n{name}: times as fast as lm-eval, by round:")
    for key in ("seconds", "sampling"):
        ratios = [theirs[key] / mine[key] for theirs, mine in zip(found["lm-eval"], found["stearin"], strict=True)]
        print(f"  {'whole' if key == 'seconds' else key}: {', '.join(f'{ratio:.2f}' for ratio in ratios)}")
    print(flush=True)


def middle(lines: list[Line], key: str) -> float:
    return statistics.median(float(line[key]) for line in lines)


def table_line(name: str, who: str, lines: list[Line]) -> str:
    rate = statistics.median(line["tokens"] / line["sampling"] for line in lines)
    loads = [line["load"] for line in lines]
    cells = [name, len(lines), who, f"{middle(lines, 'seconds'):.1f}", f"{middle(lines, 'sampling'):.1f}"]
    cells += [f"{middle(lines, 'tokens'):.0f}", f"{rate:.1f}", f"{middle(lines, 'peak_mib'):.0f}"]
    return "| " + " | ".join(map(str, [*cells, f"{min(loads):.1f} to {max(loads):.1f}"])) + " |"


def main() -> None:
    parser = programs.arguments(__doc__)
    parser.add_argument("--rounds", type=int, required=True, help="each of --limit rows, 32 without it")
    parser.add_argument("--seconds", type=float, help="no round begins that would end later")
    options = parser.parse_args()
    options.limit = options.limit or 32
    setting, out = programs.begin(options)
    measure(setting, options, out)


if __name__ == "__main__":
    try:
        main()
    except programs.Failed as failure:
        raise SystemExit(f"bench/eval: {failure}") from None
