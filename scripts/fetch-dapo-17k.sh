#!/usr/bin/env bash
# Puts DAPO-Math-17k (Apache-2.0) and AIME 2024 into data/, an ignored folder, one problem a line:
# {id, problem, answer, source}. The recipes stare-* and dapo-* read them. Both come from the
# Hugging Face hub (HF_ENDPOINT names another one), 290 MB, as Parquet files, which pyarrow reads:
# python3 -m pip install pyarrow.
set -euo pipefail
cd "$(dirname "$0")/.."

mkdir -p data
python3 - <<'PYTHON'
import json, os, shutil, urllib.request

try:
    import pyarrow.parquet as parquet
except ImportError:
    raise SystemExit("the problems come as Parquet files: python3 -m pip install pyarrow")

HUB = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
ORIGIN = "BytedTSinghua-SIA"
# Name, file, our name, how many different problems there are about.
SETS = (
    ("DAPO-Math-17k", "dapo-math-17k", "dapo_math_17k", range(17_000, 17_500)),
    ("AIME-2024", "aime-2024", "aime_2024", range(30, 31)),
)
# What the origin puts around each problem; a recipe has a prompt of its own.
BEFORE = "Solve the following math problem step by step."
AFTER = '\n\nRemember to put your answer on its own line after "Answer:"'


def fetched(dataset, file):
    target = f"data/{file}.parquet"
    if not os.path.exists(target):
        url = f"{HUB}/datasets/{ORIGIN}/{dataset}/resolve/main/data/{file}.parquet"
        with urllib.request.urlopen(url) as reply, open(target + ".part", "wb") as out:
            shutil.copyfileobj(reply, out, 1 << 20)
        os.replace(target + ".part", target)
    return target


def bare(prompt):
    text = prompt[-1]["content"].strip()
    if text.startswith(BEFORE):
        text = text.partition("\n\n")[2]
    return text.partition(AFTER)[0].strip()


for dataset, file, name, expected in SETS:
    # The origin repeats every problem many times; a few texts come with two answers.
    answers = {}
    table = parquet.ParquetFile(fetched(dataset, file))
    for batch in table.iter_batches(columns=["prompt", "reward_model"]):
        for row in batch.to_pylist():
            answer = str(row["reward_model"]["ground_truth"]).strip()
            answers.setdefault(bare(row["prompt"]), set()).add(answer)
    problems = [(text, *known) for text, known in answers.items() if text and len(known) == 1]
    if len(problems) not in expected:
        raise SystemExit(
            f"{dataset}: expected {expected.start} to {expected.stop - 1} problems, "
            f"got {len(problems)}: the file is not the one that this was written for"
        )
    target = f"data/{name}.jsonl"
    with open(target + ".part", "w", encoding="utf-8") as out:
        for i, (problem, answer) in enumerate(problems):
            row = {"id": f"{file}-{i}", "problem": problem, "answer": answer}
            row["source"] = f"{ORIGIN}/{dataset}"
            out.write(json.dumps(row, ensure_ascii=False) + "\n")
    os.replace(target + ".part", target)
    print(f"{target}: {len(problems)} problems, {len(answers) - len(problems)} left out")
PYTHON
