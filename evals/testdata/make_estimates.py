"""Restates the figures of an evaluation in numpy and exact fractions: writes estimates.json.

    python3 evals/testdata/make_estimates.py      (needs numpy)
"""

import itertools
import json
import math
import pathlib
from fractions import Fraction

import numpy as np

Z = 1.959963984540054
DRAWS = np.random.Generator(np.random.PCG64(7))


def wilson(successes, n):
    """Roots of (p - x)^2 = z^2 x (1 - x) / n, by the quadratic formula."""
    p = successes / n
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


def estimate(scores):
    scores = np.asarray(scores, dtype=np.float64)
    mean, error = scores.mean(), clustered(scores)
    low, high = max(mean - Z * error, 0.0), min(mean + Z * error, 1.0)
    return {"scores": scores.tolist(), "mean": mean, "error": error, "low": low, "high": high}


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
    error = d.std(ddof=1) / math.sqrt(len(d))
    return {
        "differences": d.tolist(),
        "mean": d.mean(),
        "error": error,
        "better": int((d > 0).sum()),
        "worse": int((d < 0).sum()),
        "p": flips(d),
    }


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
    counts = [(0, 1), (1, 1), (3, 30), (15, 30), (499, 500), (27, 40)]
    written = {
        "wilson": [{"successes": s, "n": n, "low": wilson(s, n)[0], "high": wilson(s, n)[1]} for s, n in counts],
        "estimates": [estimate(s) for s in scores],
        "pass": [
            {"n": n, "c": c, "k": k, "value": passes(n, c, k)}
            for n, c, k in [(32, 0, 8), (32, 1, 8), (32, 7, 16), (32, 31, 1), (64, 3, 32), (4, 2, 2)]
        ],
        "majority": votes,
        "paired": [paired(d) for d in few + many],
    }
    path = pathlib.Path(__file__).with_name("estimates.json")
    path.write_text(json.dumps(written, indent=1) + "\n")


if __name__ == "__main__":
    main()
