"""Three looks at an image that need no training: a thumbnail, the patches it is made of, and its named features."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, cast, get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from iuscore.errors import UserError
from iuscore.features import texture_features
from iuscore.features.bytes import as_bytes
from iuscore.features.registry import FAINT
from iuscore.ops import Kind, _constants, image_views, resize
from iuscore.ops._images import ArrayLike, Images, Layout, batch_view, is_batch
from iuscore.ops._images import image_views as views_of_list
from iuscore.ops._torch.image_views import POSITIONS, averages
from iuscore.ops._torch.image_views import patches as normalized

View = Literal["thumb", "patch", "texture"]
VIEWS: tuple[View, ...] = get_args(View)

Floats: TypeAlias = "npt.NDArray[np.float32]"

PATCH_SIDE = _constants.PATCH_SIDE
"""Side of the image that patches are taken from; the smallest side of ``size``."""
WINDOW = _constants.PATCH_WINDOW
FILTERS = _constants.PATCH_FILTERS
DRAWN_PATCHES = 20_000
COMPONENTS = 64
ZCA_RIDGE = 0.1
FLAT = 1e-3
"""Length of a whitened patch below which it has no direction and is no filter."""

CHUNK = 256  # images that are prepared at once


@dataclass(frozen=True)
class PatchFilters:
    """What `patch_responses` multiplies normalized patches by: ``a = patch @ weights + bias``.

    Attributes:
        weights: float32 [36 C, 64]: the whitening and the filters in one matrix.
        bias: float32 [64]: minus what the mean patch gives.
    """

    weights: Tensor
    bias: Tensor


def count_of(images: Images) -> int:
    """Number of images.

    Example:
        >>> count_of(torch.zeros(8, 8, dtype=torch.uint8)), count_of([torch.zeros(8, 8)] * 3)
        (1, 3)
    """
    if is_batch(images):
        batch = cast(ArrayLike, images)
        return 1 if batch.ndim == 2 else len(batch)
    return len(cast("Sequence[ArrayLike]", images))


def prepared(images: Images, size: tuple[int, int], layout: Layout | None = None) -> Iterator[Tensor]:
    """Images as bytes at one size, some hundred at a time.

    Args:
        images: as in `iuscore.features.texture_features`; gray and color ones may stand in one list.
        size: (height, width) of what is yielded; bicubic, by `iuscore.ops.resize`.
        layout: "NHWC" or "NCHW"; needed only where the shape fits both.

    Yields:
        uint8 [n, height, width, C] on the CPU, C = 1 or 3, in the order of the images.

    Raises:
        UserError: an image has values that are not finite. TypeError, ValueError: see `iuscore.ops.texture_stats`.

    Example:
        >>> mixed = [torch.zeros(40, 50, 3, dtype=torch.uint8), torch.zeros(64, 64, dtype=torch.uint8)]
        >>> [tuple(part.shape) for part in prepared(mixed, (32, 32))]
        [(1, 32, 32, 3), (1, 32, 32, 1)]
    """
    views: Tensor | list[Tensor]
    if is_batch(images):
        views = batch_view(cast(ArrayLike, images), layout)
    else:
        views = views_of_list(cast("Sequence[ArrayLike]", images), layout)
    for at in range(0, len(views), CHUNK):
        found, broken = as_bytes(views[at : at + CHUNK], "NHWC")
        if broken:
            raise UserError(
                f"images: expected finite values, got others in images[{at + broken[0]}]; leave this image out"
            )
        for run in _of_one_depth(found):
            yield resize(run, size, layout="NHWC").cpu()


def _of_one_depth(found: Tensor | list[Tensor]) -> Iterator[Tensor | list[Tensor]]:
    """Runs of images with the same number of channels."""
    if isinstance(found, Tensor):
        yield found
        return
    start = 0
    for end in range(1, len(found) + 1):
        if end == len(found) or found[end].shape[-1] != found[start].shape[-1]:
            yield found[start:end]
            start = end


def has_color(batch: Tensor) -> bool:
    """Whether any pixel of uint8 [n, H, W, C] has channels that differ by more than JPEG leaves in a gray picture.

    Example:
        >>> gray = torch.full((1, 4, 4, 3), 90, dtype=torch.uint8)
        >>> red = gray.clone()
        >>> red[..., 0] = 200
        >>> has_color(gray), has_color(red)
        (False, True)
    """
    if batch.shape[-1] == 1 or not len(batch):
        return False
    wide = batch.short()
    return bool((wide.amax(-1) - wide.amin(-1)).amax() > round(FAINT * 255))


def thumb_and_patch(batch: Tensor, kind: Kind, filters: PatchFilters) -> tuple[Floats, Floats]:
    """`iuscore.ops.image_views` of uint8 [n, H, W, C]: `thumb` and `patch_responses` in one pass."""
    found = image_views(batch, filters.weights, filters.bias, kind=kind, layout="NHWC")
    return _array(found.thumb), _array(found.patch)


def thumb(batch: Tensor, kind: Kind) -> Floats:
    """The 8x8 thumbnail by area averages.

    Args:
        batch: uint8 [n, H, W, C], as `prepared` yields it.
        kind: "color" or "gray".

    Returns:
        float32 [n, 64 C] in gray levels 0..255; channels one after the other.

    Example:
        >>> thumb(torch.full((1, 32, 32, 1), 7, dtype=torch.uint8), "gray")[0, :3].tolist()
        [7.0, 7.0, 7.0]
    """
    terms = WINDOW**2 * (3 if kind == "color" else 1)
    return thumb_and_patch(batch, kind, PatchFilters(torch.zeros(terms, FILTERS), torch.zeros(FILTERS)))[0]


def texture(batch: Tensor, kind: Kind) -> Floats:
    """`iuscore.features.texture_features` of uint8 [n, H, W, C] at that size: float32 [n, F]."""
    return _array(texture_features(batch, kind=kind, size=None, layout="NHWC"))


def patches(batch: Tensor, kind: Kind) -> Tensor:
    """All patches of images at 32x32, each less its mean, over the root of its variance plus 10.

    Returns:
        float32 [n, 27 * 27, 36 C]; the mean and the variance are over all values of a patch, the variance over their
        number.

    Source: Coates, Lee, Ng, "An analysis of single-layer networks in unsupervised feature learning", AISTATS 2011.
    """
    return normalized(averages(batch, kind == "color", PATCH_SIDE))


def patch_responses(batch: Tensor, kind: Kind, filters: PatchFilters) -> Floats:
    """How strongly 64 filters answer in each quarter of an image: float32 [n, 512].

    Columns: positive answers of all filters, then negative ones; of each filter top left, top right, bottom left,
    bottom right. The middle row and column of the 27 positions belong to both halves.
    """
    return thumb_and_patch(batch, kind, filters)[1]


def learned_filters(batches: Iterable[Tensor], n: int, kind: Kind, seed: int) -> PatchFilters:
    """Filters from patches of real images: 20,000 for the whitening, 64 of them, whitened, as filters.

    Args:
        batches: uint8 [b, H, W, C] each, as `prepared` yields them: n real images.
        kind: "color" or "gray".
        seed: of the draw; the same images and seed give the same filters.

    Raises:
        UserError: fewer than 64 of the patches have a direction: the images are flat.
    """
    rng = np.random.default_rng(seed)
    image, place = np.divmod(rng.choice(n * POSITIONS**2, min(DRAWN_PATCHES, n * POSITIONS**2), False), POSITIONS**2)
    drawn = np.zeros((len(image), WINDOW**2 * (3 if kind == "color" else 1)))
    start = 0
    for batch in batches:
        for at in range(0, len(batch), 64):
            rows = batch[at : at + 64]
            here = np.flatnonzero((image >= start) & (image < start + len(rows)))
            if len(here):
                drawn[here] = patches(rows, kind).numpy()[image[here] - start, place[here]]
            start += len(rows)
    mean = drawn.mean(axis=0)
    values, vectors = np.linalg.eigh(np.cov(drawn.T, bias=True))
    whitening = (vectors / np.sqrt(np.maximum(values, 0) + ZCA_RIDGE)) @ vectors.T
    white = (drawn - mean) @ whitening
    length = np.linalg.norm(white, axis=1)
    chosen = np.flatnonzero(length > FLAT)[:FILTERS]  # the draw has no order
    if len(chosen) < FILTERS:
        raise UserError(
            f"images: expected real images with some structure, got {len(chosen)} patches that are not flat of "
            f"{len(length)}; look at the images"
        )
    weights = whitening @ (white[chosen] / length[chosen, None]).T
    return PatchFilters(torch.from_numpy(weights).float(), torch.from_numpy(-mean @ weights).float())


def _array(rows: Tensor) -> Floats:
    found: npt.NDArray[Any] = rows.numpy()
    return found.astype(np.float32, copy=False)
