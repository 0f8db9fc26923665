"""Writes the files of other trainers' runs beside this script, in the form in which these write
them. Needs pandas, pyarrow and zstandard:

    python3 evals/testdata/peers/make.py
"""

import json
import struct
from pathlib import Path

import pandas as pd
import zstandard

HERE = Path(__file__).parent


def put(path, data):
    path = HERE / path
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data if isinstance(data, bytes) else data.encode())


def lines(rows, **how):
    return "".join(json.dumps(row, **how) + "\n" for row in rows)


def trl():
    """As `GRPOTrainer._log_completions` of TRL 1.16.0: a pandas table a step."""
    problems = [("What is 2+3?", "5"), ("What is 4+4?", "8")]
    for step in [10, 20]:
        table = {"step": [], "prompt": [], "completion": [], "accuracy_reward": [], "format_reward": [], "solution": [], "length_note": [], "advantage": []}
        for problem, solution in problems:
            for at, answer in enumerate([solution, "7", solution]):
                text = f"It is {answer}" if at < 2 else f"It must be {answer} then"
                good = float(answer == solution)
                chat = step == 20
                table["step"].append(step)
                table["prompt"].append([{"role": "system", "content": "Be brief."}, {"role": "user", "content": problem}] if chat else problem)
                table["completion"].append([{"role": "assistant", "content": text}] if chat else text)
                table["accuracy_reward"].append(good)
                table["format_reward"].append(0.5 * good)
                table["solution"].append(solution)
                table["length_note"].append(float(len(text)))
                table["advantage"].append(0.5 if good else -1.0)
        path = HERE / f"trl/completions/completions_{step:05d}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pd.DataFrame(table).to_parquet(path)
    history = [
        {"loss": 0.01, "grad_norm": float("nan"), "learning_rate": 1e-6, "entropy": 0.75, "reward": 0.5, "reward_std": 0.25, "rewards/accuracy_reward/mean": 0.375, "rewards/accuracy_reward/std": 0.1, "rewards/format_reward/mean": 0.125, "frac_reward_zero_std": 0.0, "completions/mean_length": 12.5, "epoch": 0.5, "step": 10},
        {"loss": 0.02, "grad_norm": 1.5, "learning_rate": 1e-6, "entropy": 0.5, "reward": 1.0, "reward_std": 0.5, "rewards/accuracy_reward/mean": 0.75, "rewards/accuracy_reward/std": 0.1, "rewards/format_reward/mean": 0.25, "frac_reward_zero_std": 0.5, "completions/mean_length": 10.0, "epoch": 1.0, "step": 20},
        {"eval_loss": 0.3, "eval_reward": 0.9, "epoch": 1.0, "step": 20},
    ]
    put("trl/checkpoint-20/trainer_state.json", json.dumps({"best_metric": None, "epoch": 1.0, "global_step": 20, "log_history": history}, indent=2) + "\n")
    put("trl/checkpoint-10/trainer_state.json", json.dumps({"epoch": 0.5, "global_step": 10, "log_history": history[:1]}, indent=2) + "\n")


def verl():
    """As `_dump_generations` and `FileLogger` of verl 0.9.1."""
    prompt = "system\nYou are careful.\nuser\n{}\nassistant\n"
    problems = [("Add 2 and 3.", "5"), ("Add 4 and 4.", "8")]
    for step in [1, 2]:
        rows = []
        # Rebalanced over the workers: groups are not adjacent.
        for rollout in range(3):
            for sample, (problem, gold) in enumerate(problems):
                answer = gold if (rollout + step) % 3 else "9"
                good = answer == gold
                rows.append({"input": prompt.format(problem), "output": f"I add.\nThe answer is {answer}", "gts": gold, "score": 1.0 if good else -0.5, "step": step, "acc": good, "pred": answer, "uid": f"{sample}_{rollout}_0"})
        put(f"verl/rollout/{step}.jsonl", lines(rows, ensure_ascii=False))
    for step in [0, 2]:
        rows = [{"input": prompt.format("Add 1 and 1."), "output": f"It is {answer}", "gts": "2", "score": float(answer == "2"), "step": step, "acc": float(answer == "2"), "pred": answer} for answer in (["3", "4"] if step == 0 else ["2", "3"])]
        put(f"verl/validation/{step}.jsonl", lines(rows, ensure_ascii=False))
    log = [
        {"step": 0, "data": {"val-core/add/acc/mean@2": 0.0}},
        {"step": 1, "data": {"actor/entropy": 0.5, "critic/rewards/mean": 0.25, "actor/grad_norm": None, "training/global_step": 1, "note": "text"}},
        {"step": 2, "data": {"actor/entropy": 0.25, "critic/rewards/mean": 0.5, "actor/grad_norm": 2.0, "val-core/add/acc/mean@2": 0.5}},
    ]
    put("verl/project/experiment.jsonl", lines(log, separators=(",", ":")))


def exports():
    """As `TokenExporter` of prime-rl at 004274e."""
    def sequence(index, completion, reward, advantage, log_probs):
        prompt = [11, 12, 13]
        ids = prompt + completion
        masked = [False] * 3 + [True] * len(completion)
        own = lambda values: [0.0] * 3 + values
        trainer = [value - 0.125 for value in log_probs]
        return {
            "schema_version": 1, "step": 3, "export_step": 3, "rank": 0, "micro_step": 0, "micro_sequence_idx": index, "export_sequence_idx": index, "run_id": None, "env_name": "add",
            "token_ids": ids, "position_ids": list(range(len(ids))), "loss_mask": masked, "advantages": [advantage] * len(ids),
            "losses": [{"rl": {"advantage": advantage, "mask": own}} for own in masked], "rewards": [reward] * len(ids),
            "inference_logprobs": own(log_probs), "trainer_logprobs": own(trainer), "entropy": own([0.5] * len(completion)),
            "mismatch_kl": own([0.0] * len(completion)), "log_importance_ratio": own([-0.125] * len(completion)), "importance_ratio": own([None] + [0.875] * (len(completion) - 1)),
            "prob_delta": own([0.0] * len(completion)), "is_masked": [False] * (len(ids) - 1) + [advantage < 0], "is_masked_high": [False] * len(ids), "is_masked_low": [False] * (len(ids) - 1) + [advantage < 0],
        }

    rows = [
        sequence(0, [21, 22, 2], 1.0, 0.5, [-0.25, -0.5, -0.125]),
        sequence(1, [21, 23, 24, 2], 0.0, -0.5, [-0.25, -2.0, -1.0, -0.125]),
    ]
    put("prime-rl-exports/token_exports/step_3/rank_0.jsonl", lines(rows, separators=(",", ":"), allow_nan=False))
    put("prime-rl-exports/token_exports/step_3/STABLE", "")
    # A step that is being written: nothing is said of it.
    put("prime-rl-exports/token_exports/step_4/rank_0.jsonl", lines(rows[:1], separators=(",", ":"))[:-40])


def traces():
    """As the file monitor of prime-rl at 3444 and after, with traces of verifiers 0.4.0."""
    def trace(name, completion, log_probs, score, kind="train", arrival=7):
        nodes = [
            {"parent": None, "message": {"role": "system", "content": "Be brief."}, "sampled": False, "token_ids": [5, 6], "mask": [False, False], "logprobs": []},
            {"parent": 0, "message": {"role": "user", "content": "What is 2+2?"}, "sampled": False, "token_ids": [7], "mask": [False], "logprobs": []},
            {"parent": 1, "message": {"role": "assistant", "content": "It is 4." if score else "It is 5."}, "sampled": True, "token_ids": [9, *completion], "mask": [False] + [True] * len(completion), "logprobs": log_probs},
        ]
        return {
            "version": 1, "id": name, "task": {"type": "Add", "data": {"answer": "4"}}, "agent": {"name": "agent", "trainable": True}, "nodes": nodes,
            "calls": [{"node": 2, "finish_reason": "stop" if score else "length", "error": None}], "rewards": {"correct": {"score": score, "weight": 2.0}, "style": {"score": 0.5, "weight": 0.0}, "unscored": None},
            "metrics": {"turns": 1.0}, "info": {"kind": kind, "dispatch": {"step": 6, "time": 1.0}, "arrival": {"step": arrival, "time": 2.0}}, "stop_condition": None,
        }

    def episode(name, group, *traces):
        return {"id": name, "env": {"id": "add", "name": "add-env"}, "group": {"id": group}, "ok": True, "errors": [], "traces": list(traces)}

    first = [
        episode("e0", "g0", trace("t0", [31, 32], [-0.5, -0.25], 1.0)),
        episode("e1", "g0", trace("t1", [31, 33, 34], [-0.5, -1.5, -0.75], 0.0)),
        episode("e2", "g9", trace("t2", [31], [-0.5], 1.0, kind="eval")),
    ]
    second = [
        episode("e3", "g1", trace("t3", [35], [-0.125], 1.0, arrival=8)),
        # Never learnt from: it keeps the step at which it came.
        episode("e4", "g2", trace("t4", [36], [-0.125], 0.0, arrival=8)),
    ]
    # Frames of one line each, and at the end a frame of no data, as a table of the others is.
    pack = zstandard.ZstdCompressor(level=3, write_checksum=True)
    frames = b"".join(pack.compress(lines([row], separators=(",", ":")).encode()) for row in first)
    put("prime-rl-traces/monitors/file/traces/stream/00000.jsonl.zst", frames + struct.pack("<II", 0x184D2A5E, 4) + b"\0\0\0\0")
    put("prime-rl-traces/monitors/file/traces/stream/00001.jsonl", lines(second, separators=(",", ":")))
    ship = lambda name, step, advantage, branches: {"version": 1, "trace_id": name, "info": {"effective": True, "ship": {"step": step, "time": 3.0}, "advantage": advantage}, "branches": branches}
    put("prime-rl-traces/monitors/file/traces/annotations/orchestrator/00000.jsonl", lines([
        ship("t0", 8, 0.5, [{"index": 0, "advantages": [0, 0, 0, 0, 0.5, 0.5]}]),
        ship("t1", 8, -0.5, [{"index": 0, "advantages": [0, 0, 0, 0, -0.5, -0.5, -0.5]}]),
        ship("t3", 9, 0.25, [{"index": 0, "advantages": [0, 0, 0, 0, 0.25]}]),
    ], separators=(",", ":")))
    put("prime-rl-traces/monitors/file/traces/annotations/trainer/00000.jsonl", lines([
        {"version": 1, "trace_id": "t0", "info": {}, "branches": [{"index": 0, "trainer_logprobs": [None, None, None, None, -0.25, -0.25], "entropies": [None, None, None, None, 9.0, 9.0]}]},
        # The newest counts.
        {"version": 1, "trace_id": "t0", "info": {}, "branches": [{"index": 0, "entropies": [None, None, None, None, 0.75, 0.25]}]},
        # Cut short: the node keeps what it has, which is nothing.
        {"version": 1, "trace_id": "t1", "info": {}, "branches": [{"index": 0, "entropies": [None, None, None, None, 0.75]}]},
    ], separators=(",", ":")))
    put("prime-rl-traces/monitors/file/metrics.jsonl", lines([
        {"step": 8, "time": 10.0, "reward/mean": 1.0, "producer": "orchestrator"},
        {"step": None, "time": 11.0, "inference/running": 3},
        {"step": 8, "time": 12.0, "optim/grad_norm": 0.5, "producer": "trainer"},
        {"step": 9, "time": 13.0, "reward/mean": 2.0, "producer": "orchestrator"},
    ]))


trl()
verl()
exports()
traces()
