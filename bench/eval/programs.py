"""Runs both programs on the same rows, and reads what they leave.

Linux counts what this process held when it forked as the child's: rounds.py imports this and
nothing large.
"""

import argparse
import datetime
import json
import os
import pathlib
import re
import subprocess
import sys
import time
from dataclasses import dataclass, field
from typing import Any

from tasks import BENCHMARKS, Benchmark, write_rows

HERE = pathlib.Path(__file__).parent
# Of `stearin eval`'s directory.
RESULTS = "evals/step-000000"
# Of `stearin grade` and in the lines of an evaluation.
CORRECT = "correct"


class Failed(Exception):
    """A program ended with an error."""


@dataclass(frozen=True)
class Answer:
    """One completion: its text, its tokens, the end token among them, and who says that it is correct."""

    text: str
    length: int
    # None: not judged yet.
    ours: bool | None = None
    # What stearin takes as the answer.
    answer: str = ""
    theirs: dict[str, bool] = field(default_factory=dict)


@dataclass(frozen=True)
class Setting:
    stearin: str
    model: pathlib.Path
    threads: int
    batch: int


@dataclass(frozen=True)
class Places:
    """Where the programs leave what they make of the rows of a folder."""

    folder: pathlib.Path

    @property
    def ours(self) -> pathlib.Path:
        return self.folder / "stearin"

    @property
    def theirs(self) -> pathlib.Path:
        return self.folder / "lm-eval.json"


def rows_of(folder: pathlib.Path, benchmark: Benchmark) -> pathlib.Path:
    return folder / f"{benchmark.name}.jsonl"


def round_folder(out: pathlib.Path, benchmark: Benchmark, turn: int) -> pathlib.Path:
    return out / f"{benchmark.name}-round-{turn}"


@dataclass(frozen=True)
class Took:
    """Seconds of a whole process, its most resident memory, and what it printed."""

    seconds: float
    peak_mib: float
    said: str


def arguments(about: str | None) -> argparse.ArgumentParser:
    """What compare.py and rounds.py have in common."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--model", type=pathlib.Path, required=True, help="a folder in the layout of transformers")
    parser.add_argument("--stearin", required=True)
    parser.add_argument("--target", type=pathlib.Path, required=True)
    data = os.environ.get("STEARIN_DATA", "data")
    parser.add_argument("--data", type=pathlib.Path, default=data, help="folder of NAME.jsonl or NAME_test.jsonl")
    parser.add_argument("--only", nargs="+", choices=list(BENCHMARKS), default=list(BENCHMARKS))
    parser.add_argument("--limit", type=int, help="rows of each benchmark, evenly spaced")
    parser.add_argument("--batch", type=int, default=32, help="our slots, and lm-eval's batch size")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--out", type=pathlib.Path, help="folder of all files; the same command continues there")
    return parser


def begin(options: argparse.Namespace) -> tuple[Setting, pathlib.Path]:
    """Makes the folder and prints where and when this is."""
    now = datetime.datetime.now(datetime.UTC)
    out = options.out or options.target / f"bench-eval-{now:%Y%m%dT%H%M%S}"
    out.mkdir(parents=True, exist_ok=True)
    names = re.findall(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text())
    load = f"load {os.getloadavg()[0]:.2f} at the start"
    print(
        f"{names[0] if names else 'unknown processor'}, {os.cpu_count()} cores, {options.threads} threads, {load}, "
        f"{now:%Y-%m-%d %H:%M} UTC, batch {options.batch}\n",
        flush=True,
    )
    return Setting(options.stearin, options.model, options.threads, options.batch), out


def run(command: list[str], threads: int) -> Took:
    """Runs a program; a failure has its last words."""
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    began = time.perf_counter()
    done = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)
    said = done.stdout.read()
    _, status, usage = os.wait4(done.pid, 0)
    took = time.perf_counter() - began
    done.returncode = os.waitstatus_to_exitcode(status)
    if done.returncode != 0:
        raise Failed(f"{' '.join(command)}\nended with status {done.returncode}: {said.strip()[-3000:]}")
    return Took(took, usage.ru_maxrss / 1024, said)


def our_command(setting: Setting, benchmark: Benchmark, rows: pathlib.Path, out: pathlib.Path) -> list[str]:
    command = [setting.stearin, "eval", "--model", str(setting.model), "--bench", str(rows), "--prompt", "boxed"]
    protocol = ["--protocol", "greedy"]
    if benchmark.samples > 1:
        protocol = ["--protocol", "paper", "--samples", str(benchmark.samples)]
    command += [*protocol, "--max-new-tokens", str(benchmark.max_new_tokens), "--slots", str(setting.batch)]
    return [*command, "--threads", str(setting.threads), "--out", str(out)]


def their_command(setting: Setting, benchmark: Benchmark, rows: pathlib.Path, out: pathlib.Path) -> list[str]:
    command = [sys.executable, str(HERE / "peer.py"), "--model", str(setting.model), "--bench", benchmark.name]
    command += ["--rows", str(rows), "--batch", str(setting.batch), "--threads", str(setting.threads)]
    return [*command, "--out", str(out)]


def ours(folder: pathlib.Path, name: str) -> dict[str, list[Answer]]:
    """Completions by problem, of a directory of `stearin eval`; finished or not."""
    found = {}
    path = folder / RESULTS / f"{name}.jsonl"
    for line in path.open() if path.exists() else []:
        if not line.endswith("\n"):
            break
        row = json.loads(line)
        columns = zip(row["texts"], row["lengths"], row["outcomes"], row["votes"], strict=True)
        found[row["id"]] = [
            Answer(text, length, outcome == CORRECT, "" if vote is None else row["classes"][vote]["answer"])
            for text, length, outcome, vote in columns
        ]
    return found


def theirs(setting: Setting, benchmark: Benchmark, rows: list[dict[str, str]], folder: pathlib.Path) -> list[Any]:
    """Reports of peer.py on the rows, piece by piece; a piece that is there already is read."""
    reports = []
    for at in range(0, len(rows), setting.batch * 2):
        piece = folder / f"{benchmark.name}-{at:05}.jsonl"
        out = piece.with_suffix(".json")
        write_rows(rows[at : at + setting.batch * 2], piece)
        if not out.exists():
            run(their_command(setting, benchmark, piece, out), setting.threads)
            print(f"{benchmark.name}: lm-eval has {at + setting.batch * 2} of {len(rows)}", file=sys.stderr, flush=True)
        reports.append(json.loads(out.read_text()))
    return reports


def rounds(out: pathlib.Path, benchmark: Benchmark) -> tuple[list[dict[str, str]], dict[str, list[Answer]], list[Any]]:
    """Rows, our completions and reports of peer.py of the rounds that rounds.py brought to their end."""
    rows, mine, reports = [], {}, []
    for folder in sorted(out.glob(f"{benchmark.name}-round-*")):
        places, path = Places(folder), rows_of(folder, benchmark)
        answers = ours(places.ours, benchmark.name)
        these = [json.loads(line) for line in path.open()]
        if places.theirs.exists() and len(answers) == len(these):
            rows += these
            mine |= answers
            reports.append(json.loads(places.theirs.read_text()))
    if not rows:
        raise SystemExit(f"bench/eval: no round of {benchmark.name} in {out} came to its end; --rounds makes them")
    return rows, mine, reports


def their_answers(reports: list[Any], tokenizer: Any) -> dict[str, list[Answer]]:
    found = {}
    for report in reports:
        lengths: dict[tuple[tuple[int, ...], str], int] = {}
        for prompt, made in report["notes"]:
            lengths[tuple(prompt), tokenizer.decode(made, skip_special_tokens=True)] = len(made)
        for sample in report["samples"]:
            prompt = tuple(tokenizer(sample["prompt"], add_special_tokens=False)["input_ids"])
            found[sample["id"]] = [Answer(text, lengths[prompt, text]) for text in sample["texts"]]
    return found


def our_verdicts(stearin: str, pairs: list[tuple[str, str]], folder: pathlib.Path) -> list[tuple[bool, str]]:
    """Verdict and answer of each pair of a gold and a text, as `stearin eval` grades."""
    path = folder / "grade.jsonl"
    with path.open("w") as file:
        for number, (gold, text) in enumerate(pairs):
            print(json.dumps({"id": number, "gold": gold, "prediction": text, "as": "response"}), file=file)
    command = [stearin, "grade", str(path), "--strictness", "eval"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise Failed(f"{' '.join(command)}\nended with status {done.returncode}: {done.stderr[-2000:]}")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return [(line["verdict"] == CORRECT, line.get("answer") or "") for line in lines]
