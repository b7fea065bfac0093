"""The inputs of a scorer: tensors, arrays, PIL images and files, alone or in a list."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence, Set
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from torch import Tensor

from iuscore.errors import UserError
from iuscore.ops._images import ArrayLike, Images, Layout, batch_view, image_views

if TYPE_CHECKING:
    from PIL.Image import Image

ImageLike: TypeAlias = "ArrayLike | Image | str | os.PathLike[str]"
ScorerInput: TypeAlias = "Images | ImageLike | Sequence[ImageLike]"

_EXPECTED = "a tensor, an array, a PIL image, a path, or a list of them"


class Inputs:
    """Images in batches; a file is read when its batch is requested, so a long list of paths needs little memory.

    Args:
        images: [B, H, W, C] or [B, C, H, W], or gray [B, H, W] or [H, W]; a PIL image or the path of a file; or a list
            that may mix tensors and arrays [H, W, C], [C, H, W] or [H, W], PIL images and paths.
        layout: "NHWC" or "NCHW" of tensors and arrays, needed where a shape fits both.

    Raises:
        TypeError, ValueError: an input of another type; the message has its index in the list.

    Example:
        >>> import numpy as np
        >>> inputs = Inputs([np.zeros((8, 8, 3), np.uint8)] * 3, None)
        >>> len(inputs), len(inputs.batch(0, 2)[0])
        (3, 2)
    """

    def __init__(self, images: ScorerInput, layout: Layout | None) -> None:
        self.layout: Layout | None = layout
        self.images: Any = images
        self.single = _is_pil(images) or isinstance(images, str | os.PathLike)
        if isinstance(images, Tensor | np.ndarray):
            self.images, self.layout, self.mixed = batch_view(images, layout), "NHWC", False
            return
        if self.single:
            self.images = [images]
        elif not isinstance(images, Sequence) or isinstance(images, bytes):
            in_order = isinstance(images, Iterable) and not isinstance(images, bytes | Mapping | Set)
            hint = "; pass list(images)" if in_order else ""
            raise TypeError(f"images: expected {_EXPECTED}, got {type(images).__name__}{hint}")
        self.images = list(self.images)
        # A list of arrays alone is given to the model unchanged.
        self.mixed = not all(isinstance(image, Tensor | np.ndarray) for image in self.images)
        for i, image in enumerate(self.images if self.mixed else ()):
            if not (isinstance(image, Tensor | np.ndarray | str | os.PathLike) or _is_pil(image)):
                raise TypeError(f"images[{i}]: expected {_EXPECTED}, got {type(image).__name__}")

    def __len__(self) -> int:
        return len(self.images)

    def batch(self, start: int, end: int) -> tuple[Any, Layout | None, list[tuple[str, ...]] | None]:
        """Images from ``start`` up to ``end``.

        Returns:
            Images that a model can prepare, their layout, and the warnings of each image, such as "alpha dropped";
            None instead of warnings if no file was read.

        Raises:
            UserError: a file is not an image; the message has its name. TypeError, ValueError: an array is not an
                image.
        """
        part = self.images[start:end]
        if not self.mixed:
            return part, self.layout, None
        read = [_read(start + i, image, self.layout) for i, image in enumerate(part)]
        return [pixels for pixels, _ in read], "NHWC", [warnings for _, warnings in read]


def _is_pil(image: object) -> bool:
    return hasattr(image, "getbands")  # avoids an import of Pillow


def _read(i: int, image: Any, layout: Layout | None) -> tuple[Any, tuple[str, ...]]:
    """One image as [H, W, C], with its warnings."""
    from iuscore.images import UnreadableImage, decode, from_pil

    if isinstance(image, Tensor | np.ndarray):
        try:
            return image_views([image], layout)[0], ()
        except (TypeError, ValueError) as error:
            raise type(error)(str(error).replace("images[0]", f"images[{i}]", 1)) from None
    named = f"images[{i}]"
    try:
        if _is_pil(image):
            decoded = from_pil(image)
        else:
            path = Path(image)
            named = f"{named} ({path})"
            if path.is_dir():
                raise UserError(
                    f"{named}: expected a file, got a folder: give a list of its files, or score the folder with "
                    "iuscore.engine.score_source"
                )
            decoded = decode(path)
    except UnreadableImage as error:
        raise UserError(f"{named}: {error}") from error
    return decoded.pixels, decoded.warnings
