"""How the costs of a step and of decoding grow: one table a quantity, each figure from a process of its own.

    python3 bench/speed/scaling.py MODEL [--stearin BINARY] [--only TABLE...] [--reps N] [--flags "MORE"]

Needs nothing but Python and our binary. Models of other vocabularies are written into a temporary folder.
"""

import argparse
import json
import os
import pathlib
import random
import shlex
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

# A step is two prompts of 48 tokens with eight completions of 64 tokens, unless a table says
# otherwise.
GROUPS = [2, 4, 8, 16, 32]
LENGTHS = [16, 32, 64, 128, 256]
SLOTS = [2, 4, 8, 16]
SEQUENCES = [1, 2, 4, 8, 16, 32, 64]
VOCABULARIES = [2048, 8192, 32768, 131072]

# The model of the vocabularies: four blocks of SmolLM2-135M's sizes.
WIDTH, INNER, BLOCKS, HEADS, KV_HEADS, HEAD = 576, 1536, 4, 9, 3, 64

Report = dict[str, Any]


class Bench:
    """Runs our binary."""

    def __init__(self, binary: pathlib.Path, reps: int, flags: list[str]) -> None:
        self.start = [str(binary), "bench"]
        self.end = ["--reps", str(reps), *flags]

    def run(self, what: str, model: str, **options: object) -> Report:
        named = [word for name, value in options.items() for word in (f"--{name.replace('_', '-')}", str(value))]
        command = [*self.start, what, "--model", model, *named, *self.end]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            raise SystemExit(f"{shlex.join(command)}\nended with status {done.returncode}: {done.stderr.strip()}")
        return dict(json.loads(done.stdout))


def cells(*line: object) -> None:
    print("| " + " | ".join(str(cell) for cell in line) + " |", flush=True)


def number(value: float) -> str:
    """Three digits that count."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def steps(name: str, runs: Iterator[tuple[object, int, Report]]) -> None:
    """A table of steps, with the time of a generated token, which should hardly change."""
    cells(name, "step, s", "sampling, s", "update, s", "ms a token", "peak, MiB", "predicted", "predicted / peak")
    cells(*["---"] * 8)
    for value, tokens, got in runs:
        peak, predicted = got["peak_rss_mib"], got["predicted_mib"]
        times = [number(got[key]) for key in ("s_per_step", "s_decode", "s_update")]
        memory = [f"{peak:.0f}", f"{predicted:.0f}", f"{predicted / peak:.2f}"]
        cells(value, *times, number(1000 * got["s_per_step"] / tokens), *memory)


def group_table(bench: Bench, model: str) -> None:
    steps("group size", ((g, 2 * g * 64, bench.run("step", model, group=g)) for g in GROUPS))


def length_table(bench: Bench, model: str) -> None:
    steps("completion, tokens", ((n, 16 * n, bench.run("step", model, new=n)) for n in LENGTHS))


def slots_table(bench: Bench, model: str) -> None:
    steps("slots", ((s, 16 * 64, bench.run("step", model, slots=s)) for s in SLOTS))


def recompute_table(bench: Bench, model: str) -> None:
    runs = ((g, 2 * g * 64, bench.run("step", model, group=g, activations="recompute")) for g in GROUPS)
    steps("group size, recompute", runs)


def vocabulary_table(bench: Bench, _: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        models = ((size, write_model(pathlib.Path(folder) / str(size), size)) for size in VOCABULARIES)
        steps("vocabulary", ((size, 16 * 64, bench.run("step", str(path))) for size, path in models))


def decode_table(bench: Bench, model: str) -> None:
    """Passes over new tokens alone: what 64 tokens take longer than one, which the prompt's pass gives."""
    cells("sequences", "f32, tokens/s", "bf16, tokens/s")
    cells(*["---"] * 3)
    for sequences in SEQUENCES:
        rates = []
        for dtype in ["f32", "bf16"]:
            shape = {"prompts": sequences, "group": 1, "dtype": dtype}
            longer, shorter = (bench.run("decode", model, new=new, **shape)["s_per_step"] for new in (64, 1))
            rates.append(number(sequences * 63 / (longer - shorter)))
        cells(sequences, *rates)


def overhead_table(bench: Bench, _: str) -> None:
    """The quickstart's policy: a step of decoding, arithmetic included."""
    cells("sequences", "ms a decode step")
    cells(*["---"] * 2)
    for sequences in SEQUENCES:
        shape = {"prompts": 1, "group": sequences}
        longer, shorter = (bench.run("decode", "builtin:tiny", new=new, **shape)["s_per_step"] for new in (257, 1))
        cells(sequences, number(1000 * (longer - shorter) / 256))


def write_model(folder: pathlib.Path, vocabulary: int) -> pathlib.Path:
    """A llama of random weights: the same block of numbers over and over, since only time is asked for."""
    folder.mkdir()
    config = {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "vocab_size": vocabulary,
        "hidden_size": WIDTH,
        "intermediate_size": INNER,
        "num_hidden_layers": BLOCKS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KV_HEADS,
        "head_dim": HEAD,
        "max_position_embeddings": 2048,
        "rope_theta": 10000.0,
        "rms_norm_eps": 1e-5,
        "tie_word_embeddings": True,
        "hidden_act": "silu",
        "eos_token_id": 0,
    }
    (folder / "config.json").write_text(json.dumps(config))
    tokens = {f"t{number}": number for number in range(vocabulary)}
    words = {"type": "WordLevel", "vocab": tokens, "unk_token": "t0"}
    split = {"type": "Whitespace"}
    tokenizer = {"version": "1.0", "added_tokens": [], "pre_tokenizer": split, "model": words}
    nothing = {"truncation": None, "padding": None, "normalizer": None, "post_processor": None, "decoder": None}
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer | nothing))
    write_tensors(folder / "model.safetensors", shapes(vocabulary))
    return folder


def shapes(vocabulary: int) -> dict[str, list[int]]:
    tensors = {"model.embed_tokens.weight": [vocabulary, WIDTH], "model.norm.weight": [WIDTH]}
    for block in range(BLOCKS):
        start = f"model.layers.{block}"
        tensors |= {
            f"{start}.input_layernorm.weight": [WIDTH],
            f"{start}.self_attn.q_proj.weight": [HEADS * HEAD, WIDTH],
            f"{start}.self_attn.k_proj.weight": [KV_HEADS * HEAD, WIDTH],
            f"{start}.self_attn.v_proj.weight": [KV_HEADS * HEAD, WIDTH],
            f"{start}.self_attn.o_proj.weight": [WIDTH, HEADS * HEAD],
            f"{start}.post_attention_layernorm.weight": [WIDTH],
            f"{start}.mlp.gate_proj.weight": [INNER, WIDTH],
            f"{start}.mlp.up_proj.weight": [INNER, WIDTH],
            f"{start}.mlp.down_proj.weight": [WIDTH, INNER],
        }
    return tensors


def write_tensors(path: pathlib.Path, tensors: dict[str, list[int]]) -> None:
    """In the layout of safetensors, in f32; norms are ones, as they are before training."""
    draw = random.Random(1)
    block = struct.pack("<65537f", *(draw.gauss(0, 0.02) for _ in range(65537)))
    sizes = [4 * shape[0] * (shape[1] if len(shape) > 1 else 1) for shape in tensors.values()]
    header, at = {}, 0
    for (name, shape), size in zip(tensors.items(), sizes):
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for shape, size in zip(tensors.values(), sizes):
            if len(shape) == 1:
                file.write(struct.pack("<f", 1.0) * shape[0])
                continue
            file.write(block * (size // len(block)) + block[: size % len(block)])


TABLES: dict[str, Callable[[Bench, str], None]] = {
    "group": group_table,
    "length": length_table,
    "slots": slots_table,
    "vocabulary": vocabulary_table,
    "recompute": recompute_table,
    "decode": decode_table,
    "overhead": overhead_table,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="what `stearin bench` takes as its model")
    parser.add_argument("--stearin", type=pathlib.Path, default=pathlib.Path("target/release/stearin"))
    parser.add_argument("--only", nargs="+", choices=list(TABLES), default=list(TABLES))
    parser.add_argument("--reps", type=int, default=3)
    parser.add_argument("--flags", default="", help="more flags of `stearin bench`, in one word")
    options = parser.parse_args()
    if not os.access(options.stearin, os.X_OK):
        sys.exit(f"{options.stearin} is no program: cargo build --release makes it, --stearin names another")
    bench = Bench(options.stearin, options.reps, shlex.split(options.flags))
    for name in options.only:
        print(f"\n{name}:\n", flush=True)
        TABLES[name](bench, options.model)


if __name__ == "__main__":
    main()
