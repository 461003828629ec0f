"""Labelled images and image sets, independent of their source."""

from __future__ import annotations

import abc
import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, Self, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from leepfrog.arrays import as_array, class_labels, same_fields
from leepfrog.errors import DataSetError, ImageError, counted
from leepfrog.files import printable, read_regular
from leepfrog.images.bounds import MAX_FILE_BYTES
from leepfrog.images.decode import Decoded, Greys, Reduction, decode_reduced, deep_greys
from leepfrog.images.labels import display_names, label_notes

Digest = bytes
"""SHA-256 of an image's content, 32 bytes. It identifies the image in the cache."""


def leveled_digest(digest: Digest, white: float) -> Digest:
    """Return the cache digest of an image whose pixels depend on the white level."""
    return hashlib.sha256(digest + f"white {white:g}".encode()).digest()


class LabelledImage(Protocol):
    """One image of a set. Images are picklable, so that a set can be sent to other processes."""

    @property
    def name(self) -> str:
        """Name of the image in messages."""

    def examine(self, known: Mapping[Digest, Greys] | None = None) -> tuple[Digest, Greys | None]:
        """Return the hash of the content alone and the range of gray images of more than 8 bits; raises ImageError.

        Args:
            known: known ranges by hash; an image without an entry is decoded if necessary.
        """

    def with_white(self, white: float) -> LabelledImage:
        """Return the same image with its white level set (see `leepfrog.images.greys`)."""

    def load_reduced(self, reductions: Sequence[Reduction]) -> tuple[Digest, list[Decoded]]:
        """Return the hash, and one decoded image for each of `reductions` (see `decode_reduced`); raises ImageError."""


@dataclasses.dataclass(frozen=True, slots=True)
class EncodedImage(abc.ABC):
    """Base class of images in one of the formats of `leepfrog.images.decode`, wherever their bytes are stored.

    A subclass is a frozen dataclass whose fields locate the bytes; it implements `name` and `read`. It must not hold an
    open file, because images are pickled and are read from several threads at once.

    Attributes:
        white: white level of an image with greys of more than 8 bits (see `leepfrog.images.greys`); None if unknown.
    """

    white: float | None = dataclasses.field(default=None, kw_only=True)

    @property
    @abc.abstractmethod
    def name(self) -> str:
        """Name of the image in messages, always printable."""

    @abc.abstractmethod
    def read(self) -> bytes:
        """Return the encoded image, at most MAX_FILE_BYTES; raises ImageError, OSError or ValueError on failure."""

    def digest(self) -> Digest:
        """Return the hash of the encoded image and, if known, of its white level."""
        return self._leveled(hashlib.sha256(self._content()).digest())

    def examine(self, known: Mapping[Digest, Greys] | None = None) -> tuple[Digest, Greys | None]:
        """See `LabelledImage`."""
        content = self._content()
        digest = hashlib.sha256(content).digest()
        return digest, (known or {}).get(digest) or deep_greys(content)

    def with_white(self, white: float) -> Self:
        """See `LabelledImage`."""
        return dataclasses.replace(self, white=white)

    def load_reduced(self, reductions: Sequence[Reduction]) -> tuple[Digest, list[Decoded]]:
        """See `LabelledImage`. The bytes are read once for both the hash and the pixels."""
        content = self._content()
        digest = self._leveled(hashlib.sha256(content).digest())
        return digest, decode_reduced(content, reductions, self.white)

    def _content(self) -> bytes:
        try:
            return self.read()
        except ImageError:  # a subclass of ValueError
            raise
        except OSError as error:
            raise ImageError(f"cannot be read: {error.strerror or error}") from None
        except ValueError as error:  # a path from a table may contain a NUL character
            raise ImageError(f"cannot be read: {error}") from None

    def _leveled(self, digest: Digest) -> Digest:
        return digest if self.white is None else leveled_digest(digest, self.white)


@dataclasses.dataclass(frozen=True, slots=True)
class FileImage(EncodedImage):
    """An image file.

    Attributes:
        path: path of the file.
    """

    path: str

    @property
    def name(self) -> str:
        """Path of the file, always printable."""
        return printable(self.path)

    def read(self) -> bytes:
        """Return the content of the file, which must be a regular file."""
        return read_regular(self.path, MAX_FILE_BYTES)


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class ArrayImage:
    """A decoded image, [H, W, 3] uint8."""

    name: str
    pixels: NDArray[np.uint8]

    def __eq__(self, other: object) -> bool:
        return same_fields(self, other)

    def __repr__(self) -> str:
        return f"ArrayImage({self.name!r}, {' x '.join(map(str, self.pixels.shape))})"

    def digest(self) -> Digest:
        """Return the hash of the shape and the pixels."""
        header = f"array {self.pixels.shape}".encode()
        return hashlib.sha256(header + self.pixels.tobytes()).digest()

    def examine(self, known: Mapping[Digest, Greys] | None = None) -> tuple[Digest, Greys | None]:
        """Return the hash and None: the pixels have 8 bits."""
        return self.digest(), None

    def with_white(self, white: float) -> Self:
        """Return the image unchanged: white is always 255."""
        return self

    def load_reduced(self, reductions: Sequence[Reduction]) -> tuple[Digest, list[Decoded]]:
        """Return the hash, and the unreduced image for each of `reductions`."""
        return self.digest(), [Decoded.whole(Image.fromarray(self.pixels))] * len(reductions)


@dataclasses.dataclass(frozen=True, eq=False)
class ImageSet:
    """A set of labeled images.

    `images[3]` is one image. `images[:10]` is a set, and so is `images[at]` for an array of positions or of N booleans.
    Two sets are equal if all their fields are equal.

    Attributes:
        name: source of the images, for messages and results.
        classes: class names, indexed by the labels.
        images: the N images.
        labels: class index of each image, [N] int64 in 0..len(classes)-1.
        notes: irregularities of the set and how they were handled, one sentence each.
        unreadable: notes on folders and images that could not be read; errors with `strict`.

    Raises:
        DataSetError: the labels are not N integers from 0 to len(classes) - 1.

    >>> import numpy as np
    >>> pixels = np.zeros((4, 8, 8), np.uint8)
    >>> images = ImageSet.from_arrays(pixels, ["cat", "dog", "cat", "dog"])
    >>> images
    ImageSet('arrays', 4 images of 2 classes: cat, dog)
    >>> images[images.labels == 1]
    ImageSet('arrays [2 of 4 images]', 2 images of 1 class: dog)
    """

    name: str
    classes: tuple[str, ...]
    images: Sequence[LabelledImage]
    labels: NDArray[np.int64]
    notes: tuple[str, ...] = ()
    unreadable: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check that the labels index the classes."""
        labels = as_array(self.labels, "labels", DataSetError)
        n, top = len(self.images), len(self.classes)
        if labels.shape != (n,) or (n and (labels.dtype.kind not in "iu" or labels.min() < 0 or labels.max() >= top)):
            raise DataSetError(
                f"{self.name}: labels are {labels.dtype} {list(labels.shape)}; they must be {n} integers from 0 to "
                f"{top - 1}, which index the classes"
            )
        object.__setattr__(self, "labels", labels.astype(np.int64, copy=False))

    def __len__(self) -> int:
        return len(self.images)

    @overload
    def __getitem__(self, at: int | np.integer) -> LabelledImage: ...

    @overload
    def __getitem__(self, at: slice | Sequence[int] | NDArray[np.integer | np.bool_]) -> ImageSet: ...

    def __getitem__(
        self, at: int | np.integer | slice | Sequence[int] | NDArray[np.integer | np.bool_]
    ) -> LabelledImage | ImageSet:
        """Return one image, or the set of the selected images, reduced to the classes that occur among them."""
        if isinstance(at, int | np.integer):
            return self.images[int(at)]
        positions = np.arange(len(self))[at]
        kept, labels = np.unique(self.labels[positions], return_inverse=True)
        return ImageSet(
            f"{self.name} [{len(positions)} of {len(self)} images]",
            tuple(self.classes[i] for i in kept),
            [self.images[i] for i in positions],
            labels,
            self.notes,
            self.unreadable,
        )

    def __eq__(self, other: object) -> bool:
        return same_fields(self, other)

    def __repr__(self) -> str:
        shown = ", ".join([*self.classes[:5], *["..."] * (len(self.classes) > 5)])
        return (
            f"ImageSet({self.name!r}, {counted(len(self), 'image')} of {counted(len(self.classes), 'class')}: {shown})"
        )

    @classmethod
    def from_arrays(cls, images: Sequence[ArrayLike] | NDArray[np.uint8], labels: ArrayLike) -> ImageSet:
        """Create a set from decoded images, for callers that have pixels rather than files.

        Args:
            images: N arrays, each [H, W, 3] or [H, W] uint8; sizes may differ.
            labels: N class labels: integers, booleans or strings.

        Raises:
            DataSetError: an image is empty or has the wrong dtype or shape, a label has the wrong type, the lengths
                differ, or there are fewer than two classes.
        """
        values = class_labels(labels, DataSetError).tolist()
        if len(images) != len(values):
            raise DataSetError(f"{len(images)} images but {len(values)} labels")
        held = []
        for i, image in enumerate(images):
            pixels = as_array(image, f"image {i}", DataSetError)
            fits = pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] == 3)
            if pixels.dtype != np.uint8 or not fits or not pixels.size:
                raise DataSetError(
                    f"image {i} is {pixels.dtype} {list(pixels.shape)}; it must be uint8 [H, W, 3] or [H, W]"
                )
            if pixels.ndim == 2:
                pixels = np.repeat(pixels[:, :, None], 3, axis=2)
            held.append(ArrayImage(f"image {i}", np.ascontiguousarray(pixels)))
        return cls.from_labels("arrays", held, values)

    @classmethod
    def from_labels(
        cls,
        name: str,
        images: Sequence[LabelledImage],
        labels: Sequence[Any],
        notes: Sequence[str] = (),
        unreadable: Sequence[str] = (),
    ) -> ImageSet:
        """Create a set from images and their labels. All image sources use this constructor.

        Args:
            name: printable name of the source.
            images: the N images.
            labels: N labels, either all strings or all numbers; each distinct label, as a string, is a class name.
            notes: as in `ImageSet`; notes on suspicious labels are added.
            unreadable: as in `ImageSet`.

        Raises:
            DataSetError: fewer than two classes.

        >>> pixels = np.zeros((8, 8, 3), np.uint8)
        >>> images = [ArrayImage("first", pixels), ArrayImage("second", pixels)]
        >>> ImageSet.from_labels("two", images, ["dog", "cat"])
        ImageSet('two', 2 images of 2 classes: cat, dog)
        """
        values = sorted(set(labels))
        classes = [str(value) for value in values]
        shown = display_names(classes)
        check_classes(shown, name)
        index = {value: i for i, value in enumerate(values)}
        return cls(
            name,
            shown,
            images,
            np.array([index[label] for label in labels], np.int64),
            (*notes, *label_notes(classes, len(images))),
            tuple(unreadable),
        )


def check_classes(classes: Sequence[str], where: str) -> None:
    """Check that a set has at least two classes; with fewer, all models would score the same.

    Raises:
        DataSetError: fewer than two classes.
    """
    if not classes:
        raise DataSetError(f"{where}: no classes with images in them")
    if len(classes) == 1:
        raise DataSetError(f"{where}: only one class with images ({classes[0]!r}); ranking needs at least two")
