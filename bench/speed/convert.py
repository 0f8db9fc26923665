"""Writes one GGUF file as each peer needs it: f32, f16 and bf16 for llama.cpp, a folder for transformers. Writes a
fresh adapter of PEFT, too.

Whatever type the file holds, all peers and we then compute with the same numbers, rounded to the type of the row.
"""

import argparse
import json
import pathlib
import shutil
import subprocess
from typing import Any

import torch
from gguf import GGUFReader, LlamaFileType
from peft import get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

from lora import lora

TYPES = {
    "f32": LlamaFileType.ALL_F32,
    "f16": LlamaFileType.MOSTLY_F16,
    "bf16": LlamaFileType.MOSTLY_BF16,
}


def held_type(model: pathlib.Path) -> LlamaFileType | None:
    field = GGUFReader(model).get_field("general.file_type")
    return None if field is None else LlamaFileType(int(field.contents()))


def for_llama(model: pathlib.Path, quantize: pathlib.Path, folder: pathlib.Path) -> None:
    held = held_type(model)
    for name, wanted in TYPES.items():
        target = folder / f"{name}.gguf"
        if held == wanted:
            target.symlink_to(model.resolve())
            continue
        command = [str(quantize), "--allow-requantize", str(model), str(target), name.upper()]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise SystemExit(f"llama-quantize to {name}: status {done.returncode}\n{done.stderr[-2000:]}")


def for_transformers(model: pathlib.Path, folder: pathlib.Path) -> Any:
    """Saves a model that has forgotten that it was quantized: transformers refuses to train one that has not."""
    place = {"pretrained_model_name_or_path": str(model.parent), "gguf_file": model.name}
    read = AutoModelForCausalLM.from_pretrained(**place, dtype=torch.float32)
    config = read.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    plain = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    plain.load_state_dict(read.state_dict())
    plain.save_pretrained(folder)
    AutoTokenizer.from_pretrained(**place).save_pretrained(folder)
    return plain


def weights_read(model: Any) -> int:
    """How many weights a token needs: all of them, but the table of embeddings where it is not the head as well."""
    table = model.get_input_embeddings().weight
    tied = table is model.get_output_embeddings().weight
    return int(sum(one.numel() for one in model.parameters()) - (0 if tied else table.numel()))


def convert(model: pathlib.Path, quantize: pathlib.Path | None, folder: pathlib.Path) -> None:
    """What is not there yet; the last file of each part says that its conversion came to its end."""
    facts, llama = folder / "facts.json", folder / "llama.json"
    folder.mkdir(parents=True, exist_ok=True)
    if quantize and not llama.exists():
        for name in TYPES:
            (folder / f"{name}.gguf").unlink(missing_ok=True)
        for_llama(model, quantize, folder)
        llama.write_text(json.dumps(list(TYPES)) + "\n")
    if not facts.exists():
        shutil.rmtree(folder / "transformers", ignore_errors=True)
        plain = for_transformers(model, folder / "transformers")
        read = weights_read(plain)
        get_peft_model(plain, lora()).save_pretrained(folder / "adapter")
        facts.write_text(json.dumps({"weights_read": read}) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=pathlib.Path, required=True)
    parser.add_argument("--quantize", type=pathlib.Path, help="llama-quantize; left out, only for transformers")
    parser.add_argument("--folder", type=pathlib.Path, required=True)
    options = parser.parse_args()
    convert(options.model, options.quantize, options.folder)


if __name__ == "__main__":
    main()
