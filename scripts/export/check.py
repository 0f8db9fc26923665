"""Opens what stearin wrote with transformers and PEFT, and compares; called by scripts/export-check.sh.

FOLDER/*/case.json has {text, ids, chat, rendered}. The same folder has the model (hf) and stearin's logits (logits.f32,
rows of the vocabulary). FOLDER/*/*/peft is an adapter of that model, with the logits of both (logits.f32) and the merged
model where there is one. Folders that were changed on purpose must be detected. Last, adapters are saved by PEFT, with
their logits, for stearin to open.
"""

import json
import os
import pathlib
import shutil
import sys
import tempfile
import warnings

os.environ["HF_HUB_OFFLINE"] = "1"

import numpy  # noqa: E402
import peft  # noqa: E402
import safetensors.torch  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402

# Largest difference of a logit over the largest logit. Both sum in f32, each in its own order: more
# than twice the worst that was measured, 4.1e-6.
BOUND = 1e-5
CONFIG, TENSORS = "adapter_config.json", "adapter_model.safetensors"


def read_logits(path, case):
    values = torch.from_numpy(numpy.fromfile(path, dtype="<f4"))
    return values.reshape(len(case["ids"]), -1)


def distance(got, want, ids):
    """Of logits, largest difference over largest value; of the log-probs of the tokens that follow, in nats."""
    apart = ((got - want).abs().max() / want.abs().max()).item()
    following = torch.tensor(ids[1:])[:, None]
    of = [torch.log_softmax(logits[:-1].double(), 1).gather(1, following) for logits in (got, want)]
    nats = (of[0] - of[1]).abs().max().item()
    return (apart, nats) if torch.isfinite(got).all() else (float("inf"), float("inf"))


class Table:
    def __init__(self):
        self.passed = self.failed = 0

    def row(self, model, what, program, apart, problems):
        self.passed, self.failed = self.passed + (not problems), self.failed + bool(problems)
        print(f"| {model} | {what} | {program} | {apart[0]:.1e} | {apart[1]:.1e} | {'FAILED' if problems else 'ok'} |")
        for problem in problems:
            print(f"  {problem}")

    def near(self, model, what, program, apart, problems=()):
        problems = list(problems) + ([] if apart[0] <= BOUND else [f"more than {BOUND:.0e} apart"])
        self.row(model, what, program, apart, problems)

    def far(self, model, what, program, apart):
        """A negative control: what is wrong must be beyond the bound."""
        self.row(model, f"control: {what}", program, apart, [] if apart[0] > BOUND else ["is not told from the right one"])


def load(folder, problems=None):
    model, report = transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, output_loading_info=True
    )
    for what in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if report[what] and problems is not None:
            problems.append(f"{what}: {sorted(report[what])[:3]}")
    return model.eval()


def logits(model, case):
    with torch.inference_mode():
        return model(torch.tensor([case["ids"]])).logits[0].float()


def open_adapter(base, folder, problems):
    """PEFT's model of a folder, with all of its tensors."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        model = peft.PeftModel.from_pretrained(load(base), folder).eval()
    problems.extend(str(one.message)[:200] for one in said if "adapter keys" in str(one.message))
    own, stored = peft.get_peft_model_state_dict(model), safetensors.torch.load_file(folder / TENSORS)
    if own.keys() != stored.keys() or any(not torch.equal(own[name], stored[name]) for name in own):
        problems.append("PEFT holds other tensors than the file")
    return model


def check_text(folder, case):
    """What differs in token ids and in the rendered chat, as sentences."""
    problems, tokenizer = [], transformers.AutoTokenizer.from_pretrained(folder)
    ids = tokenizer.encode(case["text"], add_special_tokens=False)
    if ids != case["ids"]:
        problems.append(f"token ids: expected {case['ids'][:12]}, got {ids[:12]}")
    rendered = tokenizer.apply_chat_template(case["chat"], tokenize=False, add_generation_prompt=True)
    if rendered != case["rendered"]:
        problems.append(f"chat: expected {case['rendered']!r}, got {rendered!r}")
    return problems


def keys(folder, change):
    config = json.loads((folder / CONFIG).read_text())
    change(config)
    (folder / CONFIG).write_text(json.dumps(config))


def scale_forgotten(folder):
    keys(folder, lambda config: config.update(lora_alpha=config["lora_alpha"] * config["r"]))


def flag_ignored(folder):
    keys(folder, lambda config: config.update(use_rslora=False))


def dropout_on(folder):
    keys(folder, lambda config: config.update(lora_dropout=0.1))


def swapped(folder):
    stored = safetensors.torch.load_file(folder / TENSORS)
    other = {"lora_A": "lora_B", "lora_B": "lora_A"}
    rename = {name: name.replace(half, other[half]) for name in stored for half in other if half in name}
    safetensors.torch.save_file({rename[name]: x for name, x in stored.items()}, folder / TENSORS, {"format": "pt"})


# Adapters in which each makes a difference.
SPOILT = [
    ("all", "alpha where alpha / r is due", scale_forgotten),
    ("some", "rsLoRA flag ignored", flag_ignored),
    ("all", "dropout left on", dropout_on),
    ("square", "A and B swapped", swapped),
]


def check_adapter(table, model, folder, case, off):
    want, problems = read_logits(folder / "logits.f32", case), []
    opened = open_adapter(model / "hf", folder / "peft", problems)
    name = f"adapter `{folder.name}`"
    table.near(model.name, name, "PEFT", distance(logits(opened, case), want, case["ids"]), problems)
    table.far(model.name, f"{name} left out", "PEFT", distance(off, want, case["ids"]))
    if (folder / "merged").is_dir():
        problems = []
        merged = load(folder / "merged", problems)
        apart = distance(logits(merged, case), want, case["ids"])
        table.near(model.name, f"{name} merged", "transformers", apart, problems)
    for adapter, what, spoil in SPOILT:
        if adapter == folder.name:
            with tempfile.TemporaryDirectory() as temporary:
                copy = pathlib.Path(temporary) / "peft"
                shutil.copytree(folder / "peft", copy)
                spoil(copy)
                opened = open_adapter(model / "hf", copy, [])
                torch.manual_seed(0)
                got = logits(opened.train() if spoil is dropout_on else opened, case)
            table.far(model.name, what, "PEFT", distance(got, want, case["ids"]))


def save_adapter(model, folder, case, **settings):
    """An adapter of PEFT's own whose B is not zero, and its logits."""
    torch.manual_seed(1)
    config = peft.LoraConfig(task_type="CAUSAL_LM", lora_dropout=0.1, **settings)
    adapted = peft.get_peft_model(load(model / "hf"), config).eval()
    for name, values in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(values, std=0.1)
    adapted.save_pretrained(folder)
    logits(adapted, case).numpy().astype("<f4").tofile(folder / "logits.f32")


def main():
    torch.set_num_threads(2)
    warnings.simplefilter("ignore")
    transformers.utils.logging.disable_progress_bar()
    print(f"torch {torch.__version__}, transformers {transformers.__version__}, PEFT {peft.__version__}")
    models = sorted(path.parent for path in pathlib.Path(sys.argv[1]).glob("*/case.json"))
    if not models:
        raise SystemExit(f"no model with a case.json in {sys.argv[1]}")
    table = Table()
    print("| model | what | program | logits | log-probs, nats | |\n|---|---|---|---|---|---|")
    for model in models:
        case = json.loads((model / "case.json").read_text())
        problems = check_text(model / "hf", case)
        off = logits(load(model / "hf", problems), case)
        apart = distance(off, read_logits(model / "logits.f32", case), case["ids"])
        table.near(model.name, "base", "transformers", apart, problems)
        adapters = sorted(path.parent for path in model.glob("*/peft"))
        if not adapters:
            raise SystemExit(f"no adapter in {model}")
        for folder in adapters:
            check_adapter(table, model, folder, case, off)
        if model.name == "smollm2":  # What PEFT saves does not depend on the size of its model.
            continue
        linear = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
        saved = model / "from-peft"
        save_adapter(model, saved / "plain", case, r=4, lora_alpha=8, target_modules=linear)
        save_adapter(model, saved / "rslora", case, r=3, lora_alpha=5, target_modules=linear[2:4], use_rslora=True)
    for adapter, what, _ in SPOILT:
        if not list(pathlib.Path(sys.argv[1]).glob(f"*/{adapter}/peft")):
            raise SystemExit(f"control: {what}: there is no adapter `{adapter}`")
    print(f"{table.passed} passed, {table.failed} failed")
    raise SystemExit(bool(table.failed))


if __name__ == "__main__":
    main()
