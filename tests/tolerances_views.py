"""How far `image_views` in float32 may be from its float64 reference, derived and not fitted.

u = 2^-24 is float32's unit roundoff. n = 36 K values of a patch. The bounds hold for any order of the sums, with or
without fused multiplication and addition; they follow one image through the steps of docs/image_views.md:

- Area mean z: 2u z. Sums of bytes are exact; a quotient is rounded once, or in float64 and then again.
- Mean of a patch: (n + 1) u mean |z| for n - 1 sums and a quotient; the mean of the errors of z.
- Difference d: u |d|; the errors of z and of the mean.
- Variance v: (n + 2) u v for squares, sums and a quotient; 2 mean(|d| e) + mean(e^2) for an error e of d.
- Scale r = 1 / sqrt(v + 10): relative 3u for sum, root and quotient; (error of v) / (2 (v + 10)).
- Answer a = r sum(d w) + b: (n + 2) u r sum |d w| for products, sums and scaling; u |a| for the bias; r sum |w e| for
  errors e of d; the relative error of r times r sum |d w|.
- Beyond the threshold: u |a -+ 0.5|. A slope of at most 1 passes errors of a on.
- Mean q of a quarter: 197u q for 195 sums and a quotient; the mean of the errors.
- Root: 2u sqrt(q). Its slope has no bound near 0, so both ends count: the root of q + e less that of q, and that of q
  less that of q - e or of 0. An error of 1e-8 in a mean that should be 0 becomes 1e-4: a response that small means
  nothing more than "next to none".

Products of two errors are at most a thousandth of the errors themselves: one hundredth more covers them.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tests.reference.image_views import Array, Trace, beyond, quarter_means
from tests.tolerances import U


def image_views(t: Trace, weights: Array) -> tuple[Array, Array]:
    """Of the thumbnail and of the responses of one image."""
    n = t.patches.shape[1]
    mean_error = (n + 3) * U * t.patches.mean(1)
    size = np.abs(t.centered)
    e = 2.0 * U * t.patches + mean_error[:, None] + U * size
    variance = t.root**2 - 10.0
    variance_error = 2.0 * (size * e).mean(1) + (e * e).mean(1) + (n + 2) * U * variance
    relative = variance_error / (2.0 * t.root**2) + 3.0 * U
    magnitude = size @ np.abs(weights) / t.root[:, None]
    answer_error = e @ np.abs(weights) / t.root[:, None] + ((n + 2) * U + relative)[:, None] * magnitude
    answer_error += U * np.abs(t.answers)
    signs = np.stack([t.answers, -t.answers], axis=1)
    q = quarter_means(beyond(signs))
    q_error = 1.01 * quarter_means(answer_error[:, None] + U * np.abs(signs - 0.5)) + 197.0 * U * q
    most, least = np.sqrt(q + q_error), np.sqrt(np.maximum(q - q_error, 0.0))
    root = np.sqrt(q)
    return 2.0 * U * t.thumb, np.maximum(most - root, root - least) + 2.0 * U * most


def assert_image_views(thumb: npt.ArrayLike, patch: npt.ArrayLike, t: Trace, weights: Array) -> None:
    """float32 rows [64 K] and [512] are those of the reference."""
    for name, given, expected, bound in zip(
        ("thumb", "patch"), (thumb, patch), (t.thumb, t.responses), image_views(t, weights), strict=True
    ):
        got = np.asarray(given, np.float64)
        assert got.shape == expected.shape
        wrong = ~(np.abs(got - expected) <= bound)
        if wrong.any():
            k = int(np.argmax(wrong))
            raise AssertionError(
                f"{name}[{k}]: {got[k]!r}, expected {expected[k]!r} within {bound[k]:.2g}; {int(wrong.sum())} such"
            )
