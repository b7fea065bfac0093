"""Images of another kind than a model's: many groups moved at once, or gray levels inverted."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from iuscore import phantoms
from iuscore._run import records
from iuscore.errors import UserError
from iuscore.features import (
    FEATURES,
    FeatureProfile,
    feature_profile,
    joint_distance,
    looks_inverted,
    texture_features,
)
from iuscore.features.change import RIDGE, chance, changes
from iuscore.features.out_of_distribution import inverted
from iuscore.models import Ensemble, ModelRecord, TextureModel
from iuscore.scoring.baseline import feature_profiles_of
from iuscore.scoring.words import MAX_DISTANCE, MAX_JOINT_DISTANCE, is_jointly_out_of_distribution

pytestmark = pytest.mark.usefixtures("one_thread")

Pixels = NDArray[np.uint8]
Measured = NDArray[np.float32]
GRAY = FEATURES["gray"]
STATISTICS = [i for i, feature in enumerate(GRAY) if feature.role == "statistic"]


def measured(images: Pixels) -> Measured:
    found: Measured = texture_features(images, kind="gray", layout="NHWC").numpy()
    return found


def profile_of(values: Measured | NDArray[np.float64]) -> FeatureProfile:
    found = feature_profile(values, GRAY)
    assert found is not None
    return found


def scenes(n: int, seed: int) -> Pixels:
    return phantoms.draw("radiograph", "abnormal", n, size=64, seed=seed)


class TestInvertedGrayLevels:
    def test_statistics_are_those_of_the_negatives(self) -> None:
        images = scenes(30, 1)
        turned, negatives = inverted(measured(images).mean(0), GRAY), measured(255 - images).mean(0)
        for i in STATISTICS:
            assert turned[i] == pytest.approx(negatives[i], abs=2e-3), GRAY[i].name

    def test_only_negatives_look_inverted(self) -> None:
        known = {"abnormal": profile_of(measured(scenes(100, 2)))}
        images = scenes(40, 3)
        assert looks_inverted(known, measured(255 - images).mean(0), GRAY, 40)
        for other in (images, images[:, ::-1], images // 2, np.minimum(images.astype(int) + 40, 255).astype(np.uint8)):
            assert not looks_inverted(known, measured(np.ascontiguousarray(other)).mean(0), GRAY, 40)

    def test_nothing_is_said_of_few(self) -> None:
        known = {"abnormal": profile_of(measured(scenes(100, 2)))}
        negatives = measured(255 - scenes(40, 3))
        assert [looks_inverted(known, negatives[:n].mean(0), GRAY, n) for n in (1, 9)] == [False, False]
        assert not looks_inverted({}, negatives.mean(0), GRAY, 40)


class TestAllGroupsTogether:
    def test_the_joint_distance_is_the_smaller_of_two(self) -> None:
        rng = np.random.default_rng(0)
        causes = rng.normal(size=(9, len(GRAY)))
        real = rng.normal(size=(300, 9)) @ causes + 0.3 * rng.normal(size=(300, len(GRAY)))
        profile = profile_of(real)
        correlation = np.corrcoef(real[:, STATISTICS].T)
        whitened = np.linalg.inv((1 - RIDGE) * correlation + RIDGE * np.eye(len(STATISTICS)))
        seen = set()
        for scale in (0.2, 1.0, 5.0):
            for moved in (
                causes[0],
                rng.normal(size=len(GRAY)),
            ):  # along the variation of real images, and in another direction
                values = real.mean(0) + scale * moved
                shifts = ((values - real.mean(0)) / real.std(0, ddof=1))[STATISTICS]
                mahalanobis = np.sqrt(shifts @ whitened @ shifts / len(shifts))
                groups = np.array([change.moved for change in changes(profile, values, GRAY, 50)])
                together = np.sqrt(np.square(groups).mean())
                wanted = min(together, mahalanobis) if together > chance(50, profile, len(groups)) else 0.0
                assert joint_distance(profile, values, GRAY, 50) == pytest.approx(wanted, rel=0.01)
                seen.add("none" if not wanted else "groups" if together < mahalanobis else "mahalanobis")
        assert seen == {"none", "groups", "mahalanobis"}

    def test_nothing_is_known_with_a_model_of_an_earlier_version(self) -> None:
        profile = profile_of(measured(scenes(40, 2)))
        stored = json.loads(json.dumps(records.to_json(profile)))
        assert records.from_json(FeatureProfile, stored) == profile
        del stored["correlation"]
        earlier = records.from_json(FeatureProfile, stored)
        assert earlier.correlation is None
        far = np.array(profile.mean) + 9
        assert joint_distance(earlier, far, GRAY, 40) == 0.0 < joint_distance(profile, far, GRAY, 40)

    @pytest.mark.parametrize("damage", ["few", "many", "large", "nan", "text"])
    def test_a_damaged_correlation_is_named(self, damage: str) -> None:
        stored = records.to_json(profile_of(measured(scenes(40, 2))))
        found = list(stored["correlation"])
        stored["correlation"] = {
            "few": found[:-1], "many": [*found, 0.0], "large": [1.5, *found[1:]], "nan": [float("nan"), *found[1:]],
            "text": "abc",
        }[damage]  # fmt: skip
        model = Ensemble([TextureModel(["a", "b"], color="gray")])
        with pytest.raises(UserError, match=r"^features\.a\.correlation.*: expected "):
            feature_profiles_of(ModelRecord.from_json({"features": {"a": stored}}), model)

    def test_numbers_that_no_images_have(self) -> None:
        """All pairs of statistics have a correlation of -1: impossible, but a file may say so."""
        stored = records.to_json(profile_of(measured(scenes(40, 2))))
        stored["correlation"] = [-1.0] * len(stored["correlation"])
        profile = records.from_json(FeatureProfile, stored)
        assert np.isfinite(joint_distance(profile, np.array(profile.mean) + 1, GRAY, 40))


def read(folder: Path, kind: str) -> Pixels:
    return np.stack([np.asarray(Image.open(path).convert("L"))[..., None] for path in sorted(folder.glob(kind))])


@cache
def real_profiles(train: Path) -> dict[str, FeatureProfile]:
    return {name: profile_of(measured(read(train / name, "*.png"))) for name in ("benign", "malignant")}


def by_pillow(change: Callable[[Image.Image], Image.Image]) -> Callable[[Pixels], Pixels]:
    return lambda images: np.stack([np.asarray(change(Image.fromarray(i[..., 0])))[..., None] for i in images])


def compressed(picture: Image.Image) -> Image.Image:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=75)
    return Image.open(file)


FAULTS: dict[str, Callable[[Pixels], Pixels]] = {
    "blur": by_pillow(lambda picture: picture.filter(ImageFilter.GaussianBlur(0.5))),
    "jpeg": by_pillow(compressed),
    "dark": lambda images: (0.8 * images).astype(np.uint8),
    "upside down": lambda images: np.ascontiguousarray(images[:, ::-1]),
}


class TestRealImages:
    """Held-out, moderately damaged and inverted mammograms, and images of blood cells."""

    N = 200

    @pytest.fixture
    def known(self, shared: Path) -> dict[str, FeatureProfile]:
        if not (shared / "data" / "mammography").is_dir():
            pytest.skip("no folder shared/data/mammography")
        return real_profiles(shared / "data" / "mammography" / "real_train")

    @pytest.fixture
    def held_out(self, shared: Path) -> Pixels:
        return read(shared / "data" / "mammography" / "real_test" / "benign", "*.png")

    def of_another_kind(self, known: dict[str, FeatureProfile], values: Measured, n: int) -> float:
        rng = np.random.default_rng(0)
        sets = [values[rng.integers(0, len(values), n)].mean(0) for _ in range(self.N)]
        return float(np.mean([is_jointly_out_of_distribution(known, mean, GRAY, n) for mean in sets]))

    @pytest.mark.parametrize("n", [1, 10, 20, 50, 200])
    def test_held_out_real_images_are_not_out_of_distribution(
        self, known: dict[str, FeatureProfile], held_out: Pixels, n: int
    ) -> None:
        assert self.of_another_kind(known, measured(held_out), n) <= 0.01

    @pytest.mark.parametrize("fault", FAULTS)
    def test_moderately_damaged_images_are_not_out_of_distribution(
        self, known: dict[str, FeatureProfile], held_out: Pixels, fault: str
    ) -> None:
        assert self.of_another_kind(known, measured(FAULTS[fault](held_out)), 20) <= 0.01

    @pytest.mark.parametrize("cells", ["rbc", "wbc"])
    def test_blood_cells_are_out_of_distribution(
        self, known: dict[str, FeatureProfile], shared: Path, cells: str
    ) -> None:
        values = measured(read(shared / "data" / "blood_cells" / cells, "*.png"))
        if cells == "rbc":  # no single group is far off
            found = [max(c.moved for c in changes(profile, values.mean(0), GRAY)) for profile in known.values()]
            assert min(found) < MAX_DISTANCE
        assert (
            min(joint_distance(profile, values.mean(0), GRAY, len(values)) for profile in known.values())
            > MAX_JOINT_DISTANCE
        )
        assert self.of_another_kind(known, values, 20) >= 0.99

    def test_negatives_are_out_of_distribution(self, known: dict[str, FeatureProfile], held_out: Pixels) -> None:
        values = measured(255 - held_out)
        assert looks_inverted(known, values.mean(0), GRAY, len(values))
        assert self.of_another_kind(known, values, 20) >= 0.95
