"""LEEP at 10,000 images x 1,000 source classes x 100 target classes, against NumPy.

Run: python tests/benchmarks/bench_leep.py

"usual" is how published code computes it: a loop over classes, a full matrix product, a Python zip to pick the entries.
"sparse" is the best that we found in NumPy and SciPy: a sparse one-hot product for the joint, then only the true
class's conditional. It computes in float32 where leepfrog accumulates in float64 and checks its input; "sparse float64"
is like for like.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse
from leepfrog import leep, leep_loo
from paired import compare, machine, report

N, Z, C = 10_000, 1_000, 100


def main() -> None:
    rng = np.random.default_rng(0)
    probs = rng.dirichlet(np.full(Z, 0.1), N).astype(np.float32)
    labels = rng.integers(0, C, N)

    def usual() -> float:
        joint = np.zeros((C, Z))
        for y in range(C):
            joint[y] = (probs[labels == y] / N).sum(axis=0)
        conditional = (joint / joint.sum(axis=0, keepdims=True)).T
        expected = probs @ conditional
        return float(np.mean(np.log([row[y] for row, y in zip(expected, labels, strict=True)])))

    def sparse(dtype: type) -> float:
        one_hot = scipy.sparse.csr_matrix((np.ones(N, dtype), (labels, np.arange(N))), shape=(C, N))
        joint = one_hot @ probs
        conditional = joint / joint.sum(axis=0)
        return float(np.log(np.einsum("nz,nz->n", conditional[labels], probs)).mean())

    expected = leep(probs, labels).value
    assert abs(usual() - expected) < 1e-6
    assert abs(sparse(np.float64) - expected) < 1e-6
    contestants = {
        "leepfrog": lambda: leep(probs, labels),
        "leepfrog leave-one-out": lambda: leep_loo(probs, labels),
        "sparse float32": lambda: sparse(np.float32),
        "sparse float64": lambda: sparse(np.float64),
        "usual": usual,
    }
    print(f"LEEP {N} x {Z} x {C}; {machine()}")
    report(compare(contestants, rounds=15), "leepfrog")


if __name__ == "__main__":
    main()
