"""The adapter that both train: rank 8, on every linear map, without dropout."""

from peft import LoraConfig

RANK = 8


def lora() -> LoraConfig:
    return LoraConfig(r=RANK, lora_alpha=2 * RANK, target_modules="all-linear", task_type="CAUSAL_LM")
