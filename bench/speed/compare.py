"""Measures us and our peers on the same model file and threads, and prints one line a comparison.

The raw lines, with every command, go to a file. A program that fails ends the comparison with its last words; only
where our binary refuses bf16 the cell says `not measured`.
"""

import argparse
import datetime
import json
import os
import pathlib
import platform
import re
import shlex
import signal
import statistics
import sys

from job import Failed, Job, Measured, Runner
from rows import COSTS, NO_PEAK, Comparison, Row, Setting, earlier, rows

HEAD = ["work", "unit", "peer", "its figure", "ours", "ratio", "at least"]
HEAD += ["its peak, MiB", "ours, MiB", "times as small", "at least"]
ABSENT = "–"


def processor() -> str:
    try:
        names = re.findall(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text())
    except OSError:
        names = []
    return names[0] if names else platform.machine()


def extensions() -> list[str]:
    """What the processor says it has of the instructions that decide these figures."""
    try:
        flags = set(pathlib.Path("/proc/cpuinfo").read_text().split())
    except OSError:
        return []
    return [name for name in ["avx2", "avx512f", "avx512_bf16", "amx_bf16"] if name in flags]


def cells(line: list[str]) -> None:
    print("| " + " | ".join(line) + " |", flush=True)


def number(value: float | None) -> str:
    """Three digits that count."""
    if value is None:
        return ABSENT
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def line(row: Row, comparison: Comparison, peer: Measured, mine: Measured | None) -> list[str]:
    # A bound is computed from what limits.py measured: its memory says nothing.
    bare = row.unit in NO_PEAK
    peak = None if bare or comparison.peer.who.startswith("bound") else peer.peak_mib
    good = small = None
    if mine:
        better, worse = (peer, mine) if row.unit in COSTS else (mine, peer)
        # A gap can be 0.
        good = better.figure / worse.figure if worse.figure else None
        small = peak / mine.peak_mib if peak else None
    ours = number(mine.figure) if mine else "not measured"
    measured = [number(peer.figure), ours, number(good), number(comparison.reach)]
    memory = [number(peak), number(mine.peak_mib if mine and not bare else None), number(small), number(comparison.reach_memory)]
    return [row.work, row.unit, comparison.peer.who, *measured, *memory]


def middle(rounds: list[Measured]) -> Measured:
    figures = (done.figure for done in rounds)
    return Measured(statistics.median(figures), max(done.peak_mib for done in rounds))


Pair = tuple[Measured, Measured | None]


def side_by_side(runner: Runner, row: Row, rounds: int) -> list[Pair]:
    """Each comparison; round by round, so that an hour in which the machine is slow is slow for all."""
    pairs: list[list[Pair]] = [[] for _ in row.comparisons]
    for turn in range(rounds):
        for comparison, done in zip(row.comparisons, pairs, strict=True):
            peer = runner.measure(row.name, comparison.peer, turn)
            done.append((peer, our_side(runner, row, comparison.ours, turn)))
    return [middle_of_both(done) for done in pairs]


def middle_of_both(pairs: list[Pair]) -> Pair:
    ours = [mine for _, mine in pairs if mine]
    return middle([peer for peer, _ in pairs]), middle(ours) if ours else None


def our_side(runner: Runner, row: Row, job: Job, turn: int) -> Measured | None:
    """Nothing where bf16 is asked for and refused."""
    try:
        return runner.measure(row.name, job, turn)
    except Failed as refusal:
        if "--dtype" not in job.commands[0]:
            raise
        print(f"{row.name}: not measured: {refusal}", file=sys.stderr, flush=True)
        return None


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=pathlib.Path, required=True)
    parser.add_argument("--stearin", type=pathlib.Path, required=True)
    parser.add_argument("--llama", type=pathlib.Path, required=True, help="folder of llama.cpp's programs, for decoding")
    parser.add_argument("--models", type=pathlib.Path, required=True, help="folder of the peers' copies of the model")
    parser.add_argument("--only", nargs="+", metavar="ROW", help="names of rows; an unknown one lists them")
    parser.add_argument("--rounds", type=int, default=3, help="of every row, peer and we in turn")
    parser.add_argument("--earlier", type=pathlib.Path, metavar="BINARY", help="compare with this build of ours alone")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--flags", default="", help="more flags of `stearin bench`, in one word")
    parser.add_argument("--out", type=pathlib.Path, help="file of the raw lines")
    return parser.parse_args()


def chosen(all_rows: list[Row], only: list[str] | None) -> list[Row]:
    names = [row.name for row in all_rows]
    unknown = [name for name in only or [] if name not in names]
    if unknown:
        raise SystemExit(f"bench/speed: no row {', '.join(unknown)}; there are: {', '.join(names)}")
    return [row for row in all_rows if only is None or row.name in only]


def check_programs(measured: list[Row]) -> None:
    """Before hours of measuring."""
    jobs = [job for row in measured for each in row.comparisons for job in (each.peer, each.ours)]
    for program in dict.fromkeys(command[0] for job in jobs for command in job.commands):
        if not os.access(program, os.X_OK):
            raise SystemExit(f"bench/speed: {program} is no program that can be run")


def main() -> None:
    options = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("bench/speed: ended from outside"))
    now = datetime.datetime.now(datetime.UTC)
    machine = {"processor": processor(), "has": extensions(), "cores": os.cpu_count(), "threads": options.threads}
    machine |= {"load": round(os.getloadavg()[0], 2), "date": f"{now:%Y-%m-%d %H:%M} UTC", "model": options.model.name}
    rounds = options.rounds
    if rounds < 1:
        raise SystemExit(f"bench/speed: --rounds {rounds}: expected 1 or more")
    places = [options.stearin, options.model, options.llama, options.models]
    stearin, model, llama, models = (place.resolve() for place in places)
    flags = tuple(shlex.split(options.flags))
    setting = Setting(stearin, flags, model, llama, models, options.threads)
    measured = chosen(rows(setting), options.only)
    if options.earlier:
        measured = [earlier(row, options.earlier.resolve()) for row in measured]
    check_programs(measured)
    out = options.out or options.models.parent / f"bench-speed-{now:%Y%m%dT%H%M%S}.jsonl"
    print(
        f"{machine['processor']} ({', '.join(machine['has'])}), {machine['cores']} cores, {options.threads} threads, "
        f"load {machine['load']} at the start, {machine['date']}, {options.model.name}, medians of {rounds} rounds\n"
    )
    cells(HEAD)
    cells(["---"] * len(HEAD))
    with out.open("w") as raw:
        print(json.dumps(machine | {"rounds": rounds}), file=raw, flush=True)
        runner = Runner(options.threads, raw)
        for row in measured:
            for comparison, pair in zip(row.comparisons, side_by_side(runner, row, rounds), strict=True):
                cells(line(row, comparison, *pair))
    print(f"raw lines: {out}", file=sys.stderr)


if __name__ == "__main__":
    try:
        main()
    except Failed as failure:
        raise SystemExit(f"bench/speed: {failure}") from None
