"""Write `models/catalog.csv`, the networks of timm and torchvision; run by maintainers when the libraries change.

    python -m leepfrog_exporter.make_catalog results-imagenet.csv

The argument is the table of accuracies in timm's repository (results/results-imagenet.csv).
"""

from __future__ import annotations

import csv
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from leepfrog_exporter.catalog import FIELDS, catalog_path
from leepfrog_exporter.networks.network import n_parameters
from leepfrog_exporter.networks.packages import package


def main(results: Path) -> None:
    """Write the catalog, sorted by source."""
    warnings.simplefilter("ignore")  # timm's own
    with results.open(newline="") as stream:
        published = {row["model"]: row for row in csv.DictReader(stream)}
    rows = sorted([*_of_timm(published), *_of_torchvision()])
    with catalog_path().open("w", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(FIELDS)
        writer.writerows(rows)
    print(f"{len(rows)} networks in {catalog_path()}")  # noqa: T201  # a script


def _of_timm(published: dict[str, dict[str, str]]) -> Iterator[tuple[str, int, int, str, str]]:
    timm, torch = package("timm"), package("torch")
    sizes: dict[str, int] = {}
    for name in timm.list_pretrained():
        architecture = name.partition(".")[0]
        config: Any = timm.get_pretrained_cfg(name)
        if architecture not in sizes:
            with torch.device("meta"):  # without allocating weights
                sizes[architecture] = n_parameters(timm.create_model(architecture))
        top1 = published.get(name, {}).get("top1", "")
        side = int(config.input_size[1])
        yield f"timm:{name}", sizes[architecture], side, top1 and f"{float(top1):.1f}", config.license or ""


def _of_torchvision() -> Iterator[tuple[str, int, int, str, str]]:
    models = package("torchvision").models
    for name in models.list_models(module=models):
        weights = models.get_model_weights(name).DEFAULT
        top1 = weights.meta["_metrics"]["ImageNet-1K"]["acc@1"]
        side = weights.transforms().crop_size[0]
        yield f"torchvision:{name}", weights.meta["num_params"], side, f"{top1:.1f}", "bsd-3-clause"


if __name__ == "__main__":
    main(Path(sys.argv[1]))
