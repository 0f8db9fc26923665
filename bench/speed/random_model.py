"""Writes a random model in the shape of a known one, as a GGUF file of 4-bit blocks, and a random
adapter on it in PEFT's layout. Speed and memory do not depend on what the weights are, so a step of
a large model can be measured without its 1 to 5 GB from the network. Needs Python alone.

    python3 bench/speed/random_model.py SHAPE FOLDER [--rank N]

writes FOLDER/SHAPE-q4_k.gguf and FOLDER/SHAPE-adapter. The matrices are Q4_K, as in llama.cpp's
Q4_K_S; the embedding, and a head of its own, are Q6_K. Of SmolLM2 only the adapter is written: its
rows are no whole blocks, and scripts/fetch-smollm2.sh has its file.
"""

import argparse
import array
import json
import random
import struct
import sys
from dataclasses import dataclass
from pathlib import Path

ALIGNMENT = 32
F32, Q4_K, Q6_K = 0, 12, 14
# Bytes of a block of 256 values.
BLOCK = {Q4_K: 144, Q6_K: 210}
# Random bytes that are repeated: blocks beyond them would only take longer to make.
REPEATED = 1 << 12


@dataclass(frozen=True)
class Shape:
    width: int
    inner: int
    layers: int
    heads: int
    kv_heads: int
    vocabulary: int
    tied: bool
    context: int = 32768
    theta: float = 1e6
    eps: float = 1e-6

    @property
    def head(self) -> int:
        return self.width // self.heads

    def linears(self) -> list[tuple[str, str, int, int]]:
        """Name in GGUF, name in PEFT, output and input features of the linear maps of a layer."""
        kv = self.kv_heads * self.head
        return [
            ("attn_q", "self_attn.q_proj", self.width, self.width),
            ("attn_k", "self_attn.k_proj", kv, self.width),
            ("attn_v", "self_attn.v_proj", kv, self.width),
            ("attn_output", "self_attn.o_proj", self.width, self.width),
            ("ffn_gate", "mlp.gate_proj", self.inner, self.width),
            ("ffn_up", "mlp.up_proj", self.inner, self.width),
            ("ffn_down", "mlp.down_proj", self.width, self.inner),
        ]


# Sizes from the config.json of each model on the hub.
SHAPES = {
    "smollm2-135m": Shape(576, 1536, 30, 9, 3, 49152, tied=True),
    "qwen2.5-1.5b": Shape(1536, 8960, 28, 12, 2, 151936, tied=True),
    "qwen2.5-7b": Shape(3584, 18944, 28, 28, 4, 152064, tied=False),
}


def blocks(kind: int, values: int, scale: float) -> bytes:
    """Random blocks of values of about this size, with a mean near 0."""
    size, count = BLOCK[kind], values // 256
    made = bytearray(random.randbytes(size * min(count, REPEATED)))
    if kind == Q4_K:
        # d times a scale and a number of 32 and 8 on average, less a minimum as large as that.
        halves = {0: scale / 140, 2: 7.5 * scale / 140}
    else:
        halves = {208: scale / 1400}
    for at, value in halves.items():
        low, high = struct.pack("<e", value)
        made[at::size] = bytes([low]) * (len(made) // size)
        made[at + 1 :: size] = bytes([high]) * (len(made) // size)
    return bytes(made)


def string(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def field(key: str, value) -> bytes:
    """A key of the header with its value."""
    if isinstance(value, bool):
        kind, data = 7, struct.pack("<?", value)
    elif isinstance(value, int):
        kind, data = 4, struct.pack("<I", value)
    elif isinstance(value, float):
        kind, data = 6, struct.pack("<f", value)
    elif isinstance(value, str):
        kind, data = 8, string(value)
    elif isinstance(value[0], str):
        kind, data = 9, struct.pack("<IQ", 8, len(value)) + b"".join(map(string, value))
    else:
        kind, data = 9, struct.pack("<IQ", 5, len(value)) + struct.pack(f"<{len(value)}i", *value)
    return string(key) + struct.pack("<I", kind) + data


def byte_letters() -> list[str]:
    """The letters that stand for the 256 bytes in byte-level BPE."""
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = {byte: chr(byte) for byte in shown}
    others = (byte for byte in range(256) if byte not in letters)
    letters |= {byte: chr(256 + at) for at, byte in enumerate(others)}
    return [letters[byte] for byte in range(256)]


def metadata(name: str, shape: Shape) -> list[bytes]:
    letters = byte_letters()
    tokens = letters + [f"unused{at}" for at in range(shape.vocabulary - len(letters) - 1)] + ["<|im_end|>"]
    kinds = [1] * (shape.vocabulary - 1) + [3]
    fields = {
        "general.architecture": "qwen2",
        "general.name": f"random, in the shape of {name}",
        "general.file_type": 14,
        "qwen2.block_count": shape.layers,
        "qwen2.context_length": shape.context,
        "qwen2.embedding_length": shape.width,
        "qwen2.feed_forward_length": shape.inner,
        "qwen2.attention.head_count": shape.heads,
        "qwen2.attention.head_count_kv": shape.kv_heads,
        "qwen2.attention.layer_norm_rms_epsilon": shape.eps,
        "qwen2.rope.freq_base": shape.theta,
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "qwen2",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": kinds,
        # One merge: an empty list has no type.
        "tokenizer.ggml.merges": ["u n"],
        "tokenizer.ggml.eos_token_id": shape.vocabulary - 1,
        "tokenizer.ggml.add_bos_token": False,
    }
    # What the merge yields has to be a token.
    tokens[len(letters)] = "un"
    return [field(key, value) for key, value in fields.items()]


def tensors(shape: Shape):
    """Name, dimensions (the inner one first), type and size of the values, in order."""
    yield "token_embd.weight", (shape.width, shape.vocabulary), Q6_K, 0.02
    yield "output_norm.weight", (shape.width,), F32, 1.0
    if not shape.tied:
        yield "output.weight", (shape.width, shape.vocabulary), Q6_K, 0.02
    for layer in range(shape.layers):
        for norm in ("attn_norm", "ffn_norm"):
            yield f"blk.{layer}.{norm}.weight", (shape.width,), F32, 1.0
        for gguf, _, out, width in shape.linears():
            yield f"blk.{layer}.{gguf}.weight", (width, out), Q4_K, 0.02
            if gguf in ("attn_q", "attn_k", "attn_v"):
                yield f"blk.{layer}.{gguf}.bias", (out,), F32, 0.0


def size(dimensions, kind: int) -> int:
    values = 1
    for dimension in dimensions:
        values *= dimension
    return 4 * values if kind == F32 else values // 256 * BLOCK[kind]


def write_gguf(path: Path, name: str, shape: Shape) -> None:
    fields, all_tensors = metadata(name, shape), list(tensors(shape))
    header = bytearray(struct.pack("<4sIQQ", b"GGUF", 3, len(all_tensors), len(fields)))
    header += b"".join(fields)
    offset = 0
    for key, dimensions, kind, _ in all_tensors:
        header += string(key) + struct.pack(f"<I{len(dimensions)}Q", len(dimensions), *dimensions)
        header += struct.pack("<IQ", kind, offset)
        offset += -(-size(dimensions, kind) // ALIGNMENT) * ALIGNMENT
    header += bytes(-len(header) % ALIGNMENT)
    with path.open("wb") as file:
        file.write(header)
        for _, dimensions, kind, scale in all_tensors:
            left = size(dimensions, kind)
            end = bytes(-left % ALIGNMENT)
            part = struct.pack("<f", scale) * dimensions[0] if kind == F32 else blocks(kind, left // BLOCK[kind] * 256, scale)
            while left > 0:
                file.write(part[:left])
                left -= min(left, len(part))
            file.write(end)


def write_adapter(folder: Path, shape: Shape, rank: int) -> None:
    folder.mkdir(exist_ok=True)
    config = {
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": None, "r": rank, "lora_alpha": 2 * rank,
        "lora_dropout": 0.0, "bias": "none", "target_modules": sorted(peft.split(".")[1] for _, peft, _, _ in shape.linears()),
    }
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=2))
    header, offset = {"__metadata__": {"format": "pt"}}, 0
    for layer in range(shape.layers):
        for _, peft, out, width in shape.linears():
            for half, dimensions in (("A", (rank, width)), ("B", (out, rank))):
                end = offset + 4 * dimensions[0] * dimensions[1]
                name = f"base_model.model.model.layers.{layer}.{peft}.lora_{half}.weight"
                header[name] = {"dtype": "F32", "shape": dimensions, "data_offsets": [offset, end]}
                offset = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    values = array.array("f", (random.gauss(0, 0.01) for _ in range(1 << 16)))
    if sys.byteorder == "big":
        values.byteswap()
    part = values.tobytes()
    with (folder / "adapter_model.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        while offset > 0:
            file.write(part[:offset])
            offset -= min(offset, len(part))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shape", choices=SHAPES)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rank", type=int, default=16)
    options = parser.parse_args()
    random.seed(1)
    options.folder.mkdir(parents=True, exist_ok=True)
    shape = SHAPES[options.shape]
    model, adapter = options.folder / f"{options.shape}-q4_k.gguf", options.folder / f"{options.shape}-adapter"
    if shape.width % 256 == 0:
        write_gguf(model, options.shape, shape)
        print(f"{model}, {model.stat().st_size / 2**20:.0f} MiB")
    write_adapter(adapter, shape, options.rank)
    print(f"{adapter}, of rank {options.rank}")


if __name__ == "__main__":
    main()
