"""The graders of lm-evaluation-harness, on one answer and one text.

Their code and their patterns are read from the installed package: the filters of its task `gsm8k`,
and `process_results` of `minerva_math`, `hendrycks_math` and `aime`. Our rows have an answer and no
worked solution. A grader that extracts its gold from a solution gets the answer in a box.
"""

import importlib.util
import pathlib
from typing import Any

import lm_eval
import yaml
from lm_eval.api.metrics import exact_match_hf_evaluate
from lm_eval.filters.extraction import RegexFilter

TASKS = pathlib.Path(lm_eval.__file__).parent / "tasks"


def utilities(task: str) -> Any:
    """The module `utils` of a task."""
    spec = importlib.util.spec_from_file_location(f"lm_eval_{task}", TASKS / task / "utils.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Gsm8k:
    """The two filters and the comparison of the task `gsm8k`."""

    def __init__(self) -> None:
        config = yaml.safe_load((TASKS / "gsm8k" / "gsm8k.yaml").read_text())
        (metric,) = config["metric_list"]
        names = ["regexes_to_ignore", "ignore_case", "ignore_punctuation"]
        self.how = {name: metric[name] for name in names}
        self.filters = {}
        for one in config["filter_list"]:
            settings = dict(one["filter"][0])
            if settings.pop("function") != "regex":
                raise SystemExit(f"bench/eval: gsm8k's filter {one['name']} does not begin with a regex")
            self.filters[one["name"]] = RegexFilter(**settings)

    def extracted(self, text: str) -> dict[str, str]:
        return {name: one.apply([[text]], [{}])[0][0] for name, one in self.filters.items()}

    def verdicts(self, gold: str, text: str) -> dict[str, bool]:
        found = self.extracted(text)
        compare = exact_match_hf_evaluate
        return {
            name: bool(compare([one], [gold], **self.how)["exact_match"]) for name, one in found.items()
        }


GSM8K = Gsm8k()
MINERVA, HENDRYCKS, AIME = (utilities(task) for task in ("minerva_math", "hendrycks_math", "aime"))


def verdicts(gold: str, text: str) -> dict[str, bool]:
    boxed = {"answer": gold, "solution": f"$\\boxed{{{gold}}}$"}
    numbers = GSM8K.verdicts(gold, text)
    minerva = MINERVA.process_results(boxed | {"answer": MINERVA.normalize_final_answer(gold)}, [text])
    return {
        "gsm8k_strict": numbers["strict-match"],
        "gsm8k_flexible": numbers["flexible-extract"],
        "aime": AIME.process_results({"Answer": gold}, [text])["exact_match"] == 1,
        "math_verify": minerva["math_verify"] == 1,
        "minerva": minerva["exact_match"] == 1,
        "hendrycks": HENDRYCKS.process_results(boxed, [text])["exact_match"] == 1,
    }


def extracted(text: str) -> dict[str, str]:
    """What some of the graders take as the answer, for people."""
    box = AIME.last_boxed_only_string(text)
    return {
        "gsm8k_flexible": GSM8K.extracted(text)["flexible-extract"],
        "aime": box or "",
        "math_verify": str(MINERVA.parse(text)),
    }


def process_results(doc: dict[str, Any], results: list[Any]) -> dict[str, float]:
    """What a task calls: the mean over the repeats of a problem, by grader."""
    texts = results[0] if isinstance(results[0], list) else results
    judged = [verdicts(doc["answer"], text) for text in texts]
    return {name: sum(one[name] for one in judged) / len(judged) for name in judged[0]}
