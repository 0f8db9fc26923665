"""Compares `stearin eval` with lm-evaluation-harness problem by problem, and prints tables.

Three questions are kept apart. Are the prompts the same tokens? Are the texts of greedy decoding
the same? And what do the graders of both programs say about the same texts? The differences of the
last one go to a file, one line each.
"""

import argparse
import json
import pathlib
import sys
from typing import Any

import graders
import programs
import prompts
from programs import Answer, Setting
from tasks import BENCHMARKS, GRADERS, Benchmark, read, spaced, write_rows
from ties import Ties
from transformers import AutoTokenizer

Answers = dict[str, list[Answer]]


def cells(*line: object) -> None:
    print("| " + " | ".join(str(cell) for cell in line) + " |", flush=True)


def same_prompts(setting: Setting, benchmark: Benchmark, out: pathlib.Path) -> None:
    """Token by token, of all rows."""
    rows = programs.rows_of(out, benchmark)
    model = prompts.small(setting.model, out / "small")
    report = out / f"{rows.stem}-prompts.json"
    if not report.exists():
        small = Setting(setting.stearin, model, setting.threads, setting.batch)
        command = programs.their_command(small, benchmark, rows, report)
        programs.run([*command, "--max-new-tokens", "1"], setting.threads)
    theirs = prompts.theirs(json.loads(report.read_text()), AutoTokenizer.from_pretrained(model))
    mine = prompts.ours(setting.stearin, model, rows, out / f"stearin-{benchmark.name}" / "eval.toml")
    equal, differing = prompts.compared(mine, theirs)
    print(f"{benchmark.name}: {equal} of {len(mine)} prompts are the same tokens", flush=True)
    if differing:
        raise SystemExit(f"bench/eval: prompts differ: {', '.join(differing[:5])}")


def judged(answers: Answers, golds: dict[str, str], stearin: str, out: pathlib.Path) -> Answers:
    """The same texts with the verdicts of all graders."""
    flat = [(name, one) for name, several in answers.items() for one in several]
    verdicts = programs.our_verdicts(stearin, [(golds[name], one.text) for name, one in flat], out)
    found: Answers = {}
    for (name, one), (correct, answer) in zip(flat, verdicts, strict=True):
        if one.ours not in (None, correct):
            raise SystemExit(f"bench/eval: {name}: `stearin eval` and `stearin grade` disagree on {one.text!r}")
        theirs = graders.verdicts(golds[name], one.text)
        found.setdefault(name, []).append(Answer(one.text, one.length, correct, answer, theirs))
    return found


def share(values: list[bool]) -> str:
    return f"{100 * sum(values) / len(values):.2f} %" if values else "–"


def accuracies(title: str, answers: Answers) -> None:
    flat = [one for several in answers.values() for one in several]
    theirs = [share([one.theirs[name] for one in flat]) for name in GRADERS]
    mean = sum(one.length for one in flat) / len(flat)
    cells(title, len(answers), share([one.ours for one in flat]), *theirs, f"{mean:.1f}")


def texts(benchmark: Benchmark, mine: Answers, reports: list[Any], others: Answers, setting: Setting) -> None:
    """How many texts of greedy decoding are equal, and where others part."""
    pairs = [(name, mine[name][0], other[0]) for name, other in others.items()]
    differing = [(name, one, other) for name, one, other in pairs if one.text != other.text]
    agree = sum(one.ours == other.ours for _, one, other in pairs)
    equal = f"{len(pairs) - len(differing)} of {len(pairs)}"
    print(f"{benchmark.name}: {equal} texts are the same, {agree} have the same verdict of stearin", flush=True)
    if differing:
        prompts_by_id = {sample["id"]: sample["prompt"] for report in reports for sample in report["samples"]}
        ties = Ties(setting.model, AutoTokenizer.from_pretrained(setting.model))
        for name, one, other in differing:
            found = ties.parting(prompts_by_id[name], one.text, other.text)
            what = "the likeliest two" if found.is_tie else "not the likeliest two"
            print(f"  {name}: from token {found.at} on; its tokens are {found.gap:.1e} nats apart, {what}", flush=True)


def differences(whose: str, answers: Answers, golds: dict[str, str], file: Any) -> None:
    """On the same texts: how often only one of two graders is content. Each goes to `file`."""
    flat = [(name, one) for name, several in answers.items() for one in several]
    for grader, title in GRADERS.items():
        only_ours = [pair for pair in flat if pair[1].ours and not pair[1].theirs[grader]]
        only_theirs = [pair for pair in flat if pair[1].theirs[grader] and not pair[1].ours]
        cells(whose, title, len(flat), len(only_ours), len(only_theirs))
    for name, one in flat:
        if set(one.theirs.values()) != {one.ours}:
            line = {"texts": whose, "id": name, "gold": golds[name], "stearin": one.ours, "answer": one.answer}
            line |= {"lm_eval": one.theirs, "extracted": graders.extracted(one.text), "text": one.text}
            print(json.dumps(line, ensure_ascii=False), file=file)


def sampled(setting: Setting, options: argparse.Namespace, benchmark: Benchmark, out: pathlib.Path) -> tuple[Any, ...]:
    """Rows, our completions and lm-eval's reports: of the rounds, or made now."""
    if options.sampled:
        return programs.rounds(out, benchmark)
    rows = spaced(read(options.data, benchmark.name), options.limit)
    path, root = programs.rows_of(out, benchmark), out / f"stearin-{benchmark.name}"
    write_rows(rows, path)
    programs.run(programs.our_command(setting, benchmark, path, root), setting.threads)
    same_prompts(setting, benchmark, out)
    few = spaced(rows, options.peer_limit)
    reports = programs.theirs(setting, benchmark, few, out / "lm-eval")
    return rows, programs.ours(root, benchmark.name), reports


def evaluate(setting: Setting, options: argparse.Namespace, out: pathlib.Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(setting.model)
    found: list[tuple[str, Answers, dict[str, str]]] = []
    for benchmark in (BENCHMARKS[name] for name in options.only):
        rows, mine, reports = sampled(setting, options, benchmark, out)
        golds = {row["id"]: row["answer"] for row in rows}
        mine = judged(mine, golds, setting.stearin, out)
        found.append((f"{benchmark.name}, stearin's", mine, golds))
        others = judged(programs.their_answers(reports, tokenizer), golds, setting.stearin, out)
        if not others:
            continue
        if benchmark.samples == 1:
            texts(benchmark, mine, reports, others, setting)
        if len(others) < len(mine):
            found.append((f"{benchmark.name}, stearin's of these", {name: mine[name] for name in others}, golds))
        found.append((f"{benchmark.name}, lm-eval's", others, golds))
    print()
    cells("texts", "problems", "stearin", *GRADERS.values(), "tokens")
    cells(*["---"] * (4 + len(GRADERS)))
    for title, answers, _ in found:
        accuracies(title, answers)
    print()
    cells("texts", "grader of lm-eval", "texts judged", "only stearin: correct", "only lm-eval: correct")
    cells(*["---"] * 5)
    with (out / "differences.jsonl").open("w") as file:
        for title, answers, golds in found:
            if not title.endswith("of these"):
                differences(title, answers, golds, file)
    print(f"\ndifferences: {out / 'differences.jsonl'}", file=sys.stderr)


def main() -> None:
    parser = programs.arguments(__doc__)
    about = "rows that lm-eval samples, evenly spaced among these; 0: it only grades"
    parser.add_argument("--peer-limit", type=int, help=about)
    parser.add_argument("--sampled", action="store_true", help="compare the texts of the rounds in --out")
    options = parser.parse_args()
    setting, out = programs.begin(options)
    evaluate(setting, options, out)


if __name__ == "__main__":
    try:
        main()
    except programs.Failed as failure:
        raise SystemExit(f"bench/eval: {failure}") from None
