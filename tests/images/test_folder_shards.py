"""FolderShards: a folder of any number of image files."""

from __future__ import annotations

import json
import os
import random
import re
import sys
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from iuscore.errors import UserError
from iuscore.images import Shard, open_shards, open_source, read_item
from iuscore.images.labels import ClassNames
from tests.images.sharded_sources import fill, pgm, uids
from tests.images.test_shards import fails


def test_the_walk_is_the_sorted_order(tmp_path: Path) -> None:
    rng = random.Random(0)
    # Characters on both sides of "/" and ".", and beyond ASCII.
    words = ["a", "a-", "a!", "a.b", "a0", "A", "ab", "é", "\u4e2d", "\U0001f600", "a b", "~", "0", "00"]
    for _ in range(300):
        depth = rng.randint(0, 3)
        fill(tmp_path, "/".join([*(rng.choice(words) for _ in range(depth)), rng.choice(words) + ".png"]))
    found = uids(open_shards(tmp_path), 7)
    assert found == sorted(found)
    assert found == [item.uid for item in open_source(tmp_path).items]
    assert len(found) > 200


def test_the_same_images_as_the_folder_source(tmp_path: Path) -> None:
    fill(tmp_path, "b.PNG", "a.Jpeg", "deep/er/c.tif", "déjà vu/ß 1.pgm", "x.WebP", ".hidden.png", ".cache/a.png")
    for name in (".DS_Store", "Thumbs.db", "notes.txt", "deep/labels.csv"):
        (tmp_path / name).touch()
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere.png")
    (tmp_path / "self.png").symlink_to(tmp_path / "self.png")
    (tmp_path / "deep/up").symlink_to(tmp_path)
    (tmp_path / "twin").symlink_to(tmp_path / "deep")
    source, listed = open_shards(tmp_path), open_source(tmp_path)
    assert uids(source) == [item.uid for item in listed.items]
    assert uids(source) == [
        "a.Jpeg",
        "b.PNG",
        "deep/er/c.tif",
        "déjà vu/ß 1.pgm",
        "gone.png",
        "self.png",
        "twin/er/c.tif",
        "x.WebP",
    ]
    assert source.ignored == listed.ignored == 4
    errors = [read_item(item).error for shard in source.shards(9) for item in source.items(shard)]
    assert errors[4:6] == [
        "cannot be opened: No such file or directory",
        "cannot be opened: Too many levels of symbolic links",
    ]
    assert [error for error in errors if error] == errors[4:6]


def test_a_single_file(tmp_path: Path) -> None:
    fill(tmp_path, "one image.png", "two.png")
    source = open_shards(tmp_path / "one image.png")
    assert uids(source) == ["one image.png"]
    assert fails(tmp_path / "two.png", labeled=True) == (
        "ROOT lies in no class folder: give the folder above the class folders"
    )


def test_nothing_to_read(tmp_path: Path) -> None:
    looked = "looked for *.png, *.jpg, *.jpeg, *.bmp, *.tif, *.tiff, *.webp, *.gif, *.pgm, *.ppm, *.pnm, *.dcm"
    assert fails(tmp_path) == f"no images in ROOT: {looked}; found no files"
    (tmp_path / "sub").mkdir()
    for name in ("notes.txt", "sub/b.csv"):
        (tmp_path / name).touch()
    assert fails(tmp_path) == f"no images in ROOT: {looked}; found 2 other files such as notes.txt"


def test_labels(tmp_path: Path) -> None:
    root = fill(tmp_path / "good", "b/1.png", "a/p1/2.png", "a/3.png", "a-c/1.png")
    (root / "empty").mkdir()
    source = open_shards(root, labeled=True)
    shards = list(source.shards(2))
    assert [shard.labels for shard in shards] == [("a", "a-c"), ("a", "b")]
    assert [i.label for s in shards for i in source.items(s)] == ["a-c", "a", "a", "b"]
    assert {i.label for s in open_shards(root).shards(9) for i in open_shards(root).items(s)} == {None}
    fill(root, "stray.png", "stray2.png")
    assert fails(root, labeled=True) == (
        "stray.png (and 1 more) lies in ROOT beside the class folders a, a-c, b, empty: move it into one of them"
    )
    assert fails(fill(tmp_path / "flat", "1.png"), labeled=True) == (
        "no class folders in ROOT: its images lie in no sub-folder. Where all images are of one class, name it by "
        "--target; where file names, such as 1.png, begin with the class, give --labels-from prefix; else sort the "
        "images into one folder per class"
    )
    assert fails(fill(tmp_path / "parts", "train/a/1.png", "val/a/1.png"), labeled=True) == (
        "ROOT holds train, val: these are splits, not classes; give --split, or one of them"
    )


def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.png")
    try:
        (tmp_path / os.fsdecode(b"d\xff")).mkdir()
        (tmp_path / os.fsdecode(b"d\xff") / name).write_bytes(pgm(1))
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    source = open_shards(tmp_path, labeled=True)
    (shard,) = source.shards(2)
    (item,) = source.items(Shard.from_json(json.loads(json.dumps(shard.to_json()))))
    assert (item.uid, item.label, read_item(item).error) == ("d\\xff/caf\\xe9.png", "d\\xff", None)
    (tmp_path / os.fsdecode(b"d\xff") / "caf\\xe9.png").write_bytes(pgm(1))
    with pytest.raises(UserError, match=r"^two names in .* are both written caf\\xe9.png: rename one of them$"):
        list(source.shards(2))


def signatures(root: Path, **options: bool) -> list[str]:
    return [shard.signature for shard in open_shards(root, **options).shards(2)]  # type: ignore[arg-type]


def test_signature_tells_changes(tmp_path: Path) -> None:
    root = fill(tmp_path, "a/1.png", "a/2.png", "b/1.png")
    for path in root.rglob("*.png"):
        os.utime(path, (1_000_000_000.25, 1_000_000_000.25))
    before = signatures(root)
    os.utime(root / "a/1.png", (5, 1_000_000_000.75))  # same second, and when it was last read does not count
    assert signatures(root) == before
    assert signatures(root, labeled=True) != before
    os.utime(root / "a/1.png", (5, 1_000_000_001))
    newer = signatures(root)
    assert newer[0] != before[0]
    assert newer[1] == before[1]
    (root / "b/1.png").write_bytes(b"longer than it was")
    os.utime(root / "b/1.png", (1_000_000_000, 1_000_000_000))
    assert signatures(root)[1] != before[1]
    (root / "b/1.png").rename(root / "b/2.png")
    assert len({*before, *newer, *signatures(root)}) == 4


def test_a_file_removed_after_listing_is_an_item_that_says_so(tmp_path: Path) -> None:
    source = open_shards(fill(tmp_path, "1.png", "2.png"))
    (shard,) = source.shards(2)
    (tmp_path / "1.png").unlink()
    assert [read_item(item).error for item in source.items(shard)] == [
        "cannot be opened: No such file or directory",
        None,
    ]


def test_a_folder_that_cannot_be_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path, "a/1.png")
    before = os.scandir

    def refuse(path: str) -> object:
        if str(path).endswith("a"):
            raise PermissionError(13, "Permission denied")
        return before(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert fails(tmp_path) == "cannot list ROOT/a: Permission denied"


def test_memory_is_that_of_one_folders_names(tmp_path: Path) -> None:
    n_folders, n_files = 40, 250
    for i in range(n_folders):
        (tmp_path / f"{i:02d}").mkdir()
        for j in range(n_files):
            os.close(os.open(tmp_path / f"{i:02d}" / f"{j:06d}.png", os.O_CREAT | os.O_WRONLY))
    source = open_shards(tmp_path)
    next(source.shards(1))
    tracemalloc.start()
    try:
        n = sum(shard.n for shard in source.shards(50))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert n == n_folders * n_files
    # A folder's names take about 150 bytes each, a shard's images about 500.
    assert peak < 400_000


def test_folders_deeper_than_pythons_stack(tmp_path: Path) -> None:
    depth = sys.getrecursionlimit() + 100
    fill(tmp_path, "b/2.pgm")
    folders = [tmp_path / "a"]
    folders[0].mkdir()
    try:
        for _ in range(depth):
            folders.append(folders[-1] / "a")
            folders[-1].mkdir()
        fill(folders[-1], "1.pgm")
        expected = ["a/" + "a/" * depth + "1.pgm", "b/2.pgm"]
        assert uids(open_shards(tmp_path, labeled=True)) == expected
        assert [item.uid for item in open_source(tmp_path, labels_from="folder").items] == expected
        (folders[-1] / "1.pgm").unlink()
    finally:  # what removes temporary folders does so by recursion
        for path in reversed(folders):
            path.rmdir()


def test_folders_linked_to_each_other(tmp_path: Path) -> None:
    # Twelve folders with links to all others are 12! ways through them.
    def linked(n: int) -> Path:
        root = fill(tmp_path / str(n), *(f"{i:02d}/x.pgm" for i in range(n)))
        for i in range(n):
            for j in range(n):
                if i != j:
                    (root / f"{i:02d}/to{j:02d}").symlink_to(root / f"{j:02d}")
        return root

    # Two of them have no more than two ways to each image.
    root = linked(2)
    assert uids(open_shards(root)) == ["00/to01/x.pgm", "00/x.pgm", "01/to00/x.pgm", "01/x.pgm"]
    root = linked(12)
    started = time.perf_counter()
    said = fails(root)
    assert re.fullmatch(
        r"folders in ROOT are linked to each other: more than 1000 ways lead to the folder ROOT/\d\d: "
        r"remove the links between them",
        said,
    )
    with pytest.raises(UserError, match="linked to each other"):
        open_source(root)
    assert time.perf_counter() - started < 60


def test_many_links_to_one_folder_are_many_names(tmp_path: Path) -> None:
    fill(tmp_path / "shared", "x.pgm")
    for i in range(1100):
        (tmp_path / f"all/{i:04d}").mkdir(parents=True)
        (tmp_path / f"all/{i:04d}/shared").symlink_to(tmp_path / "shared")
    assert len(uids(open_shards(tmp_path / "all"))) == 1100


class TestClassesInFileNames:
    NAMES = ("WBC_2.png", "rbc-1.png", "sub/rbcs.png", "wbc_1.png")

    def labels(self, root: Path, names: ClassNames | None) -> list[str | None]:
        source = open_shards(root, labeled=True, labels_from="prefix")
        named = source if names is None else source.named(names)
        (shard,) = named.shards(9)
        assert shard.labels == tuple(sorted({str(item.label) for item in named.items(shard)}))
        return [item.label for item in named.items(shard)]

    def test_longest_in_any_case(self, tmp_path: Path) -> None:
        fill(tmp_path, *self.NAMES)
        assert self.labels(tmp_path, ClassNames(("rbc", "wbc"))) == ["wbc", "rbc", "rbc", "wbc"]
        assert self.labels(tmp_path, ClassNames(("rbc", "rbcs", "wbc"))) == ["wbc", "rbc", "rbcs", "wbc"]
        assert self.labels(tmp_path, ClassNames(("red", "white"), {"rbc": "red", "wbc": "white"})) == [
            "white", "red", "red", "white",
        ]  # fmt: skip
        assert self.labels(tmp_path, ClassNames(("WBC", "wbc", "rbc"))) == ["WBC", "rbc", "rbc", "wbc"]

    def test_without_a_model(self, tmp_path: Path) -> None:
        assert self.labels(fill(tmp_path, "a_1.png", "b-2.png"), None) == ["a", "b"]
        with pytest.raises(UserError, match=r"no class can be read from the name of 1\.png"):
            self.labels(fill(tmp_path / "x", "1.png"), None)

    def test_refused(self, tmp_path: Path) -> None:
        fill(tmp_path, "neutro_1.png")
        with pytest.raises(
            UserError, match=r"neutro_1\.png in .* begins with no class .*\(rbc, wbc\).* --map neutro=rbc$"
        ):
            self.labels(tmp_path, ClassNames(("rbc", "wbc")))
        np.save(tmp_path / "x.npy", np.zeros((2, 4, 4), np.uint8))
        with pytest.raises(UserError, match=r"labels_from: only image files have classes in their names, not .*npy"):
            open_shards(tmp_path / "x.npy", labels_from="prefix")
        with pytest.raises(UserError, match="labels_from: expected auto, folder or prefix, got 'color'"):
            open_shards(tmp_path / "neutro_1.png", labels_from="color")  # type: ignore[arg-type]
