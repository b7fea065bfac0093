"""iuscore.images: train, validation and test parts, and what they share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from iuscore.errors import UserError
from iuscore.images import (
    Item,
    Leak,
    Source,
    StoredFile,
    find_explicit_splits,
    leakage,
    open_source,
    split_source,
)

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"


def listed(names: Sequence[str]) -> Source:
    """Items named ``class/file`` without files behind them."""
    return Source(Path("ROOT"), [Item(n, n.split("/")[0], None, StoredFile(Path(n))) for n in names])


def shares(source: Source, parts: Sequence[np.ndarray]) -> dict[str, list[float]]:
    labels = np.array([item.label for item in source.items])
    return {
        name: [np.count_nonzero(labels[part] == name) / np.count_nonzero(labels == name) for part in parts]
        for name in source.classes
    }


def check_disjoint(groups: Sequence[set[str | None]]) -> None:
    assert sum(len(group) for group in groups) == len(set().union(*groups))


def check_partition(source: Source, parts: Sequence[np.ndarray]) -> None:
    assert sorted(np.concatenate(parts)) == list(range(len(source)))
    assert all((np.diff(part) > 0).all() for part in parts)


def test_without_groups_the_shares_are_exact_and_seeded() -> None:
    source = listed([f"{c}/{i}.png" for c, n in (("a", 200), ("b", 60)) for i in range(n)])
    parts = split_source(source, seed=1)
    check_partition(source, parts)
    assert shares(source, parts) == {"a": [0.7, 0.15, 0.15], "b": [0.7, 0.15, 0.15]}
    again = split_source(source, seed=1)
    assert all((a == b).all() for a, b in zip(parts, again, strict=True))
    assert not np.array_equal(parts.train, split_source(source, seed=2).train)


@pytest.mark.parametrize("seed", range(3))
def test_groups_of_uneven_size_stay_together(seed: int) -> None:
    rng = np.random.default_rng(seed)
    names = [
        f"{'ab'[int(rng.random() < 0.3)]}/p{patient:03d}_{i}.png"
        for patient in range(120)
        for i in range(rng.integers(1, 9))
    ]
    source = listed(names)
    parts = split_source(source, seed=seed, group_by=r"^(p\d+)_")
    check_partition(source, parts)
    patients = [{names[i].split("/")[1].split("_")[0] for i in part} for part in parts]
    check_disjoint(patients)
    for actual in shares(source, parts).values():
        np.testing.assert_allclose(actual, [0.7, 0.15, 0.15], atol=0.04)


def test_groups_of_the_source_are_kept_without_group_by() -> None:
    source = listed([f"{c}/{i}.png" for c in "ab" for i in range(30)])
    source = source.with_groups([str(i // 5) for i in range(60)])
    parts = split_source(source, seed=0)
    groups = [{source.items[i].group for i in part} for part in parts]
    check_disjoint(groups)


@pytest.mark.parametrize("count", [2, 3, 4, 5])
def test_few_groups_still_reach_train_and_val(count: int) -> None:
    source = listed([f"{c}/{c}{g}_{i}.png" for c in "ab" for g in range(count) for i in range(6)])
    parts = split_source(source, seed=0, group_by="^[^_]+")
    check_partition(source, parts)
    for actual in shares(source, parts).values():
        assert actual[0] > 0
        assert actual[1] > 0


def test_no_test_part() -> None:
    source = listed([f"{c}/{i}.png" for c in "ab" for i in range(10)])
    parts = split_source(source, (0.8, 0.2, 0), seed=0)
    assert [len(part) for part in parts] == [16, 4, 0]


def test_what_cannot_be_split() -> None:
    def fails(source: Source, **options: object) -> str:
        with pytest.raises(UserError) as caught:
            split_source(source, seed=0, **options)  # type: ignore[arg-type]
        return str(caught.value)

    many = [f"a/x{i}_1.png" for i in range(30)]
    too_few = "too few to have it in both the training and the validation part"
    assert fails(listed([*many, "b/y_1.png"])) == f"class 'b' in ROOT has 1 image: {too_few}"
    one_group = listed([*many, "b/y_1.png", "b/y_2.png"])
    assert fails(one_group, group_by="^[^_]+") == f"class 'b' in ROOT has 1 group: {too_few}"
    assert fails(listed(many)) == "only one class in ROOT: a; two or more are needed"
    unlabeled = Source(Path("ROOT"), [Item("x.png", None, None, StoredFile(Path()))])
    assert fails(unlabeled) == "x.png in ROOT has no class: a split needs one for every image"
    assert fails(one_group, group_by=r"z\d") == r"group_by: 'z\d' is not found in the file name of a/x0_1.png"
    assert fails(one_group, fractions=(0.7, 0.2, 0.2)) == (
        "fractions: expected shares of train, val and test that sum to 1, train and val above 0, got (0.7, 0.2, 0.2)"
    )


def test_explicit_splits(tmp_path: Path) -> None:
    assert find_explicit_splits(tmp_path) == {}
    for name in ("Validation", "test"):
        (tmp_path / name).mkdir()
    assert find_explicit_splits(tmp_path) == {}
    (tmp_path / "train").mkdir()
    found = find_explicit_splits(tmp_path)
    assert {part: folder.name for part, folder in found.items()} == {
        "train": "train",
        "val": "Validation",
        "test": "test",
    }
    (tmp_path / "val").mkdir()
    with pytest.raises(UserError, match="has two val folders: Validation and val; keep one"):
        find_explicit_splits(tmp_path)


def test_leakage(tmp_path: Path) -> None:
    def write(name: str, value: int) -> None:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"P5 1 1 255 " + bytes([value]))

    for value, name in enumerate(["train/a/p1_1.pgm", "train/a/p2_1.pgm", "train/b/p3_1.pgm", "val/a/p4_1.pgm"]):
        write(name, value)
    train, val = open_source(tmp_path, split="train"), open_source(tmp_path, split="val")
    assert leakage(train, val, group_by="^p[0-9]+") == ()
    write("val/a/p2_9.pgm", 100)
    write("val/a/p2_8.pgm", 101)
    write("val/b/p3_1.pgm", 102)
    write("val/b/q_copy.pgm", 0)
    val = open_source(tmp_path, split="val")
    assert leakage(train, val, group_by="^[pq][0-9]*") == (
        Leak("group", "a/p2_1.pgm", "a/p2_8.pgm", "p2"),
        Leak("group", "b/p3_1.pgm", "b/p3_1.pgm", "p3"),
        Leak("uid", "b/p3_1.pgm", "b/p3_1.pgm"),
        Leak("content", "a/p1_1.pgm", "b/q_copy.pgm"),
    )
    assert [leak.shared for leak in leakage(train, val)] == ["uid", "content"]


def test_real_patients_do_not_leak_and_split_well() -> None:
    root = DATA / "mammography"
    if not root.exists():
        pytest.skip(f"no real images: {root} is missing")
    train, val = (
        open_source(root / f"real_{part}", labels_from="auto", group_by=r"^P_\d+") for part in ("train", "val")
    )
    assert leakage(train, val) == ()
    parts = split_source(train, seed=0)
    check_partition(train, parts)
    groups = [{train.items[i].group for i in part} for part in parts]
    check_disjoint(groups)
    for actual in shares(train, parts).values():
        np.testing.assert_allclose(actual, [0.7, 0.15, 0.15], atol=0.02)
