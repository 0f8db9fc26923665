"""The peer of our step: GRPOTrainer of TRL, prompts and completions of fixed lengths. It trains all weights, or an
adapter by PEFT.

One update a step, beta 0, temperature 1, nothing recomputed: the settings that make it fastest. In bfloat16
its weights and moments are held in that type as well.
"""

import argparse
import itertools
import tempfile
import time
from collections.abc import Callable
from typing import Any

import torch
from datasets import Dataset
from transformers import AutoTokenizer, TrainerCallback
from trl import GRPOConfig, GRPOTrainer

from lora import lora
from peer import arguments, load, say

Wrap = Callable[[GRPOTrainer], None]


def prompt(tokenizer: Any, number: int, length: int) -> str:
    """A text of exactly `length` tokens, another one for each number."""
    text = str(number) + " the" * (length - len(str(number)))
    got = len(tokenizer(text)["input_ids"])
    if got != length:
        raise SystemExit(f"prompt: expected {length} tokens, got {got}: the vocabulary of the model is another one")
    return text


def alternate(completions: list[str], **_: object) -> list[float]:
    """Every other sibling is rewarded, whatever it says."""
    return [float(index % 2) for index in range(len(completions))]


class Clock(TrainerCallback):
    """When each step ended."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_step_end(self, *_: object, **__: object) -> None:
        self.ends.append(time.perf_counter())


def shaped(about: str | None) -> argparse.ArgumentParser:
    """Arguments of a step of fixed lengths."""
    parser = arguments(about)
    for name in ("prompts", "group", "new", "prompt-tokens"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--lora", action="store_true", help="train an adapter")
    return parser


def trained(options: argparse.Namespace, steps: int, callback: TrainerCallback, wrap: Wrap = lambda _: None) -> None:
    """Trains for `steps`; `wrap` is given the trainer before it begins."""
    torch.set_num_threads(options.threads)
    tokenizer = AutoTokenizer.from_pretrained(options.model)
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    problems = [{"prompt": prompt(tokenizer, number, options.prompt_tokens)} for number in range(100, 164)]
    with tempfile.TemporaryDirectory() as folder:
        config = GRPOConfig(
            output_dir=folder,
            per_device_train_batch_size=options.prompts * options.group,
            num_generations=options.group,
            max_completion_length=options.new,
            generation_kwargs={"min_new_tokens": options.new},
            max_steps=steps,
            learning_rate=1e-6,
            beta=0.0,
            temperature=1.0,
            use_cpu=True,
            bf16=options.dtype == "bfloat16",
            gradient_checkpointing=False,
            report_to=[],
            save_strategy="no",
            logging_strategy="no",
            disable_tqdm=True,
        )
        trainer = GRPOTrainer(
            model=load(options.model, options.dtype),
            reward_funcs=alternate,
            args=config,
            train_dataset=Dataset.from_list(problems),
            processing_class=tokenizer,
            callbacks=[callback],
            peft_config=lora() if options.lora else None,
        )
        wrap(trainer)
        trainer.train()


def main() -> None:
    options = shaped(__doc__).parse_args()
    clock = Clock()
    trained(options, options.reps + 1, clock)
    # The first step ends the warm-up; each later one is timed from end to end.
    took = [end - start for start, end in itertools.pairwise(clock.ends)]
    if len(took) != options.reps:
        raise SystemExit(f"steps: expected {options.reps} after the first, got {len(took)}")
    say(seconds=took, tokens=options.prompts * options.group * options.new)


if __name__ == "__main__":
    main()
