"""Export sources: their files, preprocessing, names and paths (faults 4, 16, 31, 41, 42 and 46)."""

from __future__ import annotations

import os
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import models_made as made
import numpy as np
import onnx
import pytest
from commands import Done, Here
from leepfrog.errors import LeepfrogError, ModelError, UsageError
from leepfrog.inference.model import Session
from leepfrog.inference.model_lookup import find_models
from leepfrog.progress import Progress
from leepfrog_exporter import export as exporting
from leepfrog_exporter import sources
from leepfrog_exporter.choices import PRESETS
from leepfrog_exporter.draft import Draft
from leepfrog_exporter.export import ExportOptions, export
from leepfrog_exporter.networks.network import Network
from leepfrog_exporter.networks.packages import package
from leepfrog_exporter.networks.traced import traced
from leepfrog_exporter.presets import PreprocessChoice
from onnx import ModelProto, helper, numpy_helper

pytestmark = pytest.mark.full

node = helper.make_node

# 4: only regular files are opened, and reads are bounded

SECONDS = 60  # an export takes a second; a command that waits for a pipe never ends


def command(*words: str | Path, **options: Any) -> Done:
    """Run Python in a subprocess with a timeout, so that a hang does not block the tests."""
    given = list(map(os.fspath, words))
    done = subprocess.run(
        [sys.executable, "-W", "error", *given],
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
        **options,
    )
    return Done(" ".join(given), done.returncode, done.stdout, done.stderr)


def a_pipe(path: Path) -> None:
    os.mkfifo(path)


def endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


SPECIAL = pytest.mark.parametrize("make", [a_pipe, endless])
needs_pipes = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")


@needs_pipes
@SPECIAL
@pytest.mark.parametrize("what", ["source", "labels", "external data"])
def test_fault_04_what_an_export_reads_is_a_regular_file(
    what: str, make: Callable[[Path], None], home: Path, tmp_path: Path
) -> None:
    network = made.classifier()
    (tmp_path / "net.onnx").write_bytes(
        (made.external(network, "weights.bin") if what == "external data" else network.model).SerializeToString()
    )
    special = tmp_path / {"source": "net.onnx", "labels": "labels.txt", "external data": "weights.bin"}[what]
    special.unlink(missing_ok=True)
    make(special)
    words = ["export", f"onnx:{tmp_path / 'net.onnx'}", "--preprocess", "imagenet"]
    words += ["--labels", str(special)] if what == "labels" else []
    command("-m", "leepfrog", *words).check(3, str(special.name), "not a regular file")
    assert not home.exists()


@needs_pipes
@SPECIAL
def test_fault_04_a_checkpoint_is_a_regular_file(make: Callable[[Path], None], tmp_path: Path) -> None:
    make(tmp_path / "weights.pth")
    code = (
        "import sys; from pathlib import Path; from leepfrog.errors import BadInputError\n"
        "from leepfrog_exporter.networks.checkpoint import load_into\n"
        "try: load_into(None, Path(sys.argv[1]))\n"
        "except BadInputError as error: print(error)\n"
    )
    done = command("-c", code, tmp_path / "weights.pth")
    assert "weights.pth: is not a checkpoint of plain weights" in done.out, done
    assert "not a regular file" in done.out, done


def test_fault_04_external_data_have_a_bound(home: Path, tmp_path: Path) -> None:
    """Weights may refer to a huge sparse file, which must not be read."""
    network = made.classifier()
    for tensor in network.model.graph.initializer:
        onnx.external_data_helper.set_external_data(tensor, "weights.bin")
        tensor.ClearField("raw_data")
    (tmp_path / "net.onnx").write_bytes(network.model.SerializeToString())
    with open(tmp_path / "weights.bin", "wb") as stream:
        stream.truncate(1 << 30)
    with pytest.raises(ModelError, match=r"net\.onnx: its external data cannot be used: .*larger than 2 GB"):
        export(f"onnx:{tmp_path / 'net.onnx'}", made.options())


def test_the_hash_of_the_weights_covers_external_data(home: Path, tmp_path: Path) -> None:
    hashes = set()
    for factor in (1, 2):
        network = made.classifier()
        (tmp_path / "weights.bin").write_bytes((factor * network.weights["filters"]).tobytes())
        (tmp_path / "net.onnx").write_bytes(made.external(network, "weights.bin").SerializeToString())
        file = export(f"onnx:{tmp_path / 'net.onnx'}", made.options(force=True))
        hashes.add(file.metadata.weights_sha256)
    assert len(hashes) == 2


# 16: networks with branches that are only needed for training


def branching(lively: bool = True) -> Any:
    """Return a small RepVGG with batch-norm statistics as after training, so that fusing changes the weights."""
    torch = package("torch")
    byobnet = package("timm").models.byobnet
    torch.manual_seed(0)
    blocks = [byobnet.ByoBlockCfg(type="rep", d=2, c=8 * 2**i, s=2, gs=0) for i in range(2)]
    network = byobnet.ByobNet(byobnet.ByoModelCfg(blocks=tuple(blocks), stem_type="rep", stem_chs=8), num_classes=1000)
    for part in network.modules():
        if lively and isinstance(part, torch.nn.BatchNorm2d):
            torch.nn.init.normal_(part.running_mean, std=0.3)
            torch.nn.init.uniform_(part.running_var, 0.5, 2)
            torch.nn.init.uniform_(part.weight, 0.5, 1.5)
            torch.nn.init.normal_(part.bias, std=0.3)
    return network.eval()


def serve(module: Any, patch: pytest.MonkeyPatch) -> None:
    """Register the module as the source made:NET."""

    def draft(rest: str, options: ExportOptions, progress: Progress) -> Draft:
        progress.advance(1)
        return traced(Network(module, "net", made.SPEC, (), "", None), f"made:{rest}", options, progress)

    source = types.ModuleType("leepfrog_exporter.sources.made")
    source.TAKES, source.draft = "NAME", draft  # type: ignore[attr-defined]
    patch.setitem(sys.modules, source.__name__, source)
    schemes = (*sources.schemes(), "made")
    for owner in (sources, exporting):
        patch.setattr(owner, "schemes", lambda: schemes)


def test_fault_16_networks_are_exported_fused(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch = package("torch")
    network = branching()
    serve(network, monkeypatch)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    file = export("made:net", ExportOptions())
    convolutions = [item for item in onnx.load(file.path).graph.node if item.op_type == "Conv"]
    assert len(convolutions) == 5  # one per block, and the stem
    assert file.metadata.n_parameters < sum(parameter.numel() for parameter in network.parameters())
    assert file.metadata.parity["reference"].endswith("before fusing")
    assert 0 < file.metadata.parity["max_difference"] < 1e-4
    images = torch.from_numpy(made.images(3))
    probs, features = Session(file, "cpu", 1).run(images.numpy())
    with torch.inference_mode():
        np.testing.assert_allclose(probs, torch.softmax(network(images), dim=1), atol=1e-5)
        np.testing.assert_allclose(features, network.forward_features(images).mean(dim=(2, 3)), atol=1e-4)
    assert all(torch.equal(value, network.state_dict()[name]) for name, value in before.items())


def test_fault_16_fusing_that_changes_outputs_is_refused(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = branching()
    block = type(network.stages[0][0])
    right = block.reparameterize

    def wrong(self: Any) -> None:
        right(self)
        self.reparam_conv.bias.data += 1

    monkeypatch.setattr(block, "reparameterize", wrong)
    serve(network, monkeypatch)
    with pytest.raises(ModelError, match=r"made:net: refused: the exported model differs from torch .* before fusing"):
        export("made:net", ExportOptions())


@pytest.mark.parametrize("name", ["repvit_m0_9", "mobileone_s0"])
def test_fault_16_families_of_timm_are_fused(name: str) -> None:
    from leepfrog.progress import SilentProgress
    from leepfrog_exporter.networks.fusing import fused

    torch = package("torch")
    torch.manual_seed(0)
    network = package("timm").create_model(name, pretrained=False).eval()
    shipped = fused(network, name, SilentProgress())
    norms = [sum("BatchNorm" in type(part).__name__ for part in module.modules()) for module in (network, shipped)]
    assert norms[1] < norms[0]
    images = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        expected = network(images)
        torch.testing.assert_close(shipped(images), expected, atol=1e-4 * float(expected.abs().max()), rtol=0)


# 31: names that would not be found again


@pytest.mark.parametrize("name", ["m.fisher", "m.onnx", "M.FISHER", "-m", ".m", "x" * 250, "é" * 120])
def test_fault_31_names_that_would_not_be_found_are_refused(name: str, here: Here, home: Path) -> None:
    made.classifier().save(here.folder / "net.onnx")
    here.call("export", "onnx:net.onnx", "--preprocess", "imagenet", f"--name={name}").check(2, "--name")
    assert not home.exists()


def test_fault_31_files_that_would_not_be_found_are_refused(here: Here, home: Path) -> None:
    made.classifier().save(here.folder / "m.fisher.onnx")
    words = ("export", "onnx:m.fisher.onnx", "--preprocess", "imagenet")
    here.call(*words).check(2, "'m.fisher'", "--name")
    here.call(*words, "--name", "m", "-o", "out.fisher.onnx").check(2, "out.fisher.onnx")
    here.call(*words, "--name", "m", "-o", ".m.onnx").check(2, ".m.onnx", "hidden")
    here.call(*words, "--name", "m", "-o", home / "models" / "other.onnx").check(2, "--name other")
    here.call(*words, "--name", "other", "-o", home / "models" / "other.onnx").check(0)
    assert [model.name for model in find_models(["other"])] == ["other"]


# 41: means and standard deviations for pixels in 0..255


@pytest.mark.parametrize(
    ("mean", "std", "fix"),
    [
        ("123.675,116.28,103.53", "58.395,57.12,57.375", "--mean 0.485,0.456,0.406 --std 0.229,0.224,0.225"),
        ("127.5", "127.5", "--mean 0.5,0.5,0.5 --std 0.5,0.5,0.5"),
        ("0", "255", "--mean 0,0,0 --std 1,1,1"),
        ("103.53,116.28,123.675", "1", "--mean 0.406,0.456,0.485 --std 0.003922,0.003922,0.003922"),
        ("127.5", "0.5", "--mean 0.5,0.5,0.5 --std 0.5,0.5,0.5"),
    ],
)
def test_fault_41_means_of_0_to_255_are_refused(mean: str, std: str, fix: str, here: Here, home: Path) -> None:
    made.classifier().save(here.folder / "net.onnx")
    here.call("export", "onnx:net.onnx", "--mean", mean, "--std", std).check(2, "net.onnx", "divided by 255", fix)
    assert not home.exists()
    right = fix.split()
    here.call("export", "onnx:net.onnx", *right).check(0)


def test_fault_41_such_a_model_file_is_refused(tmp_path: Path) -> None:
    model = made.scoring()
    entry = next(entry for entry in model.metadata_props if entry.key == "leepfrog.preprocess")
    entry.value = entry.value.replace("[0.0, 0.0, 0.0]", "[123.675, 116.28, 103.53]")
    (tmp_path / "net.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match=r"net\.onnx: .*divided by 255: --mean 0\.485,0\.456,0\.406"):
        find_models([tmp_path / "net.onnx"])


# 42: graphs that scale their own input

MEAN = np.float32([0.485, 0.456, 0.406]).reshape(1, 3, 1, 1)
STD = np.float32([0.229, 0.224, 0.225]).reshape(1, 3, 1, 1)
ZEROS, ONES = np.zeros(3, np.float32), np.ones(3, np.float32)
NORM = {"scale": ONES, "shift_": -MEAN.ravel() / STD.ravel(), "center": ZEROS, "spread": STD.ravel() ** 2}
SCALINGS: dict[str, tuple[list[tuple[str, list[str]]], dict[str, np.ndarray], str]] = {
    "x/255": ([("Div", ["top"])], {"top": np.float32(255)}, "raw"),
    "x * 1/255": ([("Mul", ["top"])], {"top": np.float32([1 / 255])}, "raw"),
    "x/127.5 - 1": ([("Div", ["half"]), ("Sub", ["one"])], {"half": np.float32(127.5), "one": np.float32(1)}, "raw"),
    "ImageNet": ([("Sub", ["pixel_mean"]), ("Div", ["std"])], {"pixel_mean": MEAN, "std": STD}, "unit"),
    "ImageNet of 255": (
        [("Sub", ["pixel_mean"]), ("Div", ["std"])],
        {"pixel_mean": MEAN * 255, "std": STD * 255},
        "raw",
    ),
    "2 x - 1": ([("Mul", ["two"]), ("Sub", ["one"])], {"two": np.float32(2), "one": np.float32(1)}, "unit"),
    "Caffe": ([("Sub", ["pixel_mean"])], {"pixel_mean": MEAN * 255}, "raw"),
    "batch-norm": ([("BatchNormalization", list(NORM))], NORM, "unit"),
    "behind a cast": ([("Identity", []), ("Div", ["top"])], {"top": np.float32(255)}, "raw"),
}


def scaling_by_itself(steps: list[tuple[str, list[str]]], arrays: dict[str, np.ndarray], last: bool) -> made.Made:
    """Return a classifier with operators in front; `last` means channels-last input."""
    network = made.classifier(shape=("N", made.SIDE, made.SIDE, 3) if last else ("N", 3, made.SIDE, made.SIDE))
    graph = network.model.graph
    value, added = "pixels", []
    for i, (operator, constants) in enumerate(steps):
        added.append(node(operator, [value, *constants], [f"scaled{i}"], name=f"step{i}"))
        value = f"scaled{i}"
    graph.node[0].input[0] = value
    nodes = [*added, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    for name, array in arrays.items():
        graph.initializer.append(numpy_helper.from_array(array.reshape(-1) if last and array.size > 1 else array, name))
    return network


@pytest.mark.parametrize("last", [False, True], ids=["nchw", "nhwc"])
@pytest.mark.parametrize(("steps", "arrays", "fits"), SCALINGS.values(), ids=SCALINGS.keys())
def test_fault_42_a_graph_that_scales_by_itself_says_so(
    steps: list[tuple[str, list[str]]],
    arrays: dict[str, np.ndarray],
    fits: str,
    last: bool,
    home: Path,
    tmp_path: Path,
) -> None:
    if last and steps[0][0] == "BatchNormalization":
        pytest.skip("ONNX normalizes the second axis only")
    source = f"onnx:{scaling_by_itself(steps, arrays, last).save(tmp_path / 'net.onnx')}"
    first = next(operator for operator, _ in steps if operator != "Identity")
    for preset in ("imagenet", "inception", "unit", "raw"):
        choice = PreprocessChoice(preset)
        if preset == fits:
            assert export(source, made.options(preprocess=choice, force=True))
            continue
        with pytest.raises(UsageError, match=rf"net\.onnx: .*\({first} 'step.*--preprocess {fits} fits"):
            export(source, made.options(preprocess=choice))


def test_fault_42_own_numbers_are_taken_with_a_warning(here: Here, home: Path) -> None:
    scaling_by_itself(*SCALINGS["x/255"][:2], last=False).save(here.folder / "net.onnx")
    done = here.call("export", "onnx:net.onnx", "--mean", "0.5", "--std", "0.5")
    done.check(0)
    assert "net.onnx: the graph scales its input by itself (Div 'step0'" in done.err
    assert "--preprocess raw fits" in done.err


def test_a_network_that_undoes_its_preprocessing_goes_with_it(home: Path, tmp_path: Path) -> None:
    """torchvision's GoogLeNet converts ImageNet's normalization to (x - 0.5) / 0.5."""
    arrays = {"slope": STD / 0.5, "offset": (MEAN - 0.5) / 0.5}
    network = scaling_by_itself([("Mul", ["slope"]), ("Add", ["offset"])], arrays, last=False)
    source = f"onnx:{network.save(tmp_path / 'net.onnx')}"
    assert export(source, made.options()).metadata.preprocess.mean == PRESETS["imagenet"]["mean"]


# 46: wildcards in paths


def test_fault_46_wildcards_match_paths(here: Here, home: Path) -> None:
    folder = here.folder / "out" / "deeper"
    folder.mkdir(parents=True)
    for name in ("light", "large", "mid"):
        model: ModelProto = made.scoring(name=name)
        (folder.parent / f"{name}.onnx").write_bytes(model.SerializeToString())
    (folder / "lost.onnx").write_bytes(made.scoring(name="lost").SerializeToString())
    (folder.parent / "light.fisher.onnx").write_bytes(b"a probe")

    def names(*wanted: str | Path) -> list[str]:
        return [model.name for model in find_models(wanted)]

    assert names("out/l*.onnx") == ["large", "light"]
    assert names(here.folder / "out" / "?i*.onnx") == ["light", "mid"]
    assert names("out/**/lo[rs]t.onnx") == ["lost"]
    assert names("out/d*") == ["lost"]
    with pytest.raises(LeepfrogError, match=r"no \.onnx file matches 'out/x\*\.onnx'"):
        find_models(["out/x*.onnx"])
    (folder.parent / "a[1].onnx").write_bytes(made.scoring(name="bracketed").SerializeToString())
    assert names("out/a[1].onnx") == ["bracketed"]
