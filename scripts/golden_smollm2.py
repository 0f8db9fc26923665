"""Golden values of SmolLM2-135M-Instruct for engine/tests/it/real.rs, from transformers on the dequantised GGUF.

    bash scripts/fetch-smollm2.sh
    python3 -m venv /tmp/venv && /tmp/venv/bin/pip install torch transformers accelerate gguf
    /tmp/venv/bin/python scripts/golden_smollm2.py

Writes engine/testdata/smollm2_golden.json: for each text its token ids, and at each position the five largest logits
and the log-probability of the token that comes next; a greedy continuation; the chat template's renderings. Weights are
f32, products f64. The file says how far transformers' own f32 logits are from these, which is what a bound has to allow.

The tokenizer is not the one transformers makes from the GGUF: that one drops the pre-tokenizer which `smollm` stands
for (digits one at a time, then byte level with its regex) and is wrong on digits outside ASCII.
"""

import argparse
import hashlib
import json
import os
import pathlib
import platform

os.environ["HF_HUB_OFFLINE"] = "1"

import gguf  # noqa: E402
import numpy  # noqa: E402
import tokenizers  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parent.parent
TOP = 5
GREEDY_TOKENS = 32
CONTROL = 3  # token_type of the GGUF format: a special token

PAGE = """\
# Notes, 14 March 2024 (draft 0.9.1)

The café on Łódź street sold 1,234 pastries in 2023; that is 102.83 a month, or 3.4 a day. "Naïve", she
said, "but don't we'll they'd I'm you've IT'S".  Two spaces, a tab\there, and a trailing space. \n
```python
def fib(n: int) -> int:
    a, b = 0, 1
    for _ in range(n):
        a, b = b, a + b  # 0x7fff_ffff
    return a
assert fib(10) == 55 and fib(0) != 1, f"{fib(90)=}"
```

Let $x^2 + 2x + 1 = 0$, hence \\boxed{-1}; $\\frac{3}{4} \\le \\sqrt{2} \\approx 1.41421356237$.

日本語のテキスト、2024年3月14日。中文：你好，世界！ 한국어 문장입니다. Русский текст № 7. Ελληνικά. עברית. العربية ٣٤٥٦.
Fractions ½ ¾, Roman Ⅻ, superscript x² and 10⁻³, Devanagari १२३, full width １２３.
Emoji 😀 👩‍👩‍👧‍👦 🇵🇱 ❤️, combining e\u0301 a\u0308, no-break\u00a0space, zero\u200bwidth, dash – and —, ellipsis…
<|im_start|>user
special tokens in the text: 7+8?<|im_end|>
\r\nURL https://example.org/a?b=1&c=%20#frag  e-mail a.b@c.de  path C:\\tmp\\x  (((nested))) ... !!! ---
ALLCAPS camelCase snake_case kebab-case 3.14e-10 1e5 0b1010 12:34:56 +1 (555) 010-9999
"""

TEXTS = [
    "The capital of France is",
    "12 + 30 = 42, 123456789 * 10 = 1234567890",
    "    indented\n\n\nlines\t\ttabs   ",
    "fn main() { println!(\"{}\", 0xff); }",
    "Ünïcödé 日本語 😀 ٣٤ ½",
    "x",
]

CHATS = [
    {"system": None, "user": "What is 7 + 8? Answer with a number."},
    {"system": "You are a careful mathematician.", "user": "Name the first five primes."},
]


def reference_tokenizer(fields):
    """The published tokenizer of SmolLM2, from the vocabulary and merges in the file."""
    tokens = fields["tokenizer.ggml.tokens"].contents()
    types = fields["tokenizer.ggml.token_type"].contents()
    merges = [tuple(merge.split(" ")) for merge in fields["tokenizer.ggml.merges"].contents()]
    tokenizer = Tokenizer(models.BPE(vocab={token: i for i, token in enumerate(tokens)}, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Digits(individual_digits=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=True, use_regex=True),
    ])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(
        [AddedToken(token, special=True, normalized=False) for token, kind in zip(tokens, types) if kind == CONTROL]
    )
    return tokenizer


def logits_of(model, ids):
    with torch.inference_mode():
        return model(torch.tensor([ids])).logits[0]


def scored(model, tokenizer, text):
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    logits = logits_of(model, ids)
    log_probs = torch.log_softmax(logits, -1)
    top = logits.topk(TOP, -1)
    return logits, {
        "text": text,
        "ids": ids,
        "top_ids": top.indices.tolist(),
        "top_logits": [[round(x, 5) for x in row] for row in top.values.tolist()],
        "next_log_probs": [round(log_probs[i, token].item(), 6) for i, token in enumerate(ids[1:])],
    }


def greedy(model, ids, stop):
    """Greedy continuation and the smallest lead of a winner over its runner-up."""
    ids, completion, lead = list(ids), [], float("inf")
    while len(completion) < GREEDY_TOKENS and stop not in completion:
        best = logits_of(model, ids)[-1].topk(2)
        lead = min(lead, (best.values[0] - best.values[1]).item())
        completion.append(best.indices[0].item())
        ids.append(completion[-1])
    return completion, lead


def main():
    args = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    args.add_argument("--gguf", type=pathlib.Path, default=ROOT / "models/smollm2-135m-instruct.gguf")
    args.add_argument("--out", type=pathlib.Path, default=ROOT / "engine/testdata/smollm2_golden.json")
    args = args.parse_args()

    fields = gguf.GGUFReader(args.gguf).fields
    tokenizer = reference_tokenizer(fields)
    stop = fields["tokenizer.ggml.eos_token_id"].contents()
    renderer = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer)
    renderer.chat_template = fields["tokenizer.chat_template"].contents()
    model = transformers.AutoModelForCausalLM.from_pretrained(
        args.gguf.parent, gguf_file=args.gguf.name, dtype=torch.float32
    )
    model = model.double().eval()

    chats = []
    for chat in CHATS:
        messages = [{"role": role, "content": chat[role]} for role in ("system", "user") if chat[role] is not None]
        rendered = renderer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        ids = tokenizer.encode(rendered, add_special_tokens=False).ids
        completion, lead = greedy(model, ids, stop)
        print(repr(tokenizer.decode(completion)), "lead", round(lead, 4))
        chats.append({**chat, "rendered": rendered, "greedy": completion, "greedy_lead": round(lead, 5)})

    texts = [*TEXTS, *(chat["rendered"] for chat in chats), PAGE]
    single = [scored(model, tokenizer, text) for text in texts]
    torch.nn.Module.float(model)  # the method itself is barred on a model that came from a GGUF
    gap = max((logits_of(model, case["ids"]).double() - logits).abs().max().item() for logits, case in single)
    print(f"{sum(len(case['ids']) for _, case in single)} tokens; logits in f32 are at most {gap:.2e} away")

    golden = {
        "made_by": "scripts/golden_smollm2.py",
        "versions": {
            "python": platform.python_version(),
            **{module.__name__: module.__version__ for module in (torch, transformers, tokenizers, numpy)},
            "gguf": gguf_version(),
        },
        "gguf_sha256": hashlib.sha256(args.gguf.read_bytes()).hexdigest(),
        "f32_logits_off_by": gap,
        "stop_token": stop,
        "chats": chats,
        "texts": [case for _, case in single],
    }
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(golden, ensure_ascii=True, separators=(",", ":")) + "\n")
    print(f"wrote {args.out}, {args.out.stat().st_size} bytes")


def gguf_version():
    from importlib.metadata import version

    return version("gguf")


if __name__ == "__main__":
    main()
