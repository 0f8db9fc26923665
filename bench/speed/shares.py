"""Where the time of a benchmark goes: shares of `perf record`'s samples by operation.

    python3 bench/speed/shares.py [--binary BINARY] -- train --model MODEL [FLAGS OF STEARIN BENCH]

Needs Linux, perf and addr2line. Loading the model and the repetition that warms up are in the samples.
"""

import argparse
import collections
import json
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

# What one frame says, innermost first, decides: the first rule that fits the name or the place of a
# frame.
RULES = [
    ("matrix products: layout of operands", r"gemm_common|gemm_f32|gemm::|tiles::LayOut|tiles::lay_out|kernels/turn\.rs"),
    ("matrix products", r"gemm_\w+::microkernel|product/tiles\.rs|kernels/blocks\.rs"),
    ("matrix products of few rows", r"kernels/linear"),
    ("matrix products, bf16", r"kernels/bf16\.rs|lanes/pairs\.rs|x86/bf16\.rs"),
    ("attention", r"kernels/attention\.rs|fused/attention\.rs|cache\.rs"),
    ("softmax of attention", r"rows::softmax"),
    ("rms norm", r"rows::rms_norm|rows::dot"),
    ("rope", r"rows::rope"),
    ("swiglu", r"rows::swiglu|exp::swiglu"),
    ("head: distribution", r"kernels/distribution\.rs"),
    ("head: slopes", r"score/fused\.rs|kernels/exp\.rs"),
    ("AdamW and gradients", r"^optim::|optim/src"),
    ("choice of tokens", r"rollout/src/sampling"),
    ("reading the model", r"candle_core::quantized|candle-core.*quantized"),
    ("handing work over", r"rayon|crossbeam|kernels/team"),
    ("Candle", r"candle_core|candle-core"),
]
KERNEL = [
    ("system: clearing pages", r"clear_page|folio_zero"),
    ("system: scheduling", r"sched|switch|futex|wake|yield|spin|idle"),
]
COPIES = r"mem(move|set|cpy)"
OTHER = "other"


def output(*command: str, text: str | None = None) -> str:
    done = subprocess.run(command, input=text, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)[:200]}\nended with status {done.returncode}: {done.stderr.strip()[-2000:]}")
    return done.stdout


def to_file_address(binary: str) -> list[tuple[int, int, int]]:
    """(offset in the file, size, address) of each loaded part."""
    parts = []
    for line in output("readelf", "-lW", binary).splitlines():
        fields = line.split()
        if fields[:1] == ["LOAD"]:
            offset, address, _, size = (int(field, 16) for field in fields[1:5])
            parts.append((offset, size, address))
    return parts


def frames(binary: str, addresses: list[int]) -> dict[int, list[str]]:
    """Of each address the inlined frames, innermost first, as `name place`."""
    text = "".join(f"{address:#x}\n" for address in addresses)
    found: dict[int, list[str]] = {}
    lines = iter(output("addr2line", "-a", "-f", "-i", "-C", "-e", binary, text=text).splitlines())
    current: list[str] = []
    for line in lines:
        if re.fullmatch(r"0x[0-9a-f]+", line):
            current = found.setdefault(int(line, 16), [])
        else:
            current.append(f"{line} {next(lines, '')}")
    return found


def named(rules: list[tuple[str, str]], texts: list[str]) -> str | None:
    for text in texts:
        for name, pattern in rules:
            if re.search(pattern, text):
                return name
    return None


def samples(data: str, binary: str) -> collections.Counter[str]:
    """Samples by operation."""
    script = output("perf", "script", "-i", data, "--show-mmap-events", "-F", "ip,sym,dso")
    parts, maps = to_file_address(binary), []
    ours: collections.Counter[int] = collections.Counter()
    counts: collections.Counter[str] = collections.Counter()
    for line in script.splitlines():
        if mapped := re.search(r"\[(0x[0-9a-f]+)\((0x[0-9a-f]+)\) @ (0x[0-9a-f]+|0) .*\]: r-xp (.*)", line):
            start, size, offset = (int(mapped[i], 16) for i in (1, 2, 3))
            if mapped[4].strip() == binary:
                maps.append((start, size, offset))
            continue
        sample = re.match(r"\s*([0-9a-f]+)\s+(.*?)\s*\((\S+)\)\s*$", line)
        if not sample:
            continue
        ip, symbol, place = int(sample[1], 16), sample[2], sample[3]
        if place == binary:
            for start, size, offset in maps:
                if start <= ip < start + size:
                    at = ip - start + offset
                    ours[next(a + at - o for o, n, a in parts if o <= at < o + n)] += 1
                    break
        elif re.search(COPIES, symbol):
            counts["copies and clearing"] += 1
        else:
            counts[named(KERNEL, [symbol]) or "system: other"] += 1
    stacks = frames(binary, sorted(ours))
    for address, count in ours.items():
        counts[named(RULES, stacks.get(address, [])) or OTHER] += count
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default="target/release/stearin")
    parser.add_argument("bench", nargs="+", help="what `stearin bench` is called with, after --")
    options = parser.parse_args()
    for program in ["perf", "addr2line", "readelf"]:
        if not shutil.which(program):
            sys.exit(f"{program} is missing: it comes with linux-perf or binutils")
    binary = str(pathlib.Path(options.binary).resolve())
    with tempfile.TemporaryDirectory() as folder:
        data = f"{folder}/perf.data"
        printed = output("perf", "record", "-q", "-F", "499", "-o", data, binary, "bench", *options.bench)
        counts = samples(data, binary)
    report = json.loads(printed)
    print(f"{report['s_per_step']:.2f} s a repetition, {report['tok_per_s']:.0f} tokens/s\n")
    print("| operation | share |\n| --- | --- |")
    total = counts.total()
    for name, count in counts.most_common():
        if count >= total / 500:
            print(f"| {name} | {100 * count / total:.1f} % |")


if __name__ == "__main__":
    main()
