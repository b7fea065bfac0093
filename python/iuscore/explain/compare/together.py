"""Compare scored sets with real images and with each other."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from iuscore._environment import versions
from iuscore.errors import UserError
from iuscore.explain.compare.changes import Sample, component_effects, feature_changes
from iuscore.explain.compare.controls import controls
from iuscore.explain.compare.coverage import coverage
from iuscore.explain.compare.gains import gains
from iuscore.explain.compare.gallery import shown_images
from iuscore.explain.compare.ranking import ranked_pairs, resampled_transfers, ties_of
from iuscore.explain.compare.records import ComparedSet, Comparison
from iuscore.explain.compare.sentences import advice_of, verdict_of, words_of
from iuscore.explain.compare.sets import ScoredSet, completed
from iuscore.explain.value import Measure, ReferenceViews, SetValue
from iuscore.explain.value.of_images import values_of_rows
from iuscore.explain.value.of_sets import set_value_of_rows, too_few
from iuscore.features import FEATURES
from iuscore.models import Space
from iuscore.models.record import HeldOut, ModelRecord


def compare_sets(
    reference: ReferenceViews,
    sets: Sequence[ScoredSet],
    model: ModelRecord,
    *,
    space: Space = "paper",
    real: str = "",
    command: str = "",
    step: Callable[[str], None] = lambda name: None,
) -> Comparison:
    """Compare sets with real images and with each other.

    Args:
        reference: real images, of the model that scored the sets.
        sets: with different names. Real images stand in for classes that a set has no images of (`completed`).
        model: record of the model that scored them: baselines, held-out references.
        space: in which they were scored.
        real, command: for the record: path of the real images, and the command line.
        step: called with what is computed next.

    Returns:
        The sets in the order of their transfer. The same in every bit for the same arguments on one machine.

    Raises:
        UserError: no set, two sets of one name, or a set with a single image of a class.

    Source: docs/compare.md.
    """
    names = [each.name for each in sets]
    if not sets or len(set(names)) < len(names):
        raise UserError(f"sets: expected one or more, with different names, got {', '.join(names) or 'none'}")
    reference, sets = completed(reference, sets)
    for each in sets:
        if (missing := too_few(reference, each.labels)) is not None:
            raise UserError(f"{each.name}: {missing}")
    values: dict[str, SetValue] = {}
    for each in sets:
        step(f"value of {each.name}")
        values[each.name] = set_value_of_rows(reference, each.rows, each.labels)
    step("order of the sets")
    pairs = ranked_pairs(values, resampled_transfers(reference, sets) if len(sets) > 1 else {})
    order = sorted(sets, key=lambda each: (-values[each.name].transfer.value, each.name))
    found = []
    for place, each in enumerate(order, 1):
        step(f"what is in {each.name}")
        found.append(_compared(reference, each, values[each.name], model, space, place, ties_of(each.name, pairs)))
    figures = model.test or model.validation
    doubts = _doubts_of_all(found)
    return Comparison(
        classes=reference.record.classes,
        real=real,
        real_counts=reference.record.counts,
        real_groups=reference.record.n_groups,
        sets=tuple(found),
        pairs=pairs,
        verdict=verdict_of(found, pairs, doubts),
        doubts=doubts,
        advice=advice_of(found, reference.record.counts, reference.record.classes),
        model=model.kind,
        model_auroc=None if figures is None else figures.auroc,
        model_auroc_images=0 if figures is None else figures.n or 0,
        versions=versions(),
        command=command,
    )


def _doubts_of_all(sets: Sequence[ComparedSet]) -> tuple[str, ...]:
    """Doubts that every set has; of those that differ in a number alone, the first."""
    kinds = [{re.sub(r"[0-9.]+", "", doubt): doubt for doubt in each.doubts} for each in sets]
    return tuple(doubt for kind, doubt in kinds[0].items() if all(kind in other for other in kinds))


def _compared(
    reference: ReferenceViews, given: ScoredSet, value: SetValue, model: ModelRecord, space: Space, place: int,
    ties: tuple[str, ...],
) -> ComparedSet:  # fmt: skip
    record, features = reference.record, FEATURES[reference.record.kind]
    classes = len(record.classes)
    groups = None if record.n_groups is None else reference.groups
    everything = given
    images = values_of_rows(reference, given.rows, given.labels).at(given.own)
    given = given.only(given.own)
    texture, real = given.rows["texture"], reference.rows["texture"]
    beside = controls(texture, given.labels, real, reference.labels, classes, record.seed, groups=groups)
    covered = coverage(
        given.rows, given.labels, reference.rows, reference.labels, record.classes, features, record.seed,
        uids=record.uids, groups=groups,
    )  # fmt: skip
    changes = feature_changes(
        texture, given.labels, real, reference.labels, record.classes, features, groups=given.groups, real_groups=groups
    )
    effects = component_effects(
        given.contributions, given.labels, _real_contributions(model, space, record.classes), record.classes,
        given.components, groups=given.groups,
    )  # fmt: skip
    covered = tuple(each for each in covered if (given.labels == record.classes.index(each.target)).any())
    added = gains(reference, everything)
    contradicted = {
        name: int((images.contradicted & (given.labels == k)).sum()) for k, name in enumerate(record.classes)
    }
    copies_of_real = int((images.nearness < 1).sum())
    value = replace(value, counts=tuple(np.bincount(given.labels, minlength=classes).tolist()))  # without stand-ins
    stand_ins = tuple(record.classes[k] for k in given.missing)
    words = words_of(given, value, added, covered, changes, effects, contradicted, copies_of_real, stand_ins)
    return ComparedSet(
        name=given.name,
        source=given.source,
        n=given.n_listed,
        n_unreadable=given.n_unreadable,
        n_groups=None if given.groups is None else len(np.unique(given.groups)),
        n_looked_at=len(given),
        place=place,
        ties=ties,
        value=value,
        controls={**_of_the_model(given, model, space), **beside},
        changes=changes,
        effects=effects,
        coverage=covered,
        gains=added,
        n_contradicted=contradicted,
        n_copies=int((images.copies > 1).sum()),
        n_copies_of_real=copies_of_real,
        images=shown_images(reference, given, images),
        verdict=words.verdict,
        use_for=words.use_for,
        not_for=words.not_for,
        problems=words.problems,
        doubts=words.doubts,
    )


def _real_contributions(model: ModelRecord, space: Space, classes: Sequence[str]) -> list[Sample | None]:
    """Of the real images of each class, as the baseline profiles keep them."""
    found: list[Sample | None] = []
    for name in classes:
        profile = model.profiles.get(space, {}).get(name)
        known = profile is not None and profile.sd is not None and (profile.n or 0) > 1
        if profile is None or not known:
            found.append(None)
        else:
            found.append(Sample(profile.n or 0, np.array(profile.mean), np.square(np.array(profile.sd))))
    return found


def _of_the_model(given: ScoredSet, model: ModelRecord, space: Space) -> dict[str, Measure]:
    """The published score and the confidence of the model, means over classes; real and swapped of held-out images."""

    def held_out(of: dict[Space, dict[str, HeldOut]]) -> float | None:
        held = [of.get(space, {}).get(given.classes[k]) for k in sorted(set(given.labels.tolist()))]
        means = [float("nan") if each is None else each.mean for each in held]
        return float(np.mean(means)) if np.isfinite(means).all() else None

    def mean_over_classes(of_images: np.ndarray) -> tuple[float, float]:
        means, errors = [], []
        for k in set(given.labels.tolist()):
            mine = of_images[given.labels == k]
            means.append(mine.mean())
            errors.append(mine.var(ddof=1) / len(mine) if len(mine) > 1 else 0.0)
        return float(np.mean(means)), float(1.96 * np.sqrt(np.sum(errors)) / len(means))

    found = {}
    for name, of_images, real, swapped in (
        ("ius", given.ius, held_out(model.ceiling), held_out(model.floor)),
        ("confidence", given.confidence, None, None),
    ):
        mean, half = mean_over_classes(of_images)
        found[name] = Measure(mean, mean - half, mean + half, real=real, swapped=swapped)
    return found
