"""LEEP at 10,000 images x 1,000 source classes x 100 target classes, against NumPy.

Run: PYTHONPATH=tests python tests/benchmarks/bench_leep.py [ROUNDS]

"usual" is the method of published code: a loop over classes, a full matrix product, a Python zip to pick the entries.
"sparse" is the fastest method that we found in NumPy and SciPy: a sparse one-hot product for the joint distribution,
then only the conditional of the true class. It computes in float32, whereas leepfrog accumulates in float64 and checks
its input; "sparse float64" compares like with like.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import plain
import scipy.sparse
from leepfrog import leep, leep_loo
from leepfrog.scoring.uncertainty import intervals, resampled_means
from paired import Row, compare, facts, rows_of, table

N, Z, C = 10_000, 1_000, 100
ROUNDS = 9
SMALL = 500


def rows(_images: Path | None, rounds: int) -> list[Row]:
    rng = np.random.default_rng(0)
    probs = rng.dirichlet(np.full(Z, 0.1), N).astype(np.float32)
    labels = np.r_[np.arange(C), rng.integers(0, C, N - C)]

    def sparse(dtype: type) -> float:
        one_hot = scipy.sparse.csr_matrix((np.ones(N, dtype), (labels, np.arange(N))), shape=(C, N))
        joint = one_hot @ probs
        conditional = joint / joint.sum(axis=0)
        return float(np.log(np.einsum("nz,nz->n", conditional[labels], probs)).mean())

    def with_interval() -> None:
        intervals(resampled_means(leep(probs, labels).terms[:, None], labels, replicates=1000))

    some, of = probs[:SMALL], labels[:SMALL] % 10
    expected = leep(probs, labels).value
    assert abs(plain.leep(probs, labels) - expected) < 1e-6
    assert abs(sparse(np.float64) - expected) < 1e-6
    assert abs(plain.leep_loo(some, of) - leep_loo(some, of).value) < 1e-6
    ours, held_out, sampled = "`leep`", "`leep_loo`", "`leep` and 1,000 bootstrap replicates"
    usual, single, double = "usual NumPy LEEP", "LEEP by a sparse matrix, float32", "the same, float64"
    contestants = {
        ours: lambda: leep(probs, labels),
        held_out: lambda: leep_loo(probs, labels),
        sampled: with_interval,
        single: lambda: sparse(np.float32),
        double: lambda: sparse(np.float64),
        usual: lambda: plain.leep(probs, labels),
    }
    seconds = compare(contestants, rounds)
    small = f"`leep_loo`, {SMALL} images x {Z} x 10", "usual NumPy LEEP, leaving out one image at a time"
    in_turn = {small[0]: lambda: leep_loo(some, of), small[1]: lambda: plain.leep_loo(some, of)}
    pairs = [(ours, usual), (ours, single), (ours, double), (held_out, usual), (sampled, usual)]
    return [*rows_of(seconds, pairs), *rows_of(compare(in_turn, rounds), [small])]


if __name__ == "__main__":
    found = rows(None, *map(int, sys.argv[1:] or [ROUNDS]))
    print(*facts(), f"\nLEEP {N} x {Z} x {C}\n", table(found), sep="\n")
