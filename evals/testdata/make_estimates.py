"""Restates the figures of an evaluation in numpy, scipy and exact fractions: writes estimates.json.

    python3 evals/testdata/make_estimates.py      (needs numpy and scipy)
"""

import itertools
import json
import math
import pathlib
from fractions import Fraction

import numpy as np
from scipy import stats

Z = 1.959963984540054
DRAWS = np.random.Generator(np.random.PCG64(7))


def wilson(successes, n):
    return wilson_of(successes / n, n)


def wilson_of(p, n):
    """Roots of (p - x)^2 = z^2 x (1 - x) / n, by the quadratic formula."""
    a, b, c = 1 + Z * Z / n, -(2 * p + Z * Z / n), p * p
    root = math.sqrt(max(b * b - 4 * a * c, 0.0))
    return max((-b - root) / (2 * a), 0.0), min((-b + root) / (2 * a), 1.0)


def clustered(scores):
    """Standard error of the mean of all samples, with a problem's samples as a cluster (Miller 2024,
    equation 4, times C / (C - 1))."""
    scores = np.asarray(scores, dtype=np.float64)
    clusters, size = scores.shape
    residuals = scores - scores.mean()
    within = residuals.sum(axis=1)
    variance = np.square(within).sum() / (clusters * size) ** 2
    return math.sqrt(variance * clusters / (clusters - 1))


def effective(scores):
    """Trials that would have the standard error of these problems and of three more, whose squares
    of the residuals are p (1 - p) each; at least the problems."""
    problems, p = len(scores), scores.mean()
    if p in (0.0, 1.0):
        return problems
    squares = clustered(scores) ** 2 * problems * (problems - 1) if problems > 1 else 0.0
    variance = (squares + 3 * p * (1 - p)) / (problems + 3 - 1)
    return max(p * (1 - p) / (variance / problems), problems)


def estimate(scores):
    scores = np.asarray(scores, dtype=np.float64)
    low, high = wilson_of(scores.mean(), effective(scores))
    error = clustered(scores) if len(scores) > 1 else 0.0
    return {"scores": scores.tolist(), "mean": scores.mean(), "error": error, "low": low, "high": high}


def passes(n, c, k):
    """Share of all subsets of k with a correct one, by counting."""
    return float(1 - Fraction(math.comb(n - c, k), math.comb(n, k)))


def majority(votes, right, k):
    total, blocks = Fraction(0), len(votes) // k
    for block in range(blocks):
        own = [v for v in votes[block * k : block * k + k] if v is not None]
        counts = np.bincount(own, minlength=len(right)) if own else np.zeros(len(right))
        if counts.max(initial=0) == 0:
            continue
        tied = np.flatnonzero(counts == counts.max())
        total += Fraction(sum(bool(right[i]) for i in tied), len(tied))
    return float(total / blocks)


def flips(differences):
    """Exact two-sided p of the sign-flip test, every flip at once."""
    d = np.array([x for x in differences if x != 0.0])
    sums = np.zeros(1)
    for x in d:
        sums = np.concatenate([sums + x, sums - x])
    observed = abs(d.sum())
    return float(np.mean(np.abs(sums) >= observed - 1e-9 * np.abs(d).sum()))


def paired(differences):
    d = np.asarray(differences, dtype=np.float64)
    mean, error = d.mean(), d.std(ddof=1) / math.sqrt(len(d))
    if error == 0.0:
        unseen = wilson(0, len(d))[1]
        # A share `unseen` of the problems has the largest difference, which is 2, or the smallest.
        low, high = (1 - unseen) * mean - 2 * unseen, (1 - unseen) * mean + 2 * unseen
    else:
        low, high = np.clip(stats.t.interval(0.95, len(d) - 1, mean, error), -2, 2)
    return {
        "low": float(low),
        "high": float(high),
        "differences": d.tolist(),
        "mean": mean,
        "error": error,
        "higher": int((d > 0).sum()),
        "lower": int((d < 0).sum()),
        "p": flips(d),
    }


def around(values):
    """The mean of values without bounds and its interval."""
    v = np.asarray(values, dtype=np.float64)
    low, high = stats.t.interval(0.95, len(v) - 1, v.mean(), stats.sem(v))
    return {"values": v.tolist(), "low": float(low), "high": float(high)}


def main():
    rates = DRAWS.beta(0.7, 0.9, size=(5, 40))
    scores = [DRAWS.binomial(1, rates[i][:, None], size=(40, k)) for i, k in enumerate([2, 3, 8, 16, 4])]
    votes = []
    for n, k in itertools.product([1, 2, 5, 8, 12], [1, 2, 3, 4, 8]):
        if k > n:
            continue
        drawn = DRAWS.integers(-1, 4, size=n)
        own = [None if v < 0 else int(v) for v in drawn]
        right = [bool(x) for x in DRAWS.integers(0, 2, size=4)]
        votes.append({"votes": own, "right": right, "k": k, "value": majority(own, right, k)})
    few = [DRAWS.integers(-4, 6, size=n) / 4 for n in [2, 5, 9, 14]]
    many = [np.concatenate([DRAWS.integers(-4, 6, size=20) / 4, np.zeros(9)]) for _ in range(4)]
    many = [d for d in many if 16 < np.count_nonzero(d) <= 20]
    few += [np.zeros(12), np.ones(5), np.full(7, -0.25)]
    hard = DRAWS.beta(0.1, 4, size=(30, 1))
    scores += [DRAWS.binomial(1, hard, size=(30, 32)), DRAWS.binomial(1, hard, size=(30, 1))]
    one = np.zeros((30, 32))
    one[3, 5] = 1
    scores += [one, np.zeros((30, 32)), np.ones((7, 4)), np.tile([0, 1], (6, 1)), np.array([[0, 1, 1]])]
    degrees = [*range(1, 60), 99, 100, 101, 102, 150, 499, 1318, 4999, 10**6]
    counts = [(0, 1), (1, 1), (3, 30), (15, 30), (499, 500), (27, 40)]
    written = {
        "wilson": [{"successes": s, "n": n, "low": wilson(s, n)[0], "high": wilson(s, n)[1]} for s, n in counts],
        "estimates": [estimate(s) for s in scores],
        "student": [{"degrees": n, "quantile": float(stats.t.ppf(0.975, n))} for n in degrees],
        "pass": [
            {"n": n, "c": c, "k": k, "value": passes(n, c, k)}
            for n, c, k in [(32, 0, 8), (32, 1, 8), (32, 7, 16), (32, 31, 1), (64, 3, 32), (4, 2, 2)]
        ],
        "majority": votes,
        "paired": [paired(d) for d in few + many],
        "around": [around(DRAWS.gamma(2.0, 300.0, size=n)) for n in [2, 3, 10, 30, 1319]],
    }
    path = pathlib.Path(__file__).with_name("estimates.json")
    # One case per line.
    lists = (json.dumps(name) + ": [\n" + ",\n".join(map(json.dumps, cases)) + "\n]" for name, cases in written.items())
    path.write_text("{\n" + ",\n".join(lists) + "\n}\n")


if __name__ == "__main__":
    main()
