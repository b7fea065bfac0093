"""What changed and what matters, with the phantoms' dials as ground truth; and the arithmetic under it."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest

import iuscore
from iuscore import Scorer, UserError, phantoms
from iuscore._run import records
from iuscore.features import (
    FEATURES,
    GROUPS,
    FeatureProfile,
    changes,
    feature_profile,
    nearest_ratio,
)
from iuscore.fit import TextureOptions, fit, open_splits
from iuscore.models import Ensemble, ModelRecord, TextureModel
from iuscore.phantoms import DEFECT_TARGETS, Defects, Kind
from iuscore.scoring import ComponentReason, Explanation
from iuscore.scoring.baseline import feature_profiles_of

pytestmark = pytest.mark.usefixtures("one_thread")

SIZE, SET = 64, 100
N_PER_CLASS: dict[Kind, int] = {"endoscopy": 150, "radiograph": 400}  # opacities are hard to learn
CLASSES = ("normal", "abnormal")
NAMEABLE = [(kind, dial) for kind in DEFECT_TARGETS for dial, target in DEFECT_TARGETS[kind].items() if target.groups]


@pytest.fixture(scope="module")
def scorer_of(tmp_path_factory: pytest.TempPathFactory, one_thread: None) -> Callable[[Kind], Scorer]:
    made: dict[str, Scorer] = {}

    def scorer(kind: Kind) -> Scorer:
        if kind not in made:
            root = tmp_path_factory.mktemp(kind)
            phantoms.write(root / "real", kind, n_per_class=N_PER_CLASS[kind], size=SIZE, seed=11)
            options = TextureOptions(size=(SIZE, SIZE))
            fit(open_splits(root / "real"), root / "m", model="texture", model_options=options, classes=CLASSES)
            made[kind] = iuscore.load(root / "m")
        return made[kind]

    return scorer


def explained(scorer: Scorer, kind: Kind, dial: str | None, share: float = 1.0) -> tuple[Explanation, float]:
    """The explanation of a set of abnormal phantoms, and its ratio of nearest-neighbor distances."""
    defects = Defects(**({dial: share} if dial else {}))
    images = phantoms.draw(kind, "abnormal", SET, size=SIZE, seed=77, defects=defects)
    scores = scorer(images, target="abnormal")
    assert scores.features is not None
    values = scores.features.numpy()
    why = scorer.explained("abnormal", scores.contributions.numpy(), scores.shares.numpy(), values.mean(0))
    ratio = nearest_ratio(scorer.feature_profiles["abnormal"], values, scorer.model.features)
    assert ratio is not None
    return why, ratio


class TestPhantoms:
    """Each dial turned up to 1. Which groups it may hit was written down with the dials, from what they draw."""

    @pytest.mark.parametrize(("kind", "dial"), NAMEABLE)
    def test_the_group_that_a_defect_hits_is_named_first(
        self, scorer_of: Callable[[Kind], Scorer], kind: Kind, dial: str
    ) -> None:
        why, ratio = explained(scorer_of(kind), kind, dial)
        assert why.read_first in DEFECT_TARGETS[kind][dial].groups
        assert ratio > 0.7
        assert why.most_changed is not None
        if dial == "lesion_contrast":
            # A lesion is a small part of the picture: what matters finds it, what changed does not.
            assert why.most_changed.moved < 1.2
            assert why.toward_other is not None
            assert why.toward_other > 0.5
        else:
            assert why.most_changed.moved > 3
            assert why.most_changed.name == why.read_first

    @pytest.mark.parametrize("kind", list(DEFECT_TARGETS))
    def test_faithful_images_change_little(self, scorer_of: Callable[[Kind], Scorer], kind: Kind) -> None:
        why, ratio = explained(scorer_of(kind), kind, None)
        assert why.most_changed is not None
        assert why.most_changed.moved < 0.4
        assert 0.8 < ratio < 1.3

    @pytest.mark.parametrize("kind", list(DEFECT_TARGETS))
    def test_mode_collapse_is_no_shift_but_a_lack_of_variety(
        self, scorer_of: Callable[[Kind], Scorer], kind: Kind
    ) -> None:
        why, ratio = explained(scorer_of(kind), kind, "mode_collapse")
        assert ratio < 0.5
        assert why.most_changed is not None
        assert why.most_changed.moved < 1.5

    @pytest.mark.parametrize("kind", list(DEFECT_TARGETS))
    def test_swapped_labels_matter_without_a_change_beyond_real_images(
        self, scorer_of: Callable[[Kind], Scorer], kind: Kind
    ) -> None:
        why, ratio = explained(scorer_of(kind), kind, "swapped_labels")
        assert why.most_changed is not None
        assert why.most_changed.moved < 1.2
        assert why.toward_other is not None
        assert why.toward_other > 0.6
        assert ratio > 0.7

    def test_single_images_show_the_defect(self, scorer_of: Callable[[Kind], Scorer]) -> None:
        scorer = scorer_of("endoscopy")
        clear = phantoms.draw("endoscopy", "abnormal", 6, size=SIZE, seed=78)
        blurred = phantoms.draw("endoscopy", "abnormal", 6, size=SIZE, seed=78, defects=Defects(blur=1.0))
        for image in scorer.explain(blurred, target="abnormal"):
            assert image.read_first in DEFECT_TARGETS["endoscopy"]["blur"].groups
            assert image.n == 1
        calm = [why.most_changed for why in scorer.explain(clear, target="abnormal")]
        assert np.median([change.moved for change in calm if change is not None]) < 3


def reason(name: str, difference: float, shift: float | None = None) -> ComponentReason:
    return ComponentReason(name, 1.0, 1.0 + difference, 0.1, shift)


def test_what_is_named_first() -> None:
    profile = FeatureProfile(9, (0.0,) * 76, (1.0,) * 76, {})
    values = np.zeros(76)
    values[[f.name for f in FEATURES["gray"]].index("coarse-fine mean")] = -3.0
    moved = changes(profile, values, FEATURES["gray"])
    components = tuple(reason(g, -0.5 if g == "direction" else 0.1, 9.0) for g in GROUPS["gray"])
    for n, first in ((100, "direction"), (1, "direction")):
        assert Explanation("a", 0.5, components, moved, None, n).read_first == first
    far = changes(profile, values * 10, FEATURES["gray"])
    assert Explanation("a", 0.5, components, far, None, 1).read_first == "coarse-fine"
    why = Explanation("a", 0.5, components, moved)
    assert why.most_changed is not None
    assert (why.most_changed.name, why.most_changed.feature) == ("coarse-fine", "coarse-fine mean")
    assert why.most_changed.shift == -3.0
    assert why.most_changed.moved == pytest.approx(3 / 8**0.5)
    # Without named features nothing is said about a change, and the contributions' own spread decides as before.
    assert Explanation("a", 0.5, components).read_first == "lightness"
    assert Explanation("a", 0.5, components).most_changed is None
    assert Explanation("a", 0.5, ()).read_first is None


def test_profiles_of_features_equal_numpy() -> None:
    features = FEATURES["gray"]
    values = np.random.default_rng(0).random((130, len(features))).astype(np.float32)
    profile = feature_profile(values, features)
    assert profile is not None
    assert list(profile.nearest) == [25, 50, 100]
    assert profile.nearest[25] > profile.nearest[100] > 0
    np.testing.assert_allclose(profile.mean, values.astype(float).mean(0))
    np.testing.assert_allclose(profile.sd, values.astype(float).std(0, ddof=1))
    again = records.from_json(FeatureProfile, json.loads(json.dumps(records.to_json(profile))))
    assert again == profile
    assert feature_profile(values[:1], features) is None
    shares = [i for i, f in enumerate(features) if f.role == "share"]
    moved = np.array(profile.mean)
    moved[shares] += 1e6
    assert max(change.moved for change in changes(profile, moved, features)) < 1e-6


def test_nearest_ratio_is_zero_for_copies_and_one_for_similar_sets() -> None:
    features = FEATURES["gray"]
    real = np.random.default_rng(0).random((120, len(features)))
    profile = feature_profile(real, features)
    assert profile is not None
    assert nearest_ratio(profile, real[:24], features) is None
    assert nearest_ratio(profile, np.repeat(real[:60], 2, axis=0), features) == 0
    other = np.random.default_rng(1).random((400, len(features)))
    for n in (25, 60, 110, 400):
        assert nearest_ratio(profile, other[:n], features) == pytest.approx(1, abs=0.15)


@pytest.mark.parametrize(
    ("stored", "said"),
    [
        (None, "expected names with values, got null"),
        ({}, "n: is missing"),
        ({"n": 3, "mean": "x", "sd": [1.0], "nearest": {}}, "mean: expected a list, got 'x'"),
        ({"n": 3, "mean": [0.0], "sd": [-1.0], "nearest": {}}, "sd[0]: expected a number of at least 0, got -1.0"),
    ],
)
def test_a_damaged_profile_of_features_is_named(stored: object, said: str) -> None:
    with pytest.raises(UserError) as caught:
        ModelRecord.from_json({"features": {"a": stored}})
    assert str(caught.value) == f"features.a{'' if stored is None else '.'}{': ' * (stored is None)}{said}"


def test_a_profile_of_other_features_is_refused() -> None:
    model = Ensemble([TextureModel(["a", "b"], color="gray")])
    record = ModelRecord(features={"a": FeatureProfile(3, (0.0,), (1.0,), {})})
    with pytest.raises(UserError, match=r"^features\.a: expected .* means and spreads; fit the model again$"):
        feature_profiles_of(record, model)
