"""Co-occurrence features and color histograms, for users of scikit-image and NumPy.

Computes both for a batch of images in one call each, then one image at a time with scikit-image and NumPy where they
are installed, and shows that the numbers are the same:

    python examples/kernels.py
"""

from __future__ import annotations

import numpy as np

from iuscore import ops, phantoms


def main() -> None:
    images = phantoms.draw("endoscopy", "abnormal", 8, size=128)  # uint8 [8, 128, 128, 3]
    gray = phantoms.draw("radiograph", "abnormal", 8, size=128)[..., 0]  # uint8 [8, 128, 128]

    # graycomatrix and graycoprops: distances and angles as in scikit-image, levels from bins of equal width.
    counts = ops.glcm(gray, levels=32, distances=(1,), angles=(0.0,), symmetric=True)
    features = ops.glcm_features(gray, levels=32, distances=(1,), angles=(0.0,), symmetric=True)
    print(f"co-occurrence matrices {tuple(counts.shape)}, features {tuple(features.values.shape)}")

    histogram = ops.color_histogram(images, bins=64)
    print(f"histograms {tuple(histogram.counts.shape)}")

    for channel in range(3):
        expected = np.histogram(images[0, ..., channel], bins=64, range=(0, 256))[0]
        assert (histogram.counts[0, channel].numpy() == expected).all()
    print("histograms equal those of numpy.histogram")

    try:
        from skimage.feature import graycomatrix, graycoprops
    except ModuleNotFoundError:
        print("scikit-image is not installed: the co-occurrence matrices are not compared")
        return
    matrices = graycomatrix(gray[0] // 8, distances=[1], angles=[0.0], levels=32, symmetric=True)
    assert (counts[0, 0, 0].numpy() == matrices[:, :, 0, 0]).all()
    normalized = matrices / matrices.sum()
    for name in ("contrast", "homogeneity", "correlation"):
        ours = float(features.values[0, 0, 0, features.names.index(name)])
        theirs = float(graycoprops(normalized, name)[0, 0])
        assert abs(ours - theirs) <= 1e-5 * max(1.0, abs(theirs)), (name, ours, theirs)
    print("matrices and features equal those of scikit-image")


if __name__ == "__main__":
    main()
