"""Reads exported metrics with other programs' readers; called by scripts/curves-check.sh.

    curves_check.py exports FOLDER            FOLDER/{run,verl-csv,trl-csv,verl-jsonl,...}
    curves_check.py cut FOLDER STEARIN        FOLDER/cut, a copy of a finished run
"""

import csv
import json
import math
import pathlib
import subprocess
import sys
import time

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator


def logs(run):
    """The values of a run: {step: {key: value}}, without `time`, which is separate."""
    rows, times = {}, {}
    for name in ("metrics.jsonl", "timings.jsonl"):
        for line in (run / name).read_text().splitlines():
            line = json.loads(line)
            step = line.pop("step")
            line.pop("stage")
            if "time" in line:
                times[step] = line.pop("time")
            rows.setdefault(step, {}).update({key: math.nan if value is None else value for key, value in line.items()})
    return rows, times


def same(left, right):
    return left == right or (math.isnan(left) and math.isnan(right))


def scalars(folder):
    """{step: {tag: value}} and {step: seconds} as TensorBoard's own reader has them."""
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    events.Reload()
    rows, times = {}, {}
    for tag in events.Tags()["scalars"]:
        for event in events.Scalars(tag):
            rows.setdefault(event.step, {})[tag] = event.value
            times[event.step] = event.wall_time
    return rows, times


def single(value):
    """The nearest f32."""
    import numpy

    return float(numpy.float32(value))


def exports(folder):
    rows, times = logs(folder / "run")
    assert len(rows) > 8, "the run is too short to check anything"

    read, seconds = scalars(folder / "verl-tensorboard")
    assert read.keys() == rows.keys(), (sorted(read), sorted(rows))
    for step, values in rows.items():
        assert read[step].keys() == values.keys(), step
        assert all(same(read[step][key], single(value)) for key, value in values.items()), step
        assert step not in times or seconds[step] == times[step], step

    with open(folder / "verl-csv", newline="") as file:
        table = list(csv.DictReader(file))
    assert [int(line["step"]) for line in table] == sorted(rows)
    for line in table:
        step, when = int(line.pop("step")), line.pop("time")
        values = {key: float(text) for key, text in line.items() if text}
        assert values.keys() == rows[step].keys(), step
        assert all(same(values[key], value) for key, value in rows[step].items()), step
        assert (float(when) if when else None) == times.get(step), step

    for line in (folder / "verl-jsonl").read_text().splitlines():
        line = json.loads(line)
        step, when = line.pop("_step"), line.pop("_timestamp", None)
        values = {key: math.nan if value is None else value for key, value in line.items()}
        assert values.keys() == rows[step].keys(), step
        assert all(same(values[key], value) for key, value in rows[step].items()), step
        assert when == times.get(step), step

    pairs = {"reward": "critic/rewards/mean", "entropy": "actor/entropy", "step_time": "timing_s/step"}
    trl, _ = scalars(folder / "trl-tensorboard")
    for theirs, ours in pairs.items():
        steps = [step for step, values in rows.items() if ours in values]
        assert steps and all(same(trl[step][theirs], single(rows[step][ours])) for step in steps), theirs
    print(f"{len(rows)} steps read back by TensorBoard, csv and json")


def cut(folder, stearin):
    run, out = folder / "cut", folder / "followed"
    status = json.loads((run / "status.json").read_text())
    status.update(state="running", updated=int(time.time()))
    (run / "status.json").write_text(json.dumps(status))
    command = [stearin, "curves", run, "--format", "tensorboard", "--follow", "--output", out]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as follower:
        deadline = time.monotonic() + 60
        while not list(out.glob("events.out.tfevents.*[!l]")):
            assert follower.poll() is None and time.monotonic() < deadline, "nothing was exported"
            time.sleep(0.1)
        # Steps from 6 on are lost, and three come again with other values.
        for name in ("metrics.jsonl", "timings.jsonl"):
            lines = [json.loads(line) for line in (run / name).read_text().splitlines()]
            again = [dict(line) for line in lines if 6 <= line["step"] < 9]
            for line in again:
                line.update({key: value + 1 for key, value in line.items() if key in ("actor/entropy", "timing_s/step")})
            kept = [line for line in lines if line["step"] < 6] + again
            (run / name).write_text("".join(json.dumps(line) + "\n" for line in kept))
        status.update(state="finished", generation=status.get("generation", 0) + 1)
        (run / "status.json").write_text(json.dumps(status))
        told = follower.communicate(timeout=60)[1]
        assert follower.returncode == 0, told
    assert "was cut before step 6" in told, told
    rows, _ = logs(run)
    read, _ = scalars(out)
    assert read.keys() == rows.keys(), (sorted(read), sorted(rows))
    for step, values in rows.items():
        assert all(same(read[step][key], single(value)) for key, value in values.items()), step
    print(f"a cut run followed: TensorBoard shows the {len(rows)} steps that count")


{"exports": exports, "cut": cut}[sys.argv[1]](pathlib.Path(sys.argv[2]), *sys.argv[3:])
