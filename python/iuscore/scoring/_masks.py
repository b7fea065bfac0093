"""Masks of images that are scored in batches."""

from __future__ import annotations

from typing import Any

from iuscore.models import AdditiveModel


def masks_of_all(model: AdditiveModel, mask: Any, n: int, *, single: bool) -> Any:
    """The checked masks of ``n`` images: a sequence that can be cut into batches, "border", or None.

    Args:
        model: the model, whose rule decides which masks are valid.
        mask: the argument of the caller.
        n: number of images.
        single: whether the caller gave one PIL image or path, and therefore a single mask.

    Raises:
        UserError: a mask that the model does not use, or a missing mask. ValueError: a wrong number of masks.
    """
    mask = model.checked_mask(mask)
    if mask is None or isinstance(mask, str):
        return mask
    masks = [mask] if single else mask
    if len(masks) != n:
        raise ValueError(f"mask: expected one mask per image, {n}, got {len(masks)}")
    return masks


def masks_of_some(masks: Any, start: int, end: int) -> Any:
    """The masks of the images from ``start`` up to ``end``."""
    return masks if masks is None or isinstance(masks, str) else masks[start:end]
