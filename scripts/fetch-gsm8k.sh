#!/usr/bin/env bash
# Puts GSM8K (MIT, github.com/openai/grade-school-math) into data/, an ignored folder, one problem a
# line: {id, problem, answer, source, solution}. recipes/smollm2-gsm8k.toml reads it.
set -euo pipefail
cd "$(dirname "$0")/.."

mkdir -p data
python3 - <<'PYTHON'
import json, os, re, urllib.request

REPOSITORY = "openai/grade-school-math"
for split, count in (("train", 7473), ("test", 1319)):
    path = f"grade_school_math/data/{split}.jsonl"
    with urllib.request.urlopen(f"https://raw.githubusercontent.com/{REPOSITORY}/master/{path}") as reply:
        rows = [json.loads(line) for line in reply.read().decode().splitlines()]
    if len(rows) != count:
        raise SystemExit(f"{path}: expected {count} rows, got {len(rows)}")
    target = f"data/gsm8k_{split}.jsonl"
    with open(target + ".part", "w", encoding="utf-8") as out:
        for i, row in enumerate(rows):
            # The worked text carries calculator notes, <<48/2=24>>, which are no part of the prose.
            solution, answer = re.sub(r"<<.*?>>", "", row["answer"]).split("#### ")
            problem = {
                "id": f"gsm8k-{split}-{i}",
                "problem": row["question"],
                "answer": answer.strip().replace(",", ""),
                "source": f"{REPOSITORY}:{path}",
                "solution": f"{solution.strip()}\nThe answer is \\boxed{{{answer.strip()}}}.",
            }
            out.write(json.dumps(problem, ensure_ascii=False) + "\n")
    os.replace(target + ".part", target)
    print(f"{target}: {count} problems")
PYTHON
