"""Grades the same rows with stearin and with Math-Verify, and prints both in one table.

Math-Verify is given every advantage that one setting for all rows can have: boxes before other
places, golds and bare answers as delimited mathematics where they are not, letters as choices, its own
time limits, and a process that has imported everything before the clock starts.
"""

import argparse
import json
import logging
import math
import multiprocessing
import os
import pathlib
import platform
import re
import subprocess
import tempfile
import time

FILES = ["cases", "variants", "bulk", "adversarial"]
# Seconds after which a row counts as hanging, and as refused: beyond Math-Verify's own limits.
HANGS = 30


def text(row, name):
    """A field, which long texts have in runs."""
    if row.get(name) is not None:
        return row[name]
    return "".join(piece * count for piece, count in row[name + "_rle"])


def delimited(bare):
    marked = re.search(r"(?<!\\)\$|\\boxed|\\\(|\\\[", bare)
    return bare if marked else f"${bare}$"


def math_verify(connection):
    """Judges rows as they come, until there is no more."""
    from math_verify import (
        ExprExtractionConfig,
        LatexExtractionConfig,
        StringExtractionConfig,
        parse,
        verify,
    )

    logging.disable(logging.CRITICAL)
    usual = [LatexExtractionConfig(boxed_match_priority=0), ExprExtractionConfig()]
    letters = [StringExtractionConfig(strings=tuple("ABCDEFGHIJ"))] + usual
    # What is loaded at the first use is no part of the first row's time.
    verify(parse("$\\frac{1}{2}$", usual), parse("$0.5$", usual))
    connection.send(None)
    while (row := connection.recv()) is not None:
        gold, prediction = row
        began = time.perf_counter()
        try:
            targets = letters if re.fullmatch("[A-J]", gold) else usual
            read = parse(delimited(gold), targets) or parse(gold, targets)
            said = verify(read, parse(prediction, targets))
        except Exception:
            said = False
        connection.send((bool(said), time.perf_counter() - began))


class MathVerify:
    """A process that is started again when it hangs."""

    def __init__(self):
        self.start()

    def start(self):
        self.connection, child = multiprocessing.Pipe()
        self.process = multiprocessing.Process(target=math_verify, args=(child,), daemon=True)
        self.process.start()
        child.close()
        self.connection.recv()

    def judge(self, gold, prediction):
        self.connection.send((gold, prediction))
        try:
            if self.connection.poll(HANGS):
                return self.connection.recv()
        except EOFError:
            pass
        self.process.kill()
        self.start()
        return False, float(HANGS)


def stearin(program, rows, mode):
    """Verdicts and the report of the bench, on exactly these rows."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "rows.jsonl"
        keys = ["gold", "gold_rle", "prediction", "prediction_rle", "mode"]
        with path.open("w") as file:
            for row in rows:
                print(json.dumps({key: row[key] for key in keys if row.get(key) is not None}), file=file)
        run = lambda *command: subprocess.run(
            [program, *command, str(path), "--strictness", mode], capture_output=True, check=True, text=True
        ).stdout
        verdicts = [json.loads(line)["verdict"] == "correct" for line in run("grade").splitlines()]
        return verdicts, json.loads(run("bench", "grade"))


def quantile(times, share):
    ordered = sorted(times)
    return ordered[max(1, math.ceil(share * len(ordered))) - 1]


def duration(seconds):
    for unit, size in [("s", 1), ("ms", 1e-3), ("µs", 1e-6)]:
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e9:.0f} ns"


def line(file, grader, rows, verdicts, median, p99, worst):
    expected = [row["expected"] for row in rows]
    right = sum(said == want for said, want in zip(verdicts, expected, strict=True))
    false = sum(said and not want for said, want in zip(verdicts, expected, strict=True))
    cells = [file, grader, f"{100 * right / len(rows):.2f} %", str(false), duration(median), duration(p99), duration(worst)]
    print("| " + " | ".join(cells) + " |", flush=True)


def processor():
    try:
        names = re.findall(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text())
    except OSError:
        names = []
    return names[0] if names else platform.machine()


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--stearin", required=True)
    arguments.add_argument("--limit", type=int, help="rows of a file, evenly spaced")
    arguments.add_argument("--files", nargs="+", default=FILES)
    options = arguments.parse_args()
    data = pathlib.Path(os.environ["STEARIN_DATA"]) / "grader"
    other = MathVerify()
    print(f"{processor()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the start\n")
    print("| rows | grader | accuracy | false positives | median | p99 | worst |")
    print("|---|---|---|---|---|---|---|")
    for name in options.files:
        rows = [json.loads(row) for row in (data / f"{name}.jsonl").open()]
        rows = [row for row in rows if row.get("core", True)]
        if options.limit and options.limit < len(rows):
            rows = [rows[at * len(rows) // options.limit] for at in range(options.limit)]
        file = f"{name}, {len(rows)}"
        for mode in ["eval", "rl"]:
            verdicts, report = stearin(options.stearin, rows, mode)
            times = [report[key] / 1e6 for key in ["median_us", "p99_us", "worst_us"]]
            line(file, f"stearin, {mode}", rows, verdicts, *times)
        judged = []
        for row in rows:
            prediction = text(row, "prediction")
            bare = row["mode"] == "answer"
            judged.append(other.judge(text(row, "gold"), delimited(prediction) if bare else prediction))
        verdicts, times = [said for said, _ in judged], [seconds for _, seconds in judged]
        line(file, "Math-Verify 0.9.0", rows, verdicts, quantile(times, 0.5), quantile(times, 0.99), max(times))


if __name__ == "__main__":
    main()
