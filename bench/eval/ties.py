"""Where the greedy texts of two programs part: how near a tie the likeliest two tokens were there."""

import pathlib
from dataclasses import dataclass
from typing import Any

import torch
from transformers import AutoModelForCausalLM


@dataclass(frozen=True)
class Parting:
    """The first token that differs, counted from 0."""

    at: int
    # Distance of the two programs' tokens in transformers' log-probs, in nats.
    gap: float
    # Whether they are the likeliest two.
    is_tie: bool


class Ties:
    """Computes log-probs with transformers, in f32."""

    def __init__(self, model: pathlib.Path, tokenizer: Any) -> None:
        self.model = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
        self.tokenizer = tokenizer

    def encoded(self, text: str) -> list[int]:
        return self.tokenizer(text, add_special_tokens=False)["input_ids"]

    def parting(self, prompt: str, left: str, right: str) -> Parting:
        end = [self.tokenizer.eos_token_id]
        one, other = (self.encoded(text) + end for text in (left, right))
        at = next(at for at, both in enumerate(zip(one, other)) if both[0] != both[1])
        with torch.inference_mode():
            logits = self.model(torch.tensor([self.encoded(prompt) + one[:at]])).logits[0, -1]
        scores = logits.log_softmax(-1)
        likeliest = set(scores.topk(2).indices.tolist())
        return Parting(at, abs(float(scores[one[at]] - scores[other[at]])), likeliest == {one[at], other[at]})
