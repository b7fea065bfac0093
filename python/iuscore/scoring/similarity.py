"""The measure IUS: similarity between the contributions of an image and of a real class.

IUS of an image for class k is the cosine between the mean contributions of real validation images
of class k and the image's own. Source: Gatoula, Dimas, Iakovidis, "Interpretable Similarity of
Synthetic Image Utility", IEEE TMI 2026. Nothing here depends on which model made the contributions;
everything runs on the device of the contributions and is differentiable.
"""

from __future__ import annotations

import torch
from torch import Tensor

EPS = 1e-8
"""Smallest norm to divide by, as in ``torch.nn.functional.cosine_similarity``."""


def shares(baseline: Tensor, contributions: Tensor, *, eps: float = EPS) -> Tensor:
    """Split the IUS over the components: b_i c_i / (max(|b|, eps) max(|c|, eps)).

    Runs on the device of ``contributions`` and is differentiable in both arguments.

    Args:
        baseline: float [G], or [B, G] for a baseline of its own per image.
        contributions: float [B, G].
        eps: least norm.

    Returns:
        float [B, G], float32 or wider; rows sum to :func:`ius`. All 0 where a vector is 0, all NaN
        where a contribution is NaN.

    Raises:
        ValueError: shapes that do not fit together.

    Example:
        >>> shares(torch.tensor([3.0, 4.0]), torch.tensor([[4.0, 3.0], [0.0, 0.0]]))
        tensor([[0.4800, 0.4800],
                [0.0000, 0.0000]])
    """
    fits = baseline.ndim > 0 and baseline.shape in (contributions.shape, contributions.shape[1:])
    if contributions.ndim != 2 or not fits:
        raise ValueError(
            f"expected a baseline [G] or [B, G] and contributions [B, G], got "
            f"{list(baseline.shape)} and {list(contributions.shape)}"
        )
    # At least float32: 1e-8 is 0 in half precision, and a zero vector would give 0 / 0.
    dtype = torch.promote_types(contributions.dtype, torch.float32)
    return _unit(baseline.to(contributions.device, dtype), eps) * _unit(contributions.to(dtype), eps)


def ius(baseline: Tensor, contributions: Tensor, *, eps: float = EPS) -> Tensor:
    """Interpretable Utility Similarity: the cosine between a baseline and contributions.

    Equal to ``torch.nn.functional.cosine_similarity(baseline, contributions, dim=-1)``, computed
    as the sum of :func:`shares`.

    Args and errors are those of :func:`shares`.

    Returns:
        float [B] in [-1, 1] up to rounding, float32 or wider; 0 where a vector is 0, NaN where a
        contribution is not finite.

    Example:
        >>> ius(torch.tensor([1.0, 0.0]), torch.tensor([[2.0, 0.0], [0.0, 1.0], [-3.0, 0.0]]))
        tensor([ 1.,  0., -1.])
    """
    return shares(baseline, contributions, eps=eps).sum(dim=-1)


def leave_one_out_ius(contributions: Tensor, *, eps: float = EPS) -> Tensor:
    """IUS of each image against the mean of the others.

    Args:
        contributions: float [N, G], images of one class.
        eps: least norm.

    Returns:
        float [N], float32 or wider; NaN for N = 1, where there are no others.

    Example:
        >>> leave_one_out_ius(torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]))
        tensor([0.7071, 0.7071, 0.0000])
    """
    # In float64: subtracting one image from the sum loses digits if that image dominates the sum.
    wide = contributions.double()
    others = (wide.sum(dim=0) - wide) / (len(wide) - 1)
    return ius(others, contributions, eps=eps)


def _unit(x: Tensor, eps: float) -> Tensor:
    # clamp propagates NaN, unlike Python's max().
    norm: Tensor = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    return x / norm.clamp(min=eps)
