"""Evaluates a model with lm-evaluation-harness, and keeps what its command line does not log: token ids and times.

The evaluation is `lm_eval.simple_evaluate`, which the command `lm_eval run` calls, with
`--model hf --apply_chat_template`. The one method that generates is wrapped, to note its prompts,
its completions and the time it takes.
"""

import argparse
import json
import pathlib
import time
from dataclasses import replace
from typing import Any

import torch
from lm_eval import simple_evaluate
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager

from tasks import BENCHMARKS, write_task


class Watch:
    """Notes each batch of `HFLM._model_generate`."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.notes: list[tuple[list[int], list[int]]] = []

    def wrap(self) -> None:
        generate = HFLM._model_generate

        def generated(lm: Any, context: torch.Tensor, attention_mask: torch.Tensor, **how: Any) -> torch.Tensor:
            began = time.perf_counter()
            made = generate(lm, context=context, attention_mask=attention_mask, **how)
            self.seconds += time.perf_counter() - began
            for row, mask in zip(made.tolist(), attention_mask.tolist(), strict=True):
                width = len(mask)
                prompt = [token for token, kept in zip(row, mask) if kept]
                self.notes.append((prompt, ended(row[width:], lm.eot_token_id)))
            return made

        HFLM._model_generate = generated


def ended(tokens: list[int], end: int) -> list[int]:
    """A completion up to its end token and with it, without what fills the batch."""
    return tokens[: tokens.index(end) + 1] if end in tokens else tokens


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, help="a folder in the layout of transformers")
    parser.add_argument("--bench", required=True, choices=list(BENCHMARKS))
    parser.add_argument("--rows", type=pathlib.Path, required=True)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--max-new-tokens", type=int, help="in place of the benchmark's")
    parser.add_argument("--out", type=pathlib.Path, required=True)
    return parser.parse_args()


def main() -> None:
    options = arguments()
    torch.set_num_threads(options.threads)
    benchmark = BENCHMARKS[options.bench]
    if options.max_new_tokens:
        benchmark = replace(benchmark, max_new_tokens=options.max_new_tokens)
    folder = options.out.parent / "tasks"
    task = write_task(benchmark, options.rows, folder)
    watch = Watch()
    watch.wrap()
    began = time.perf_counter()
    found = simple_evaluate(
        model="hf",
        model_args={"pretrained": options.model, "dtype": "float32"},
        device="cpu",
        tasks=[task],
        task_manager=TaskManager(include_path=str(folder)),
        apply_chat_template=True,
        batch_size=options.batch,
        bootstrap_iters=0,
        random_seed=options.seed,
        numpy_random_seed=options.seed,
        torch_random_seed=options.seed,
    )
    took = time.perf_counter() - began
    report = {"bench": options.bench, "seconds": took, "generate_seconds": watch.seconds}
    report |= {"tokens": sum(len(made) for _, made in watch.notes), "threads": torch.get_num_threads()}
    report["results"] = {key: value for key, value in found["results"][task].items() if key.endswith(",all")}
    records = []
    for sample in found["samples"][task]:
        records.append({"id": sample["doc"]["id"], "prompt": sample["arguments"][0][0], "texts": sample["resps"][0]})
    # Batches are in an order of lm-eval's own.
    report["samples"] = records
    report["notes"] = watch.notes
    partial = options.out.with_suffix(".partial")
    partial.write_text(json.dumps(report))
    partial.replace(options.out)


if __name__ == "__main__":
    main()
