"""The public interface: exported names, contents of the distributions, and optional dependencies."""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import leepfrog
import leepfrog_exporter
import pytest
from documents import PAGES, blocks

ROOT = Path(__file__).parents[2]

# Adding, removing or moving a name is a deliberate change: record it here and in CHANGELOG.md.
EXPORTED = {
    "leepfrog": [
        "Agreement", "ArrayError", "ArrayReceipt", "BadInputError", "Block", "Budget", "Carrier", "Check",
        "ClassExplanation", "ClassReceipt", "Confusion", "Correlation", "Cost", "DataReceipt", "DataSetError",
        "Decoded", "Drift", "Dropped", "EmbedRequest", "EmbeddedLayer", "Embedding", "EmbeddingError", "Example",
        "Explanation", "Finding", "Fingerprint", "Greys", "Header", "ImageError", "ImageSet", "LabelledImage",
        "LeepfrogError", "LocalRunner", "MachineError", "ModelError", "ModelFile", "ModelMetadata", "ModelReceipt",
        "OverTasks", "PreprocessSpec", "ProbeFile", "ProbeLayer", "ProbeMetadata", "Progress", "Race",
        "RankArraysRequest", "RankRequest",
        "RankedModel", "Ranking", "Receipt", "RunContext", "Runner", "Score", "Separation", "SkippedImage", "Task",
        "TaskStudy", "TasksRequest", "Unit", "UnitModel", "Unreadable", "UsageError", "ValidateRequest",
        "ValidatedModel", "Validation", "Variant", "WriteError", "__version__", "check", "distances", "embed", "errors",
        "explain", "find_images", "leep", "leep_loo", "rank", "rank_arrays", "scores", "study_tasks", "validate",
    ],
    "leepfrog_exporter.export": ["ExportOptions", "export"],
}  # fmt: skip

# Packages that the base installation does not include.
EXTRAS = (
    "torch", "torchvision", "timm", "onnx", "onnxscript", "google", "matplotlib", "jinja2", "pytest", "hypothesis",
    "sklearn", "skimage",
)  # fmt: skip


@pytest.mark.parametrize("module", EXPORTED)
def test_exported_names(module: str) -> None:
    imported = importlib.import_module(module)
    assert sorted(imported.__all__) == EXPORTED[module]
    for name in EXPORTED[module]:
        value = getattr(imported, name)
        assert name == "__version__" or inspect.getdoc(value), name


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = leepfrog.nothing
    assert dir(leepfrog) == leepfrog.__all__


def shown() -> set[str]:
    """Return NAME of each `leepfrog.NAME` in the Python code of the documentation."""
    code = [block.text for page in PAGES for block in blocks(page) if block.language == "python"]
    nodes = [node for text in code for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Attribute)]
    return {node.attr for node in nodes if ast.unparse(node.value) == "leepfrog"}


def test_fault_28_the_documentation_shows_every_exported_function() -> None:
    """Only code counts, since words such as rank, score and check occur in prose anyway."""
    functions = {name for name in leepfrog.__all__ if inspect.isfunction(getattr(leepfrog, name))}
    assert {"rank", "check", "leep"} < functions
    assert (functions | {"scores"}) - shown() == set()


DATA = {
    "leepfrog_exporter/catalog.csv",
    "leepfrog_exporter/zoo.toml",
    "leepfrog/costs/reference.onnx",
    "leepfrog/report/templates/page.html.j2",
    "leepfrog/report/templates/sort.js",
    "leepfrog/report/templates/style.css",
}


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built and unpacked as in a user's installation."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, ROOT], check=True
    )
    (wheel,) = folder.glob("leepfrog-*.whl")
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(folder / "site")
    return folder / "site"


@pytest.mark.full
def test_the_source_distribution_builds_the_same_wheel(installed: Path, tmp_path: Path) -> None:
    build = [sys.executable, "-m", "build", "--outdir", tmp_path]
    subprocess.run([*build, "--sdist", ROOT], check=True, capture_output=True)
    (archive,) = tmp_path.glob("leepfrog-*.tar.gz")
    with tarfile.open(archive) as packed:
        packed.extractall(tmp_path / "source", filter="data")
    (source,) = (tmp_path / "source").iterdir()
    assert {"docs", "tests", "README.md", "CITATION.cff", "constraints.txt"} <= {path.name for path in source.iterdir()}
    subprocess.run([*build, "--wheel", source], check=True, capture_output=True)
    (wheel,) = tmp_path.glob("leepfrog-*.whl")
    with zipfile.ZipFile(wheel) as packed_wheel:
        names = {name for name in packed_wheel.namelist() if ".dist-info/" not in name}
    assert names == {str(path.relative_to(installed)) for path in files_of(installed) if ".dist-info" not in str(path)}


def files_of(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts]


@pytest.mark.full
def test_the_wheel_holds_both_packages_and_their_types(installed: Path) -> None:
    for package in (leepfrog, leepfrog_exporter):
        source = Path(str(package.__file__)).parent
        files = {str(path.relative_to(source.parent)) for path in source.rglob("*") if path.suffix in (".py", ".typed")}
        packed = {str(path.relative_to(installed)) for path in (installed / source.name).rglob("*") if path.is_file()}
        assert f"{source.name}/py.typed" in packed
        assert {name for name in packed - files if "/report/templates/" not in name} <= DATA
        assert files <= packed
    assert all((installed / name).is_file() for name in DATA)


# Modules that are not imported directly: the program's entry point and the pytest plugin, which requires pytest.
ENTRIES = ("leepfrog.__main__", "leepfrog.pytest_plugin")

IMPORT_ALL = """
import importlib, json, pkgutil, sys
extras, entries = json.loads(sys.argv[1])

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in extras:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Missing())
import leepfrog
names = [found.name for found in pkgutil.walk_packages(leepfrog.__path__, "leepfrog.")]
for name in names:
    if name not in entries:
        importlib.import_module(name)
for name in leepfrog.__all__:
    getattr(leepfrog, name)
import leepfrog_exporter.demo_data, leepfrog_exporter.zoo
print(json.dumps([leepfrog.__file__, len(leepfrog_exporter.zoo.load()), sorted(names)]))
"""


def without_extras(code: str, site: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(site)}
    command = [sys.executable, "-W", "error", "-c", code, json.dumps([EXTRAS, ENTRIES]), *arguments]
    return subprocess.run(command, env=environment, cwd=site, capture_output=True, text=True, check=False)


@pytest.mark.full
def test_every_module_imports_in_the_base_installation(installed: Path) -> None:
    done = without_extras(IMPORT_ALL, installed)
    assert done.returncode == 0, done.stderr
    file, n_entries, names = json.loads(done.stdout)
    assert Path(file).is_relative_to(installed)
    assert n_entries > 4
    assert {"leepfrog.plots.figure", "leepfrog.ranking.rank", "leepfrog.task2vec.embed"} <= set(names)


@pytest.mark.full
def test_what_needs_an_extra_says_which(installed: Path, tmp_path: Path) -> None:
    start = IMPORT_ALL.partition("import leepfrog\n")[0] + "del sys.argv[1]\nfrom leepfrog.cli.main import main\nmain()"
    for words, extra in {
        ("rank", "D", "--plot", "front.svg"): "matplotlib",
        ("map", "L", "-o", "map.png"): "matplotlib",
        ("export", "onnx:model.onnx"): "'leepfrog[export]'",
        ("zoo", "pull"): "'leepfrog[export]'",
        ("demo", "--quiet"): "'leepfrog[export]'",
    }.items():
        done = without_extras(start, installed, *words)
        assert done.returncode == 4, (words, done)
        assert done.stdout == ""
        assert len(done.stderr.splitlines()) == 1
        assert f"pip install {extra}" in done.stderr
