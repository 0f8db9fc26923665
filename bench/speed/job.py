"""Runs one program at a time, each in its own process, and keeps what it printed and the memory it took at most."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TextIO

Line = dict[str, Any]


class Failed(Exception):
    """A program ended with an error, or printed nothing to read."""


@dataclass(frozen=True)
class Job:
    """Who is measured, by which commands, and how their lines of JSON become one figure."""

    who: str
    commands: Sequence[tuple[str, ...]]
    figure: Callable[[list[list[Line]]], float]


@dataclass(frozen=True)
class Measured:
    figure: float
    peak_mib: float


class Runner:
    """Measures jobs; a command that two rows share runs once a round."""

    def __init__(self, threads: int, raw: TextIO) -> None:
        self.raw = raw
        self.known: dict[tuple[int, tuple[str, ...]], tuple[list[Line], float]] = {}
        self.environment = os.environ | {
            "OMP_NUM_THREADS": str(threads),
            "MKL_NUM_THREADS": str(threads),
            "TOKENIZERS_PARALLELISM": "false",
            "HF_HUB_OFFLINE": "1",
            "CUDA_VISIBLE_DEVICES": "",
        }

    def measure(self, row: str, job: Job, turn: int) -> Measured:
        done = [self.run(row, job.who, command, turn) for command in job.commands]
        return Measured(job.figure([lines for lines, _ in done]), max(peak for _, peak in done))

    def run(self, row: str, who: str, command: tuple[str, ...], turn: int) -> tuple[list[Line], float]:
        if (turn, command) not in self.known:
            print(f"{row}: {who}", file=sys.stderr, flush=True)
            load, began = os.getloadavg()[0], time.time()
            lines, peak = execute(command, self.environment)
            record = {"row": row, "who": who, "round": turn, "command": command, "load": load, "began": round(began)}
            record |= {"took_s": round(time.time() - began, 1), "peak_rss_mib": round(peak, 1), "printed": lines}
            print(json.dumps(record), file=self.raw, flush=True)
            self.known[turn, command] = lines, peak
        return self.known[turn, command]


def execute(command: tuple[str, ...], environment: dict[str, str]) -> tuple[list[Line], float]:
    """Lines of JSON on stdout, and the most resident memory in MiB, of the process and those that it waited for.

    Linux counts what this process held when it forked as the child's: nothing large may be imported here.
    """
    with tempfile.TemporaryFile("w+") as said, tempfile.TemporaryFile("w+") as complained:
        process = subprocess.Popen(command, stdout=said, stderr=complained, env=environment)
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            # What is left behind would slow whatever is measured next.
            process.kill()
            raise
        process.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        complained.seek(0)
        # With the quote: trainers print dictionaries of Python as well.
        lines = [json.loads(line) for line in said if line.startswith('{"')]
        if process.returncode != 0 or not lines:
            tail = complained.read().strip()[-3000:]
            what = f"ended with status {process.returncode}" if process.returncode else "printed no line of JSON"
            raise Failed(f"{' '.join(command)}\n{what}: {tail}")
    # Linux counts kibibytes, macOS bytes.
    unit = 1 << 20 if sys.platform == "darwin" else 1 << 10
    return lines, usage.ru_maxrss / unit
