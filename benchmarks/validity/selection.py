"""Picks from a pool: by value, by confidence, by both, at random; and what a learner trained on them reaches."""

from __future__ import annotations

import warnings
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
from data import Labels, Part, Task
from learners import SEEDS, Floats, Trained
from scipy.stats import rankdata
from scores import Judges
from sets import blur, collapsed, generated, mixture_model, patch_mix, principal, real

from iuscore.explain.value import ImageValues, image_values

FRACTIONS = (0.5, 0.25)
FEW = 1 / 3
"""Share of the pool up to which copies are discounted."""


def pool_of(task: Task, name: str) -> Part:
    """Images to pick from.

    "faults": of each class 40 % clean images, 20 % with the label of the next class, 20 % blurred, 20 % near copies of
    five. "generators": a quarter each from principal components, a Gaussian mixture, patch mixing, and the published
    generator or else heavily reduced principal components.
    """
    rng = np.random.default_rng(zlib.crc32(f"{task.name}/pool/{name}".encode()))
    if name == "faults":
        whole = real(task, rng)
        clean, swap, soft = _divided(whole, (0.4, 0.2, 0.2))
        copies = _first(collapsed(task, rng, few=5), round(0.2 * task.n))
        swap = Part(swap.images, (swap.labels + 1) % len(task.classes))
        parts = [clean, swap, Part(blur(soft.images, rng, sigma=2.0), soft.labels), copies]
    else:
        last = generated if task.generated is not None else partial(principal, components=5)
        makers = (partial(principal, components=40), mixture_model, patch_mix, last)
        parts = [_shuffled(make(task, rng), task.n // 4, rng) for make in makers]
    return Part(np.concatenate([p.images for p in parts]), np.concatenate([p.labels for p in parts]))


def _places(part: Part) -> list[Labels]:
    return [np.flatnonzero(part.labels == k) for k in np.unique(part.labels)]


def _divided(part: Part, shares: tuple[float, ...]) -> list[Part]:
    found = []
    for begin, end in zip(np.cumsum((0, *shares[:-1])), np.cumsum(shares), strict=True):
        places = [mine[round(begin * len(mine)) : round(end * len(mine))] for mine in _places(part)]
        found.append(part.of(np.concatenate(places)))
    return found


def _first(part: Part, n: int) -> Part:
    return part.of(np.concatenate([mine[:n] for mine in _places(part)]))


def _shuffled(part: Part, n: int, rng: np.random.Generator) -> Part:
    return part.of(np.concatenate([rng.permutation(mine)[:n] for mine in _places(part)]))


def value_order(values: ImageValues, fraction: float) -> Floats:
    """z(value), less log2 of the number of near copies where a third or less is kept."""
    found: Floats = (values.value - values.value.mean()) / values.value.std()
    return found - np.log2(values.copies) if fraction <= FEW else found


def joined_order(values: ImageValues, confidence: Floats, fraction: float) -> Floats:
    """Rank of the value order plus rank of confidence; images with a label that is contradicted come last."""
    found: Floats = rankdata(value_order(values, fraction)) + rankdata(confidence)
    return np.where(values.contradicted, found - 2.0 * len(found), found)


def picks(judges: Judges, pool: Part, fraction: float, seed: int) -> dict[str, Labels]:
    """Rule -> places of this fraction of each class; "random" differs between seeds."""
    values = image_values(judges.views, pool.images, pool.labels)
    places = np.arange(len(pool))
    names = [judges.task.classes[k] for k in pool.labels]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scored = judges.scorer(pool.images, target=names, layout="NHWC")
    claimed = np.array([scored.classes.index(name) for name in names])
    confidence = np.asarray(scored.probabilities.detach().numpy(), np.float64)[places, claimed]
    by_network = np.mean([net.probabilities(pool.images) for net in judges.networks], axis=0)[places, pool.labels]
    rng = np.random.default_rng([seed, 5])
    orders: dict[str, Floats] = {
        "random": rng.random(len(pool)),
        "confidence": confidence,
        "confidence of networks": by_network,
        "value": value_order(values, fraction),
        "value and confidence": joined_order(values, confidence, fraction),
    }
    return {name: best(order, pool.labels, fraction) for name, order in orders.items()}


def best(order: Floats, labels: Labels, fraction: float) -> Labels:
    """Places of the highest of each class."""
    found = []
    for k in np.unique(labels):
        mine = np.flatnonzero(labels == k)
        found.append(mine[np.argsort(-order[mine], kind="stable")][: round(fraction * len(mine))])
    return np.sort(np.concatenate(found))


def rows_of(judges: Judges, pool_name: str, done: Callable[[str], bool]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Name and row of each training that is not done: rule, fraction, seed and the AUROC on the test."""
    task = judges.task
    pool = pool_of(task, pool_name)
    for seed in SEEDS:
        chosen = {"whole": (1.0, np.arange(len(pool)))}
        for fraction in FRACTIONS:
            found = picks(judges, pool, fraction, seed)
            chosen |= {f"{rule} {fraction}": (fraction, places) for rule, places in found.items()}
        for rule, (fraction, places) in chosen.items():
            name = f"{task.name}/{pool_name}/{rule}/{seed}"
            if done(name):
                continue
            trained = Trained(pool.of(places), len(task.classes), "small", seed)
            row = {
                "rule": rule.rsplit(" ", 1)[0],
                "fraction": fraction,
                "seed": seed,
                "auroc": trained.auroc(task.test),
            }
            yield name, {"task": task.name, "pool": pool_name, **row}
