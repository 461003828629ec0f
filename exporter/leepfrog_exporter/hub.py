"""Downloads from the Hugging Face hub."""

from __future__ import annotations

import contextlib
import http.client
import importlib
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from leepfrog.arguments import nearest
from leepfrog.errors import MachineError, UsageError, one_line

from leepfrog_exporter.networks.packages import package

# Timeout for the first response of the hub.
SECONDS = 10


@contextlib.contextmanager
def asked_once() -> Iterator[None]:
    """Restrict the hub client to its cache if the hub is unreachable; it would retry noisily for a minute."""
    constants: Any = importlib.import_module("huggingface_hub.constants")  # timm requires it
    before = constants.HF_HUB_OFFLINE
    if not before:
        try:
            address = urllib.request.Request(constants.ENDPOINT, method="HEAD")  # noqa: S310
            urllib.request.urlopen(address, timeout=SECONDS).close()  # noqa: S310
        except urllib.error.HTTPError:  # the hub responded
            pass
        except (OSError, ValueError, http.client.HTTPException):
            constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def downloaded(repository: str, file: str) -> Path | None:
    """Return the path of a repository's file in the hub's cache, downloading it if necessary; None if there is none.

    Raises:
        UsageError: there is no such repository.
        MachineError: the repository may not be read, or the hub cannot be reached.
    """
    hub, errors = package("huggingface_hub"), package("huggingface_hub.errors")
    try:
        return Path(hub.hf_hub_download(repository, file))
    except errors.LocalEntryNotFoundError as error:  # before its base class EntryNotFoundError
        raise MachineError(
            f"hf:{repository}: the hub cannot be reached, and {file} is not in its cache: {_why(error)}"
        ) from None
    except errors.EntryNotFoundError:
        return None
    except errors.GatedRepoError:
        raise MachineError(
            f"hf:{repository} is gated: accept its terms on the hub, then set HF_TOKEN to a token of yours"
        ) from None
    except errors.RepositoryNotFoundError:
        raise UsageError(f"the hub has no repository {repository!r}, or it is private (set HF_TOKEN)") from None
    except errors.HFValidationError as error:
        raise UsageError(f"hf:{repository}: {one_line(error)}") from None
    except Exception as error:  # the clients of the hub raise errors of many packages
        raise MachineError(f"hf:{repository}: {file} cannot be downloaded: {_why(error)}") from None


def files_of(repository: str) -> list[str]:
    """Return the names of a repository's files; [] if the hub does not list them."""
    try:
        return list(package("huggingface_hub").list_repo_files(repository))
    except Exception:  # only improves a message
        return []


def near_file(repository: str, wanted: str) -> str:
    """Return a hint for a file that a repository lacks."""
    there = [name for name in files_of(repository) if name.endswith(".onnx")]
    near = nearest(wanted, there)
    if near:
        return f"did you mean {near}?"
    return f"it has {', '.join(there[:6])}" if there else "it has no ONNX files"


def _why(error: Exception) -> str:
    return one_line(error.__cause__ or error, 200)
