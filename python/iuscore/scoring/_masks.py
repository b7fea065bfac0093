"""Masks beside images that are scored batch by batch."""

from __future__ import annotations

from typing import Any

from iuscore.models import AdditiveModel


def masks_of_all(model: AdditiveModel, mask: Any, n: int, *, single: bool) -> Any:
    """What a model measures ``n`` images with: masks that can be cut into batches, "border", or None.

    Args:
        model: knows which pixels it looks at.
        mask: what the caller gave.
        n: number of images.
        single: the caller gave one PIL image or path, and so one mask.

    Raises:
        UserError: a mask that the model does not use, or none where it needs one. ValueError: another number of them.
    """
    mask = model.checked_mask(mask)
    if mask is None or isinstance(mask, str):
        return mask
    masks = [mask] if single else mask
    if len(masks) != n:
        raise ValueError(f"mask: expected one mask per image, {n}, got {len(masks)}")
    return masks


def masks_of_some(masks: Any, start: int, end: int) -> Any:
    """Those of the images ``start`` to ``end``."""
    return masks if masks is None or isinstance(masks, str) else masks[start:end]
