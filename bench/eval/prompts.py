"""Checks that both programs make the same prompt tokens of every row.

Each runs on a model of one small block with the tokenizer and the chat template of the real one.
`stearin train` writes the token ids of its prompts into its record; the recipe has the `[prompt]`
that `stearin eval` wrote into `eval.toml`.
"""

import json
import pathlib
import shutil
import subprocess
import tomllib
from typing import Any

from transformers import AutoConfig, AutoModelForCausalLM

TOKENIZER = ["tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "special_tokens_map.json"]
RECIPE = """\
model.path = {model}
data.train = {{ kind = "jsonl", path = {rows} }}
data.shuffle = false
data.max_prompt_tokens = 4096
eval.every = "off"
record.tokens_every = 1

[prompt]
{prompt}

[[stage]]
kind = "rl"
steps = 1
batch = {count}
group_size = 2
rollout = {{ max_new_tokens = 1 }}
rewards = [{{ kind = "math" }}]
schedule = {{ kind = "constant", lr = 1e-6 }}
"""


def small(model: pathlib.Path, folder: pathlib.Path) -> pathlib.Path:
    """A model whose arithmetic takes no time, with the text side of `model`."""
    if not (folder / "config.json").exists():
        config = AutoConfig.from_pretrained(model)
        sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "head_dim": 16}
        for name, size in (sizes | {"num_attention_heads": 1, "num_key_value_heads": 1}).items():
            setattr(config, name, size)
        partial = folder.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)
        AutoModelForCausalLM.from_config(config).save_pretrained(partial)
        for name in TOKENIZER:
            if (model / name).exists():
                shutil.copy(model / name, partial)
        partial.rename(folder)
    return folder


def ours(stearin: str, model: pathlib.Path, rows: pathlib.Path, settings: pathlib.Path) -> dict[str, list[int]]:
    """Prompt tokens by id."""
    prompt = tomllib.loads(settings.read_text())["prompt"]
    lines = [f"{key} = {value(one)}" for key, one in prompt.items() if one not in (None, [], {})]
    count = sum(1 for _ in rows.open())
    place = {"model": json.dumps(str(model.resolve())), "rows": json.dumps(str(rows.resolve()))}
    recipe = rows.with_name("prompts.toml")
    recipe.write_text(RECIPE.format(**place, prompt="\n".join(lines), count=count))
    run = rows.with_name("prompts")
    shutil.rmtree(run, ignore_errors=True)
    command = [stearin, "train", str(recipe), "--run-dir", str(run)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)}\nended with status {done.returncode}: {done.stderr[-2000:]}")
    found = {}
    for path in (run / "tokens").iterdir():
        for line in path.open():
            group = json.loads(line)
            found[group["id"]] = group["prompt"]
    return found


def value(one: Any) -> str:
    """As TOML writes it: its texts and lists are JSON's, its tables are not."""
    if isinstance(one, dict):
        return "{ " + ", ".join(f"{json.dumps(key)} = {value(part)}" for key, part in one.items()) + " }"
    return json.dumps(one)


def theirs(report: dict[str, Any], tokenizer: Any) -> dict[str, list[int]]:
    """Prompt tokens by id, of a report of peer.py; those that a batch was given."""
    given = {tuple(prompt) for prompt, _ in report["notes"]}
    found = {}
    for sample in report["samples"]:
        tokens = tokenizer(sample["prompt"], add_special_tokens=False)["input_ids"]
        # Encoded again only to know whose they are.
        found[sample["id"]] = tokens if tuple(tokens) in given else []
    return found


def compared(mine: dict[str, list[int]], other: dict[str, list[int]]) -> tuple[int, list[str]]:
    """How many are equal, and the ids of those that are not."""
    if mine.keys() != other.keys():
        raise SystemExit(f"bench/eval: prompts of other rows: {sorted(mine.keys() ^ other.keys())[:5]}")
    differing = [name for name, tokens in mine.items() if tokens != other[name]]
    return len(mine) - len(differing), differing
