"""`leepfrog zoo search`: the catalog of timm's and torchvision's networks."""

from __future__ import annotations

from pathlib import Path

import pytest
from baselines import conforms
from commands import Here
from leepfrog.errors import MachineError, UsageError
from leepfrog_exporter import catalog
from leepfrog_exporter.networks.network import n_parameters
from leepfrog_exporter.networks.packages import package


def test_the_catalog_agrees_with_the_libraries() -> None:
    """Every source can be built; sizes are those of the networks."""
    timm, torch, models = package("timm"), package("torch"), package("torchvision").models
    networks = {network.source: network for network in catalog.load()}
    assert len(networks) > 1500
    known = {f"timm:{name}" for name in timm.list_pretrained()}
    known |= {f"torchvision:{name}" for name in models.list_models(module=models)}
    # Libraries newer or older than those that the catalog was made with may differ in some.
    assert len(networks.keys() & known) > 0.9 * len(networks)
    with torch.device("meta"):
        net = timm.create_model("mobilenetv2_100")
    assert networks["timm:mobilenetv2_100.ra_in1k"].parameters == n_parameters(net)
    found = networks["torchvision:mobilenet_v2"]
    assert (found.parameters, found.input_size, found.top1) == (3_504_872, 224, 72.2)


def test_search() -> None:
    small = catalog.search("mobilenet*", max_parameters=5e6)
    assert small
    assert all(network.parameters <= 5e6 for network in small)
    assert all(network.source.partition(":")[2].startswith("mobilenet") for network in small)
    accuracies = [network.top1 or 0 for network in small]
    assert accuracies == sorted(accuracies, reverse=True)
    assert catalog.search("timm:mobilenetv2_100.ra_in1k")[0].parameters == 3_504_872
    assert all("dinov2" in network.source for network in catalog.search("dinov2"))
    limited = catalog.search("vit", min_top1=80, max_input_size=224)
    assert all(network.top1 >= 80 and network.input_size <= 224 for network in limited)
    assert catalog.search("vit", max_parameters=1) == []
    with pytest.raises(UsageError, match=r"matches 'resnett'; did you mean resnet"):
        catalog.search("resnett")
    with pytest.raises(UsageError, match=r"matches 'q!'; try a wildcard"):
        catalog.search("q!")


@pytest.mark.parametrize(
    "content", ["", "source,parameters\na,b\n", "source,parameters,input_size,top1,license\na,1,2,x,\n"]
)
def test_a_damaged_catalog(content: str, tmp_path: Path) -> None:
    path = tmp_path / "catalog.csv"
    path.write_text(content)
    if content:
        with pytest.raises(MachineError, match="the catalog of networks cannot be read"):
            catalog.load(path)
    with pytest.raises(MachineError, match="cannot be read"):
        catalog.load(tmp_path / "absent.csv")


def test_on_the_command_line(here: Here) -> None:
    done = here.call("zoo", "search", "mobilenet*", "--max-params", "5M", "--most", "3")
    done.check(0, "3 of ", "--most N shows more")
    assert len(done.out.splitlines()) == 5
    done = here.call("zoo", "search", "mobilenet*", "--max-params", "5M", "--format", "json")
    done.check(0)
    conforms(done.json)
    assert done.json["networks"][0]["source"].startswith("timm:mobilenet")
    here.call("zoo", "search", "vit", "--max-params", "1").check(0, "no network of this name is within these limits")
    here.call("zoo", "search", "vit", "--max-params", "5X").check(2, "--max-params '5X'", "such as 5M")
