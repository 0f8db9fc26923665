"""What the peers' programs share: arguments, the model, and the line of JSON that they print."""

import argparse
import json
import time
from collections.abc import Callable
from typing import Any

import torch
from transformers import AutoModelForCausalLM


def arguments(about: str | None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--model", required=True, help="a folder in the layout of transformers")
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--reps", type=int, default=3, help="repetitions, after one that is not measured")
    return parser


def load(folder: str, dtype: str) -> Any:
    return AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype))


def random_tokens(model: Any, sequences: int, length: int) -> torch.Tensor:
    return torch.randint(1000, model.config.vocab_size, (sequences, length))


def seconds(work: Callable[[], object], reps: int) -> list[float]:
    """Seconds of each repetition; one more comes first, unmeasured, to warm up."""
    took = []
    for _ in range(reps + 1):
        began = time.perf_counter()
        work()
        took.append(time.perf_counter() - began)
    return took[1:]


def say(**fields: object) -> None:
    print(json.dumps(fields), flush=True)
