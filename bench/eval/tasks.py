"""Rows of a benchmark, and the task of lm-evaluation-harness on them with the prompt of `stearin eval`."""

import json
import pathlib
import shutil
from dataclasses import dataclass

HERE = pathlib.Path(__file__).parent
# The style `boxed` of `stearin eval`; prompts.py checks that both programs make the same tokens.
SUFFIX = "\nPlease reason step by step, and put your final answer within \\boxed{}."
ENDINGS = [".jsonl", "_test.jsonl"]
# Column of the table by metric of lm-eval.
GRADERS = {
    "gsm8k_strict": "gsm8k, strict-match",
    "gsm8k_flexible": "gsm8k, flexible-extract",
    "aime": "aime",
    "math_verify": "minerva_math, math_verify",
    "minerva": "minerva_math, exact_match",
    "hendrycks": "hendrycks_math",
}


@dataclass(frozen=True)
class Benchmark:
    """How a benchmark is asked."""

    name: str
    max_new_tokens: int
    # 1: greedy. More: drawn at temperature 1 from the whole distribution.
    samples: int


BENCHMARKS = {
    one.name: one
    for one in [
        Benchmark("gsm8k", 256, 1),
        Benchmark("aime24", 512, 4),
        Benchmark("math500", 512, 1),
    ]
}

TASK = """\
task: {task}
dataset_path: json
dataset_kwargs:
  data_files:
    test: {rows}
test_split: test
output_type: generate_until
doc_to_text: {text}
doc_to_target: "{{{{answer}}}}"
process_results: !function graders.process_results
metric_list:
{metrics}
generation_kwargs: {how}
repeats: {samples}
filter_list:
  - name: all
    filter:
      - function: take_first_k
        k: {samples}
num_fewshot: 0
metadata:
  version: 1.0
"""


def read(folder: pathlib.Path, name: str) -> list[dict[str, str]]:
    """All rows of a benchmark; `folder` is laid out as for `stearin eval --data`."""
    for place in [folder / f"{name}{ending}" for ending in ENDINGS]:
        if place.is_file():
            with place.open() as file:
                return [json.loads(line) for line in file]
    raise SystemExit(f"bench/eval: no {name}{ENDINGS[0]} or {name}{ENDINGS[1]} in {folder}; name its folder by --data")


def spaced(rows: list[dict[str, str]], count: int | None) -> list[dict[str, str]]:
    """As many rows, evenly spaced; all without a count."""
    count = len(rows) if count is None else min(count, len(rows))
    return [rows[at * len(rows) // count] for at in range(count)]


def write_rows(rows: list[dict[str, str]], path: pathlib.Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        for row in rows:
            kept = {key: row[key] for key in ["id", "problem", "answer"]}
            print(json.dumps(kept, ensure_ascii=False), file=file)


def write_task(benchmark: Benchmark, rows: pathlib.Path, folder: pathlib.Path) -> str:
    """Writes the YAML file and the graders that it names; returns the task's name."""
    folder.mkdir(parents=True, exist_ok=True)
    task = f"stearin_{rows.stem}"
    how = {"until": [], "do_sample": False, "temperature": 0.0, "max_gen_toks": benchmark.max_new_tokens}
    if benchmark.samples > 1:
        how |= {"do_sample": True, "temperature": 1.0, "top_p": 1.0, "top_k": 0}
    metrics = "\n".join(f"  - {{metric: {name}, aggregation: mean, higher_is_better: true}}" for name in GRADERS)
    # JSON is YAML: texts and tables are written as it.
    text = json.dumps("{{problem}}" + SUFFIX)
    place = json.dumps(str(rows.resolve()))
    words = {"task": task, "rows": place, "text": text, "metrics": metrics, "how": json.dumps(how)}
    filled = TASK.format(**words, samples=benchmark.samples)
    (folder / f"{task}.yaml").write_text(filled)
    shutil.copy(HERE / "graders.py", folder)
    return task
