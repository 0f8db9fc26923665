"""Makes special_token_vectors.json: what transformers makes of the files beside tokenizer.json.

    python -m venv /tmp/venv && /tmp/venv/bin/pip install transformers==5.24.0
    /tmp/venv/bin/python engine/testdata/make_special_token_vectors.py \
        > engine/testdata/special_token_vectors.json

Made with transformers 5.24.0 and tokenizers 0.23.3. Each case is a set of changes to the files of a
small byte-level tokenizer, with the ids, the decoded text and the named tokens that AutoTokenizer gives.
"""

import json
import os
import sys
import tempfile

os.environ["TRANSFORMERS_VERBOSITY"] = "error"
from transformers import AutoTokenizer

SPECIAL = ["<end>", "<turn>", "<stop>", "<begin>"]
LETTERS = [*"abcdefghijklmnopqrstuvwxyz<>|/", "Ġ", "Ċ"]
TEXTS = ["a<new>b <stop> c<pad>", "<begin>ab", " <stop> <turn>\nx", "<turn>think<other>", "ab"]


def token(content, **flags):
    plain = dict.fromkeys(["single_word", "lstrip", "rstrip", "normalized"], False)
    return {"content": content, **plain, "special": True, **flags}


def entry(content, **flags):
    """As special_tokens_map.json has it."""
    flags = token(content, **flags)
    del flags["special"]
    return flags


def post_processor(before, after):
    special = lambda id: {"SpecialToken": {"id": SPECIAL[id], "type_id": 0}}
    text = lambda name: {"Sequence": {"id": name, "type_id": 0}}
    return {
        "type": "TemplateProcessing",
        "single": [*map(special, before), text("A"), *map(special, after)],
        "pair": [*map(special, before), text("A"), text("B")],
        "special_tokens": {
            SPECIAL[id]: {"id": SPECIAL[id], "ids": [id], "tokens": [SPECIAL[id]]}
            for id in {*before, *after}
        },
    }


BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
TOKENIZER = {
    "version": "1.0",
    "truncation": None,
    "padding": None,
    "added_tokens": [{"id": id, **token(text)} for id, text in enumerate(SPECIAL)],
    "normalizer": None,
    "pre_tokenizer": BYTE_LEVEL,
    "post_processor": None,
    "decoder": BYTE_LEVEL,
    "model": {
        "type": "BPE",
        "vocab": {text: id for id, text in enumerate([*SPECIAL, *LETTERS])},
        "merges": [],
    },
}
ROBERTA = {
    "type": "RobertaProcessing",
    "sep": ["<stop>", 2],
    "cls": ["<begin>", 3],
    "trim_offsets": True,
    "add_prefix_space": False,
}
CONFIG = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<stop>", "pad_token": "<end>"}
SIZE = len(SPECIAL) + len(LETTERS)
DECODER = {str(id): token(text) for id, text in enumerate(SPECIAL)}
BARE = {"tokenizer_class": "PreTrainedTokenizerFast"}

# Name, changes by file, and what the notes have in them (nothing: there is no note).
CASES = [
    ("nothing beside", {}, []),
    ("no tokenizer_config.json", {"tokenizer_config.json": None}, []),
    # Named tokens.
    (
        "tokens named in special_tokens_map.json only",
        {
            "tokenizer_config.json": BARE,
            "special_tokens_map.json": {"bos_token": "<begin>", "eos_token": entry("<stop>")},
        },
        [],
    ),
    (
        "special_tokens_map.json says the same",
        {"special_tokens_map.json": {"eos_token": entry("<stop>"), "pad_token": "<end>"}},
        [],
    ),
    (
        "special_tokens_map.json has another end",
        {"special_tokens_map.json": {"eos_token": "<end>"}},
        ["special_tokens_map.json has `<end>` as eos_token", "former"],
    ),
    (
        "special_tokens_map.json takes the end away",
        {"special_tokens_map.json": {"eos_token": None}},
        ["special_tokens_map.json has nothing as eos_token"],
    ),
    (
        "special_tokens_map.json beside a list of added tokens",
        {
            "tokenizer_config.json": {**BARE, "eos_token": "<stop>", "added_tokens_decoder": DECODER},
            "special_tokens_map.json": {"bos_token": "<begin>", "eos_token": "<stop>"},
        },
        ["special_tokens_map.json has `<begin>` as bos_token", "latter"],
    ),
    (
        "special_tokens_map.json beside an empty list of added tokens",
        {
            "tokenizer_config.json": {**BARE, "eos_token": "<stop>", "added_tokens_decoder": {}},
            "special_tokens_map.json": {"eos_token": "<end>"},
        },
        ["special_tokens_map.json has `<end>` as eos_token", "latter"],
    ),
    (
        "a new pad token in special_tokens_map.json",
        {"special_tokens_map.json": {"pad_token": "<pad>"}},
        ["pad_token `<pad>` is not in tokenizer.json: it has the id %d" % SIZE],
    ),
    (
        "a new token without a row",
        {"special_tokens_map.json": {"pad_token": "<pad>"}},
        ["pad_token `<pad>`", "left out"],
    ),
    (
        "additional special tokens",
        {"special_tokens_map.json": {"additional_special_tokens": ["<new>", "<turn>", "<other>"]}},
        ["`<new>`", "`<other>`"],
    ),
    (
        "additional special tokens as objects",
        {"tokenizer_config.json": {**CONFIG, "extra_special_tokens": [
            {"__type": "AddedToken", **token("<new>", rstrip=True)}]}},
        ["`<new>`"],
    ),
    (
        "a token with a name of the model's own",
        {"tokenizer_config.json": {**CONFIG, "image_token": "<other>"}},
        ["image_token `<other>`"],
    ),
    (
        "named extra tokens",
        {"tokenizer_config.json": {**CONFIG, "extra_special_tokens": {
            "image_token": "<other>", "turn_token": "<turn>"}}},
        ["image_token `<other>`"],
    ),
    (
        "a piece of text that is named as the end",
        {"tokenizer_config.json": {**CONFIG, "eos_token": "x"}},
        [],
    ),
    (
        "a named token that tokenizer.json has, but not as an added one",
        {"tokenizer.json": {**TOKENIZER, "added_tokens": TOKENIZER["added_tokens"][:2]}},
        [],
    ),
    (
        "a named token that tokenizer.json has as an ordinary added one",
        {"tokenizer.json": {**TOKENIZER, "added_tokens": [
            {**one, "special": one["id"] != 2} for one in TOKENIZER["added_tokens"]]}},
        [],
    ),
    (
        "an end written as an object",
        {"tokenizer_config.json": {**CONFIG, "eos_token": {
            "__type": "AddedToken", **entry("<stop>")}}},
        [],
    ),
    # Added tokens.
    (
        "added_tokens.json says the same",
        {"added_tokens.json": {"<stop>": 2, "<begin>": 3}},
        [],
    ),
    ("added_tokens.json has two more", {"added_tokens.json": {"<other>": SIZE + 1, "<new>": SIZE}}, []),
    (
        "added_tokens.json has another id for a special token",
        {"added_tokens.json": {"<stop>": 30}},
        ["`<stop>` has the id 30", "2 is used"],
    ),
    (
        "added_tokens.json has another id for an unnamed token",
        {"added_tokens.json": {"<turn>": 30}},
        ["`<turn>` has the id 30", "1 is used"],
    ),
    (
        "added_tokens.json has another token for an id",
        {"added_tokens.json": {"<new>": 1}},
        ["the id 1 to `<new>`", "`<turn>`"],
    ),
    ("a piece of text is an added token", {"added_tokens.json": {"x": TOKENIZER["model"]["vocab"]["x"]}}, []),
    (
        "a list of added tokens that says the same",
        {"tokenizer_config.json": {**CONFIG, "added_tokens_decoder": DECODER}},
        [],
    ),
    (
        "a list of added tokens with one more",
        {"tokenizer_config.json": {**CONFIG, "added_tokens_decoder": {
            **DECODER, str(SIZE): token("<new>", special=False)}}},
        [],
    ),
    (
        "a list of added tokens with one less",
        {"tokenizer_config.json": {**CONFIG, "added_tokens_decoder": {
            id: one for id, one in DECODER.items() if id != "1"}}},
        [],
    ),
    (
        "a list of added tokens with other spaces",
        {"tokenizer_config.json": {**CONFIG, "added_tokens_decoder": {
            **DECODER, "2": token("<stop>", lstrip=True, rstrip=True)}}},
        ["`<stop>` has other flags", "lstrip, rstrip"],
    ),
    (
        "a list of added tokens where one is not special",
        {"tokenizer_config.json": {**CONFIG, "added_tokens_decoder": {
            **DECODER, "1": token("<turn>", special=False)}}},
        [],
    ),
    (
        "a list of added tokens where the end is not special",
        {"tokenizer_config.json": {**CONFIG, "added_tokens_decoder": {
            **DECODER, "2": token("<stop>", special=False)}}},
        [],
    ),
    (
        "a list of added tokens with two swapped",
        {"tokenizer_config.json": {**CONFIG, "added_tokens_decoder": {
            **DECODER, "1": token("<stop>"), "2": token("<turn>")}}},
        ["`<stop>` has the id 1", "2 is used"],
    ),
    (
        "added_tokens.json beside a list of added tokens",
        {
            "tokenizer_config.json": {**CONFIG, "added_tokens_decoder": DECODER},
            "added_tokens.json": {"<new>": SIZE, "<stop>": 2},
        },
        ["added_tokens.json gives `<new>` the id %d" % SIZE, "none"],
    ),
    (
        "special tokens in a text are split",
        {"tokenizer_config.json": {**CONFIG, "split_special_tokens": True}},
        [],
    ),
    # What a text begins with.
    ("begins", {"tokenizer.json": {**TOKENIZER, "post_processor": post_processor([3], [])}}, []),
    (
        "begins and ends",
        {"tokenizer.json": {**TOKENIZER, "post_processor": post_processor([3], [2])}},
        ["prompts go without"],
    ),
    (
        "ends",
        {"tokenizer.json": {**TOKENIZER, "post_processor": post_processor([], [2])}},
        ["prompts go without"],
    ),
    (
        "begins with two",
        {"tokenizer.json": {**TOKENIZER, "post_processor": post_processor([1, 3], [])}},
        [],
    ),
    (
        "begins, after bytes",
        {"tokenizer.json": {**TOKENIZER, "post_processor": {
            "type": "Sequence", "processors": [BYTE_LEVEL, post_processor([3], [])]}}},
        [],
    ),
    ("bytes only", {"tokenizer.json": {**TOKENIZER, "post_processor": BYTE_LEVEL}}, []),
    ("as RoBERTa", {"tokenizer.json": {**TOKENIZER, "post_processor": ROBERTA}}, ["go without"]),
    (
        "add_bos_token without a post-processor",
        {"tokenizer_config.json": {**CONFIG, "bos_token": "<begin>", "add_bos_token": True}},
        ["add_bos_token is true", "adds none"],
    ),
    (
        "add_bos_token false beside a post-processor",
        {
            "tokenizer.json": {**TOKENIZER, "post_processor": post_processor([3], [])},
            "tokenizer_config.json": {**CONFIG, "bos_token": "<begin>", "add_bos_token": False},
        },
        ["add_bos_token is false", "adds one"],
    ),
    (
        "add_bos_token beside a post-processor",
        {
            "tokenizer.json": {**TOKENIZER, "post_processor": post_processor([3], [])},
            "tokenizer_config.json": {
                **CONFIG, "bos_token": "<begin>", "add_bos_token": True, "add_eos_token": True
            },
        },
        [],
    ),
    (
        "add_bos_token false without a post-processor",
        {"tokenizer_config.json": {**CONFIG, "bos_token": "<begin>", "add_bos_token": False}},
        [],
    ),
]


def made(name, changes, notes):
    files = {"tokenizer.json": TOKENIZER, "tokenizer_config.json": CONFIG, **changes}
    with tempfile.TemporaryDirectory() as folder:
        for file, content in files.items():
            if content is not None:
                with open(os.path.join(folder, file), "w") as out:
                    json.dump(content, out)
        with open(os.path.join(folder, "config.json"), "w") as out:
            json.dump({"model_type": "llama"}, out)
        tokenizer = AutoTokenizer.from_pretrained(folder)
    # Where the model has no row for a new token, no text may become it.
    without_row = "without a row" in name
    texts = [text for text in TEXTS if not (without_row and "<pad>" in text)]
    ids = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
    return {
        "name": name,
        "rows": SIZE if without_row else SIZE + 8,
        "changes": {file: json.dumps(content) for file, content in changes.items() if content},
        "absent": [file for file, content in changes.items() if content is None],
        "notes": notes,
        "texts": texts,
        "ids": ids,
        "whole": [tokenizer(text)["input_ids"] for text in texts],
        "decoded": [tokenizer.decode(one, skip_special_tokens=True) for one in ids],
        "named": {
            name: tokenizer.convert_tokens_to_ids(text)
            for name, text in tokenizer.special_tokens_map.items()
            if text in tokenizer.get_vocab() and (text != "<pad>" or not without_row)
        },
    }


def main():
    vectors = {
        "tokenizer.json": json.dumps(TOKENIZER),
        "tokenizer_config.json": json.dumps(CONFIG),
        "cases": [made(*case) for case in CASES],
    }
    json.dump(vectors, sys.stdout)
    sys.stdout.write("\n")


main()
