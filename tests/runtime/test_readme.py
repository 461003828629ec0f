"""The README's Python, run as it stands."""

from __future__ import annotations

import re
from pathlib import Path

import models_made as made
import numpy as np
import pytest
from help_text import README
from leepfrog.inference.model import ModelFile
from leepfrog_exporter.gradient.probe import export_probe
from photos import folder_of_pieces


@pytest.mark.full
def test_what_it_does_from_python(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    of_pytest, *blocks = re.findall(r"^```python\n(.*?)^```$", README.read_text(), re.MULTILINE | re.DOTALL)
    assert "leepfrog_check" in of_pytest  # tests/runtime/test_check.py runs one like it
    (home / "models").mkdir(parents=True)
    for name in ("mobilenet_v2", "efficientnet_lite0"):  # small ones by these names
        path = home / "models" / f"{name}.onnx"
        path.write_bytes(made.scoring(name=name).SerializeToString())
        export_probe(ModelFile.read(path))
    for name in ("PHOTOS", "OTHERS"):
        folder_of_pieces(tmp_path / name, count=12, names=("cat", "china", "coffee", "rocket"))
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    labels = np.arange(20) % 2
    given = {"probs": rng.dirichlet(np.ones(3), 20), "features": rng.standard_normal((20, 4)), "labels": labels}
    exec(compile("\n".join(blocks), "README.md", "exec"), given)  # noqa: S102
    assert [model.name for model in given["ranking"].models]  # type: ignore[attr-defined]
