"""The rows of the table: which work, by whom, and what we are to reach."""

import importlib.metadata
import json
import pathlib
import statistics
import sys
from dataclasses import dataclass, replace

from job import Job, Line

HERE = pathlib.Path(__file__).parent
SECONDS, RATE, NATS, MEBIBYTES = "s", "tokens/s", "nats", "MiB"
# Of these less is better.
COSTS = (SECONDS, NATS, MEBIBYTES)
# What these rows measure is not the memory of a run.
NO_PEAK = (NATS, MEBIBYTES)
PROMPTS, GROUP, NEW, SHORT, LONG = 2, 8, 64, 48, 373
SEQUENCES, LENGTH = 16, 128
SLOTS = [1, 4, 16, 64]
# In each round, after one that is not counted: of what takes long, and of decoding.
REPS, DECODE_REPS = 1, 2
# At least this share of an earlier build's speed.
KEPT = 0.95
TORCH_NAMES = {"f32": "float32", "bf16": "bfloat16"}


@dataclass(frozen=True)
class Comparison:
    """One line of the table."""

    peer: Job
    ours: Job
    # How many times the peer we are to be at least, in speed, and how many times smaller.
    reach: float | None = None
    reach_memory: float | None = None


@dataclass(frozen=True)
class Row:
    name: str
    work: str
    unit: str
    comparisons: list[Comparison]


@dataclass(frozen=True)
class Setting:
    """Where the programs are, and how they are run."""

    stearin: pathlib.Path
    flags: tuple[str, ...]
    model: pathlib.Path
    llama: pathlib.Path
    models: pathlib.Path
    threads: int

    def weights_read(self) -> int:
        return int(json.loads((self.models / "facts.json").read_text())["weights_read"])


def taken(outputs: list[list[Line]]) -> float:
    """Seconds of a peer's repetition, median."""
    return float(statistics.median(outputs[0][0]["seconds"]))


def torch_job(setting: Setting, package: str, program: str, dtype: str, *arguments: str, rate: bool = True) -> Job:
    """A program of this folder on the model in the layout of transformers."""
    command = [sys.executable, str(HERE / program), "--model", str(setting.models / "transformers"), *arguments]
    command += ["--dtype", TORCH_NAMES[dtype], "--threads", str(setting.threads), "--reps", str(REPS)]

    def figure(outputs: list[list[Line]]) -> float:
        return int(outputs[0][0]["tokens"]) / taken(outputs) if rate else taken(outputs)

    return Job(f"{package} {importlib.metadata.version(package)}, {dtype}", [tuple(command)], figure)


def groups(prompts: int, group: int, new: int, prompt_tokens: int) -> tuple[str, ...]:
    shape = {"prompts": prompts, "group": group, "new": new, "prompt-tokens": prompt_tokens}
    return tuple(word for name, value in shape.items() for word in (f"--{name}", str(value)))


def bench(setting: Setting, what: str, dtype: str, *arguments: str, reps: int = REPS) -> tuple[str, ...]:
    command = (str(setting.stearin), "bench", what, "--model", str(setting.model), *arguments, *setting.flags)
    # Left out where it is the default, so that a binary without the flag is measured in f32.
    command += () if dtype == "f32" else ("--dtype", dtype)
    return command + ("--threads", str(setting.threads), "--reps", str(reps))


def ours(setting: Setting, what: str, dtype: str, *arguments: str) -> Job:
    key = "s_per_step" if what == "step" else "tok_per_s"
    command = bench(setting, what, dtype, *arguments)
    return Job(f"stearin, {dtype}", [command], lambda outputs: float(outputs[0][0][key]))


def decode_alone(setting: Setting, dtype: str, sequences: int) -> Job:
    """Passes over new tokens only: what `NEW` tokens take longer than one, which the prompt's pass gives."""
    shapes = [groups(sequences, 1, new, SHORT) for new in (NEW, 1)]
    commands = [bench(setting, "decode", dtype, *shape, reps=DECODE_REPS) for shape in shapes]

    def figure(outputs: list[list[Line]]) -> float:
        longer = float(outputs[0][0]["s_per_step"] - outputs[1][0]["s_per_step"])
        return float("nan") if longer <= 0 else sequences * (NEW - 1) / longer

    return Job(f"stearin, {dtype}", commands, figure)


def llama_job(setting: Setting, dtype: str, sequences: int) -> Job:
    """llama-batched-bench, each sequence with a prompt of its own; the first of its repetitions is dropped."""
    repeated = ",".join([str(sequences)] * (DECODE_REPS + 1))
    threads = str(setting.threads)
    # Twice what the tokens need: it divides the context among the sequences, in blocks.
    context = str(2 * sequences * (SHORT + NEW))
    command = [str(setting.llama / "llama-batched-bench"), "-m", str(setting.models / f"{dtype}.gguf"), "-c", context]
    command += ["-npp", str(SHORT), "-ntg", str(NEW), "-npl", repeated, "-t", threads, "-tb", threads]
    command += ["--output-format", "jsonl"]

    def figure(outputs: list[list[Line]]) -> float:
        return float(statistics.median(line["speed_tg"] for line in outputs[0][1:]))

    pin = (HERE / "llama.txt").read_text().strip().replace("==", " ")
    return Job(f"llama.cpp of {pin}, {dtype}", [tuple(command)], figure)


def bound(setting: Setting, who: str, what: str, key: str, need: int) -> Job:
    """Tokens a second, were the rate of one thing all there is; `need` is how much of it a token takes."""
    command = [sys.executable, str(HERE / "limits.py"), "--what", what]
    command += ["--threads", str(setting.threads)]

    def figure(outputs: list[list[Line]]) -> float:
        [[printed]] = outputs
        return float(printed[key] / statistics.median(printed["seconds"]) / need)

    return Job(f"bound: {who}", [tuple(command)], figure)


def read_bound(setting: Setting, bytes_each: int) -> Job:
    """Of one sequence: every weight is read once a token."""
    return bound(setting, "memory read by PyTorch", "read", "bytes", bytes_each * setting.weights_read())


def product_bound(setting: Setting) -> Job:
    """Of training: a weight is multiplied and added once forward and twice backward."""
    who = "f32 product by PyTorch, nothing recomputed"
    return bound(setting, who, "product", "operations", 6 * setting.weights_read())


def named(work: str, dtype: str) -> str:
    return work if dtype == "f32" else f"{work}-{dtype}"


def step_row(setting: Setting, length: int, dtype: str, reaches: dict[str, float | None]) -> Row:
    shape = groups(PROMPTS, GROUP, NEW, length)
    mine = ours(setting, "step", dtype, *shape)
    comparisons = [
        Comparison(torch_job(setting, "trl", "peer_trl.py", other, *shape, rate=False), mine, reach)
        for other, reach in reaches.items()
    ]
    work = f"GRPO step, {PROMPTS} x {GROUP} x {NEW}, prompts of {length}, {dtype}"
    return Row(named(f"step-{length}", dtype), work, SECONDS, comparisons)


def small_step_row(setting: Setting) -> Row:
    """The step in the least memory, which is to be fast enough all the same."""
    shape = groups(PROMPTS, GROUP, NEW, SHORT)
    peer = torch_job(setting, "trl", "peer_trl.py", "f32", *shape, rate=False)
    mine = ours(setting, "step", "f32", *shape, "--activations", "recompute")
    work = f"GRPO step, {PROMPTS} x {GROUP} x {NEW}, prompts of {SHORT}, f32, we recompute"
    return Row(f"step-{SHORT}-recompute", work, SECONDS, [Comparison(peer, mine, 2.2, 3.0)])


def adapter_rows(setting: Setting) -> list[Row]:
    """The step with an adapter: on the decoded base, and on the file's blocks in the least memory."""
    shape = groups(PROMPTS, GROUP, NEW, SHORT)
    peer = torch_job(setting, "trl", "peer_trl.py", "f32", *shape, "--lora", rate=False)
    peer = replace(peer, who=f"{peer.who}, peft {importlib.metadata.version('peft')}")
    adapted = (*shape, "--adapter", str(setting.models / "adapter"))
    fast = ours(setting, "step", "f32", *adapted, "--base", "f32")
    small = ours(setting, "step", "f32", *adapted, "--base", "as-stored", "--activations", "recompute")
    work = f"GRPO step, {PROMPTS} x {GROUP} x {NEW}, prompts of {SHORT}, adapter"
    return [
        Row(f"step-{SHORT}-lora", f"{work}, f32", SECONDS, [Comparison(peer, fast, 3.0)]),
        Row(f"step-{SHORT}-lora-stored", f"{work}, our base as stored, we recompute", SECONDS, [Comparison(peer, small, None, 4.0)]),
    ]


def gap_row(setting: Setting, dtype: str, which: str) -> Row:
    """How far the log-probs of sampling are from those of training, for the same weights and tokens."""
    shape = groups(PROMPTS, GROUP, NEW, SHORT)
    key = f"log_prob_gap_{which}"
    peer = torch_job(setting, "trl", "peer_gap.py", dtype, *shape)
    mine = ours(setting, "step", dtype, *shape)
    read = lambda outputs: float(outputs[0][0][key])  # noqa: E731
    comparison = Comparison(replace(peer, figure=read), replace(mine, figure=read))
    work = f"{which} distance of the log-probs of sampling from those of training, {dtype}"
    return Row(named(f"gap-{which}", dtype), work, NATS, [comparison])


def install_row(setting: Setting) -> Row:
    """TRL with all that it requires on disk, and our binary."""
    command = (sys.executable, str(HERE / "installed.py"))
    read = lambda outputs: float(outputs[0][0]["mebibytes"])  # noqa: E731
    who = f"trl {importlib.metadata.version('trl')} and torch, installed"
    peer = Job(who, [(*command, "--packages", "trl", "torch")], read)
    mine = Job("stearin, the binary", [(*command, "--file", str(setting.stearin))], read)
    return Row("install", "installed", MEBIBYTES, [Comparison(peer, mine)])


def generate_row(setting: Setting, dtype: str, reach: float | None) -> Row:
    shape = ("--sequences", str(SEQUENCES), "--prompt-tokens", str(SHORT), "--new", str(NEW))
    peer = torch_job(setting, "transformers", "peer_generate.py", dtype, *shape)
    mine = ours(setting, "decode", dtype, *groups(PROMPTS, GROUP, NEW, SHORT))
    work = f"sampling, {PROMPTS} x {GROUP} x {NEW}, prompts of {SHORT} included, {dtype}"
    return Row(named("generate", dtype), work, RATE, [Comparison(peer, mine, reach)])


def decode_row(setting: Setting, sequences: int, dtype: str) -> Row:
    mine = decode_alone(setting, dtype, sequences)
    reach = 1.0 if sequences == SEQUENCES else None
    others = ["f32"] if dtype == "f32" else ["f16", "bf16"]
    comparisons = [Comparison(llama_job(setting, other, sequences), mine, reach) for other in others]
    if sequences == 1:
        most = read_bound(setting, 4 if dtype == "f32" else 2)
        comparisons.append(Comparison(most, mine, 0.8 if dtype == "f32" else None))
    noun = "sequence" if sequences == 1 else "sequences"
    return Row(named(f"decode-{sequences}", dtype), f"decode alone, {sequences} {noun}, {dtype}", RATE, comparisons)


def earlier(row: Row, binary: pathlib.Path) -> Row:
    """The same work by another build of ours, in place of the peers."""
    mine = row.comparisons[0].ours
    commands = [(str(binary), *command[1:]) for command in mine.commands]
    return replace(row, comparisons=[Comparison(Job("the earlier build", commands, mine.figure), mine, KEPT)])


def train_row(setting: Setting, dtype: str, reach: float) -> Row:
    shape = ("--sequences", str(SEQUENCES), "--length", str(LENGTH))
    peer = torch_job(setting, "torch", "peer_train.py", dtype, *shape)
    mine = ours(setting, "train", dtype, "--batch", str(SEQUENCES), "--seq", str(LENGTH))
    comparisons = [Comparison(peer, mine, reach)]
    if dtype == "f32":
        comparisons.append(Comparison(product_bound(setting), mine, 0.8))
    return Row(named("train", dtype), f"training, {SEQUENCES} x {LENGTH}, {dtype}", RATE, comparisons)


def rows(setting: Setting) -> list[Row]:
    """In the order of measuring: what is compared with the same run of a peer stands together."""
    return [
        step_row(setting, SHORT, "f32", {"f32": 4.0}),
        small_step_row(setting),
        *adapter_rows(setting),
        step_row(setting, SHORT, "bf16", {"f32": None, "bf16": 4.0}),
        *(gap_row(setting, dtype, which) for dtype in TORCH_NAMES for which in ("mean", "max")),
        install_row(setting),
        step_row(setting, LONG, "f32", {"f32": 6.0}),
        step_row(setting, LONG, "bf16", {"f32": 10.0, "bf16": 4.0}),
        generate_row(setting, "f32", 4.0),
        generate_row(setting, "bf16", 5.0),
        *(decode_row(setting, sequences, "f32") for sequences in SLOTS),
        *(decode_row(setting, sequences, "bf16") for sequences in SLOTS),
        train_row(setting, "f32", 1.5),
        train_row(setting, "bf16", 1.8),
    ]
