"""Steps of the study; each resumes where it was stopped."""

from __future__ import annotations

import argparse
import functools
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import onnx
from leepfrog.inference.metadata import PROBS_OUTPUT
from leepfrog.inference.model import ModelFile
from leepfrog.inference.model_lookup import exported
from leepfrog.ranking.baselines import BASELINES, ModelFacts
from leepfrog.ranking.goal_names import FINETUNE, GOAL_NAMES
from studies.default_order.calibrate import described, fitted
from studies.default_order.features import extract, keep
from studies.default_order.judge import FIXED, coverage, judged, read_csv, table, whole_networks, write_csv
from studies.default_order.networks import Trunk, trunk
from studies.default_order.report import write_tables
from studies.default_order.sets import SETS, LabelledPixels
from studies.default_order.tables import TRUTHS, load
from studies.default_order.trials import DEEPEST, FEWEST_TEST, SIZES, drawn, trial

RESULTS = Path(__file__).parent / "results"
# All networks classify nearly all images of these sets correctly.
TOO_EASY = ("faces",)


def main() -> None:
    """Run one step."""
    parser = argparse.ArgumentParser(prog="studies.default_order")
    parser.add_argument("step", choices=("extract", "trials", "finetune", "judge"))
    parser.add_argument("--out", type=Path, default=Path("study"), help="folder for features and trials")
    parser.add_argument("--sides", default="96,160", help="input sizes, comma-separated")
    parser.add_argument("--sets", default=",".join(SETS))
    parser.add_argument("--most", type=int, default=8000, help="maximum number of images per set")
    parser.add_argument("--splits", type=int, default=3)
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)))
    parser.add_argument("--goals", default=",".join(GOAL_NAMES), help="goals to evaluate")
    parser.add_argument("--slow", action="store_true", help="compute slow scores of cuts as well")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    steps = {"extract": extract_all, "trials": try_all, "finetune": finetune_all, "judge": judge}
    steps[arguments.step](arguments)


def trunks(sides: list[int]) -> Iterator[Trunk]:
    """Yield every exported model at every input size."""
    for path in exported().values():
        for side in sides:
            yield trunk(path, side)


def extract_all(arguments: argparse.Namespace) -> None:
    """Compute the features of all extractors on all sets."""
    made = list(trunks([int(side) for side in arguments.sides.split(",")]))
    print(f"{len(made)} trunks, {sum(len(each.cuts) for each in made)} extractors", flush=True)
    for name in arguments.sets.split(","):
        todo = [each for each in made if not (arguments.out / f"{name}+{each.name}.npz").exists()]
        if not todo:
            continue
        data = SETS[name]()
        keep(arguments.out / f"{name}.npz", {"labels": data.labels[: arguments.most], "family": np.array(data.family)})
        del data.images[arguments.most :]
        for each in todo:
            begun = time.perf_counter()
            keep(arguments.out / f"{name}+{each.name}.npz", extract(each, data))
            print(f"{name} {each.name} {len(data.images)} images {time.perf_counter() - begun:.0f} s", flush=True)


def try_all(arguments: argparse.Namespace) -> None:
    """Run all trials; write one file per trunk, set, size and split."""
    sizes = [int(size) for size in arguments.sizes.split(",")]
    jobs = []
    for seed in range(arguments.splits):
        for name in arguments.sets.split(","):
            for path in sorted(arguments.out.glob(f"{name}+*.npz")):
                jobs += [(path, name, n, seed, arguments.slow) for n in sizes]
    with ProcessPoolExecutor(2) as pool:
        for i, line in enumerate(pool.map(_try, jobs)):
            if line:
                print(f"{i + 1} of {len(jobs)}: {line}", flush=True)


def finetune_all(arguments: argparse.Namespace) -> None:
    """Fine-tune whole networks at the first input size; write one file per set, network, size and split."""
    side = int(arguments.sides.split(",")[0])
    _restore(arguments.out / "finetuned", side)
    jobs = [
        (arguments.out, path, side, name, int(n), seed)
        for seed in range(arguments.splits)
        for n in arguments.sizes.split(",")
        for name in arguments.sets.split(",")
        for path in exported().values()
    ]
    with ProcessPoolExecutor(2) as pool:
        for i, line in enumerate(pool.map(_finetune, jobs)):
            if line:
                print(f"{i + 1} of {len(jobs)}: {line}", flush=True)


def _restore(folder: Path, side: int) -> None:
    """Reuse the fine-tuning results in RESULTS; computing them again would take hours and give the same values."""
    folder.mkdir(exist_ok=True)
    for row in read_csv(RESULTS / "finetuned.csv"):
        path = folder / f"{row['data']}+{row['network']}+{row['images']}+{row['split']}.npz"
        if not path.exists() and row["network"].endswith(f"@{side}"):
            keep(path, {"accuracy": np.array(float(row["accuracy"])), "rate": np.array(float(row["rate"]))})


def _finetuned(folder: Path) -> Iterator[dict[str, object]]:
    for path in sorted(folder.glob("*.npz")):
        data, network, n, seed = path.stem.split("+")
        found = np.load(path)
        yield {
            "data": data, "network": network, "images": n, "split": seed,
            "accuracy": round(float(found["accuracy"]), 4), "rate": float(found["rate"]),
        }  # fmt: skip


def judge(arguments: argparse.Namespace) -> None:
    """Evaluate all candidates and write tables of rank agreement and interval coverage to RESULTS, as CSV."""
    groups = [group for group in load(arguments.out) if group.data not in TOO_EASY]
    networks = sorted(set().union(*(set(group.networks) for group in groups)))
    facts = _facts()
    tables: dict[str, list[dict[str, object]]] = {"finetuned": list(_finetuned(arguments.out / "finetuned"))}
    for goal in arguments.goals.split(","):
        of_goal = [group for group in groups if TRUTHS[goal] in group.values]
        if goal != FINETUNE:  # fine-tuned accuracy is known for whole networks only
            print(f"{goal}, fitted to all:", *described(fitted(goal, groups, networks)), sep="\n  ", flush=True)
            outcomes, held = judged(goal, groups)
            tables[f"{goal}_order"] = table(outcomes, "combined (the old default)")
            tables[f"{goal}_coverage"] = coverage(held)
        tables[f"{goal}_whole_networks"] = table(whole_networks(goal, of_goal, facts), FIXED)
    RESULTS.mkdir(exist_ok=True)
    for name, rows in tables.items():
        write_csv(RESULTS / f"{name}.csv", rows)
    write_tables(RESULTS)
    for path in sorted(RESULTS.glob("*.md")):
        print(f"\n{path.name}", path.read_text(), sep="\n", flush=True)


def _facts() -> dict[str, dict[str, float]]:
    """Return the value of each baseline per network; unknown values are 0."""
    facts = {}
    for path in exported().values():
        file = ModelFile.read(path)
        probs = next(output for output in onnx.load(path).graph.output if output.name == PROBS_OUTPUT)
        n_source = probs.type.tensor_type.shape.dim[1].dim_value
        about = ModelFacts(n_source, file.metadata.n_parameters, file.metadata.top1)
        facts[file.name] = {name: baseline(about) or 0.0 for name, baseline in BASELINES.items()}
    return facts


def _try(job: tuple[Path, str, int, int, bool]) -> str:
    path, name, n, seed, slow = job
    done = path.parent / "trials" / f"{path.stem}+{n}+{seed}.npz"
    labels = np.load(path.parent / f"{name}.npz")["labels"]
    if len(labels) - n < FEWEST_TEST:
        return ""
    done.parent.mkdir(exist_ok=True)
    begun = time.perf_counter()
    known = dict(np.load(done)) if done.exists() else {}
    found: dict[str, np.ndarray] = {}
    with np.load(path) as arrays:
        probs = arrays["probs"] if "probs" in arrays.files else None
        for cut in sorted(set(arrays.files) - {"probs"})[-DEEPEST:]:
            before = {key.removeprefix(f"{cut}/"): value for key, value in known.items() if key.startswith(f"{cut}/")}
            # Probabilities belong to the last features only.
            shown = trial(arrays[cut], probs if cut == "features" else None, labels, n, seed, slow, before)
            found |= {f"{cut}/{key}": value for key, value in shown.items()}
    if found.keys() == known.keys():
        return ""
    keep(done, found)
    return f"{path.stem} {n} images, split {seed}: {time.perf_counter() - begun:.0f} s"


def _finetune(job: tuple[Path, Path, int, str, int, int]) -> str:
    from studies.default_order.finetune import finetuned

    out, path, side, name, n, seed = job
    network = trunk(path, side)
    done = out / "finetuned" / f"{name}+{network.name}+{n}+{seed}.npz"
    if done.exists():
        return ""
    done.parent.mkdir(exist_ok=True)
    begun = time.perf_counter()
    data = _set(name)
    labels = np.load(out / f"{name}.npz")["labels"]
    try:
        found = finetuned(network, data, name, *drawn(labels, n, seed), seed)
    except NotImplementedError as error:
        return f"{done.stem}: not trained, operator {error} is not supported"
    keep(done, {"accuracy": np.array(found.accuracy), "rate": np.array(found.rate)})
    return f"{done.stem}: {found.accuracy:.3f} at rate {found.rate:g}, {time.perf_counter() - begun:.0f} s"


@functools.cache
def _set(name: str) -> LabelledPixels:
    return SETS[name]()


if __name__ == "__main__":
    main()
