"""Opens checkpoints saved by stearin with transformers and compares; called by scripts/export-check.sh.

Each folder holds a checkpoint and expected.json: {text, ids, logits (rows, vocabulary), chat, rendered}, stearin's own.
"""

import json
import os
import pathlib
import sys

os.environ["HF_HUB_OFFLINE"] = "1"

import torch  # noqa: E402
import transformers  # noqa: E402

BOUND = 5e-4  # logits, absolute: two f32 implementations; transformers' own f32 is 1e-4 from its f64


def check(folder):
    """What differs between the two, as sentences."""
    expected = json.loads((folder / "expected.json").read_text())
    problems = []

    model, report = transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, output_loading_info=True
    )
    for what in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if report[what]:
            problems.append(f"{what}: {sorted(report[what])[:3]}")
    with torch.inference_mode():
        logits = model.eval()(torch.tensor([expected["ids"]])).logits[0]
    gap = (logits - torch.tensor(expected["logits"])).abs().max().item()
    if not gap <= BOUND:
        problems.append(f"logits are {gap:.2e} apart, bound {BOUND:.0e}")

    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    ids = tokenizer.encode(expected["text"], add_special_tokens=False)
    if ids != expected["ids"]:
        problems.append(f"token ids: expected {expected['ids'][:12]}, got {ids[:12]}")
    if expected["rendered"] is not None:
        rendered = tokenizer.apply_chat_template(expected["chat"], tokenize=False, add_generation_prompt=True)
        if rendered != expected["rendered"]:
            problems.append(f"chat: expected {expected['rendered']!r}, got {rendered!r}")
    return gap, problems


def main():
    print(f"torch {torch.__version__}, transformers {transformers.__version__}")
    folders = sorted(path.parent for path in pathlib.Path(sys.argv[1]).glob("*/expected.json"))
    if not folders:
        raise SystemExit(f"no checkpoint with an expected.json in {sys.argv[1]}")
    failed = 0
    for folder in folders:
        gap, problems = check(folder)
        failed += bool(problems)
        print(f"{'FAILED' if problems else 'ok':6} {folder.name}: logits at most {gap:.1e} apart")
        for problem in problems:
            print(f"       {problem}")
    print(f"{len(folders) - failed} passed, {failed} failed")
    raise SystemExit(bool(failed))


if __name__ == "__main__":
    main()
