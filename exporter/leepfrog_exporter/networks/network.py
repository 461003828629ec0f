"""The `Network` class, and helpers shared by sources of torch networks."""

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
    """A torch network in evaluation mode, with its metadata.

    Attributes:
        module: torch.nn.Module from images [N, 3, H, W] to logits [N, Z].
        name: the library's name for the network and its weights.
        preprocess, labels, license, top1: as in ModelMetadata.
        doubt: reason why the outputs may not be classes; ignored if there are labels or a usual number of classes.
        not_classes: reason why the outputs are surely not classes; "" if there is none.
    """

    module: Any
    name: str
    preprocess: PreprocessSpec
    labels: tuple[str, ...]
    license: str
    top1: float | None
    doubt: str = ""
    not_classes: str = ""

    def weights_sha256(self) -> str:
        """Return a hash of all weights in order: name, dtype, shape and bytes of each."""
        digest = hashlib.sha256()
        for key, tensor in self.module.state_dict().items():
            digest.update(f"{key} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()


def n_parameters(module: Any) -> int:
    """Count the parameters of a torch network."""
    return sum(parameter.numel() for parameter in module.parameters())


def imagenet_labels() -> tuple[str, ...]:
    """Return the 1,000 ImageNet-1k class labels in the usual order, as given by torchvision."""
    weights = package("torchvision").models.get_model_weights("mobilenet_v2").DEFAULT
    return tuple(weights.meta["categories"])


def near(name: str, known: Iterable[str]) -> str:
    """Return a hint for an unknown name; the known ones may be too many to list."""
    nearest_name = nearest(name, known)
    return f"did you mean {nearest_name}?" if nearest_name else "see its documentation for valid names"


@contextlib.contextmanager
def seeded() -> Iterator[None]:
    """Make random weights reproducible within the block; the caller's random state is preserved."""
    torch = package("torch")
    with torch.random.fork_rng(devices=[]):  # networks are built on the CPU
        torch.default_generator.manual_seed(0)
        yield


def built(source: str, build: Callable[[], Any]) -> Any:
    """Build a network in evaluation mode; raise MachineError if its weights cannot be obtained."""
    try:
        # torch.hub reports downloads on stdout, which is reserved for data.
        with seeded(), contextlib.redirect_stdout(sys.stderr):
            return build().eval()
    except (OSError, RuntimeError, ValueError) as error:  # raised by the two hub clients without a network
        reason = one_line(error)
        raise MachineError(
            f"cannot get the weights of {source}: {reason} (they come from a model hub; leepfrog zoo list marks models "
            "that need none, and --random-weights exports without trained weights)"
        ) from None
