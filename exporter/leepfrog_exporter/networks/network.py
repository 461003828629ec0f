"""A torch network, and what sources of networks share."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from leepfrog.arguments import nearest
from leepfrog.errors import MachineError, one_line
from leepfrog.images.preprocess import PreprocessSpec

from leepfrog_exporter.networks.packages import package


@dataclasses.dataclass(frozen=True)
class Network:
    """A torch network in evaluation mode and what is known of it.

    Attributes:
        module: torch.nn.Module from images [N, 3, H, W] to logits [N, Z].
        name: the library's name for it, weights included.
        preprocess, labels, license, top1: as in ModelMetadata.
        doubt: why its outputs may not be classes, where no labels and no usual number of classes say that they are.
    """

    module: Any
    name: str
    preprocess: PreprocessSpec
    labels: tuple[str, ...]
    license: str
    top1: float | None
    doubt: str = ""

    def weights_sha256(self) -> str:
        """Hash over all weights in order: name, dtype, shape and bytes of each."""
        digest = hashlib.sha256()
        for key, tensor in self.module.state_dict().items():
            digest.update(f"{key} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()


def n_parameters(module: Any) -> int:
    """Numbers in the weights of a torch network."""
    return sum(parameter.numel() for parameter in module.parameters())


def imagenet_labels() -> tuple[str, ...]:
    """The 1,000 class names of ImageNet-1k in the usual order, as torchvision has them."""
    weights = package("torchvision").models.get_model_weights("mobilenet_v2").DEFAULT
    return tuple(weights.meta["categories"])


def near(name: str, known: Iterable[str]) -> str:
    """What to say of a name that a library does not know; it may know a thousand."""
    nearest_name = nearest(name, known)
    return f"did you mean {nearest_name}?" if nearest_name else "its documentation lists them"


@contextlib.contextmanager
def seeded() -> Iterator[None]:
    """Within the block, networks that torch builds have the same random weights each time; the caller's seed stays."""
    torch = package("torch")
    with torch.random.fork_rng(devices=[]):  # networks are built on the CPU
        torch.default_generator.manual_seed(0)
        yield


def built(source: str, build: Callable[[], Any]) -> Any:
    """What a library's function builds, in evaluation mode; MachineError where its weights cannot be had."""
    try:
        # torch.hub says on stdout what it downloads; stdout is for data.
        with seeded(), contextlib.redirect_stdout(sys.stderr):
            return build().eval()
    except (OSError, RuntimeError, ValueError) as error:  # what the two hubs' clients raise without a network
        reason = one_line(error)
        raise MachineError(
            f"cannot get the weights of {source}: {reason} (a hub is needed; leepfrog zoo list marks models that come "
            "from packages instead, --random-weights tries the export without any)"
        ) from None
