"""TarShards: WebDataset's archives, whole and damaged."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import numpy as np
import pytest

from iuscore.errors import UserError
from iuscore.images import ShardedSource, open_shards, read_item
from iuscore.images.sources.archive import expand_braces
from tests.images.sharded_sources import pgm, tar, uids
from tests.images.test_shards import fails


def errors(source: ShardedSource, size: int = 100) -> dict[str, str | None]:
    return {item.uid: read_item(item).error for shard in source.shards(size) for item in source.items(shard)}


def labels(source: ShardedSource) -> list[tuple[str, str | None]]:
    return [(item.uid, item.label) for shard in source.shards(3) for item in source.items(shard)]


def test_keys_extensions_and_classes(tmp_path: Path) -> None:
    path = tar(
        tmp_path / "x.tar",
        {
            "./d.1/a.cls": b" wbc\n",
            "./d.1/a.left.PNG": pgm(1),
            "./d.1/a.right.png": pgm(2),
            "./d.1/a.json": b"{}",
            "b.jpg": pgm(3),
            "b.cls": b"7",
            ".hidden.jpg": pgm(4),
            "__MACOSX/b.jpg": pgm(4),
            "c.cls": b"no image here",
        },
    )
    source = open_shards(path, labeled=True)
    assert labels(source) == [("x.tar/d.1/a.left.PNG", "wbc"), ("x.tar/d.1/a.right.png", "wbc"), ("x.tar/b.jpg", "7")]
    assert source.ignored == 1
    assert [shard.labels for shard in source.shards(9)] == [("7", "wbc")]
    assert uids(open_shards(path, column="left.png")) == ["x.tar/d.1/a.left.PNG"]
    unlabeled = open_shards(path)
    assert {label for _, label in labels(unlabeled)} == {None}
    assert unlabeled.ignored == 4


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({"a.png": b"", "b.cls": b"1"}, "x.tar/a.png has no class: no member a.cls beside it"),
        ({"a.cls": b"1", "b.png": b"", "a.png": b""}, "x.tar/b.png has no class: no member b.cls beside it"),
        ({"a.png": b"", "a.cls": b" \n"}, "x.tar/a.cls: expected a class, one line of text or an integer"),
        ({"a.png": b"", "a.cls": b"1" * 1001}, "x.tar/a.cls: expected a class, one line of text or an integer"),
        ({"a.png": b"", "a.cls": b"1\n2"}, "x.tar/a.cls: expected a class, one line of text or an integer"),
    ],
)
def test_images_without_a_class(tmp_path: Path, members: dict[str, bytes], expected: str) -> None:
    assert fails(tar(tmp_path / "x.tar", members), labeled=True) == expected


def test_members_of_one_name_and_names_that_lead_out(tmp_path: Path) -> None:
    names = ["a.png", "../../etc/a.png", "a.png", "/abs/a.png", "a.png"]
    path = tar(tmp_path / "in/x.tar", [(name, pgm(i)) for i, name in enumerate(names)])
    source = open_shards(path)
    assert uids(source, 2) == [
        "x.tar/a.png",
        "x.tar/../../etc/a.png",
        "x.tar/a.png#2",
        "x.tar//abs/a.png",
        "x.tar/a.png#3",
    ]
    (shard,) = source.shards(9)
    pixels = [read_item(item).pixels for item in source.items(shard)]
    assert [int(np.ravel(p)[0]) for p in pixels if p is not None] == [0, 1, 2, 3, 4]
    assert [p.name for p in tmp_path.rglob("*")] == ["in", "x.tar"]


def test_links_and_other_members(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        for name, kind in [("d", tarfile.DIRTYPE), ("pipe.png", tarfile.FIFOTYPE), ("link.png", tarfile.LNKTYPE)]:
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "other.png"
            archive.addfile(member)
    assert errors(open_shards(tmp_path)) == {
        "x.tar/link.png": "stored as a link to other.png: pack the archive again with --dereference --hard-dereference"
    }


def test_long_and_foreign_names(tmp_path: Path) -> None:
    long = "n" * 150 + "/" + "é" * 100 + ".png"
    for form in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT):
        with tarfile.open(tmp_path / "x.tar", "w", format=form, encoding="utf-8", errors="surrogateescape") as archive:
            for name in (long, os.fsdecode(b"caf\xe9.png")):
                member = tarfile.TarInfo(name)
                member.size, member.mtime = len(pgm(1)), 1.5  # type: ignore[assignment]
                archive.addfile(member, io.BytesIO(pgm(1)))
        assert errors(open_shards(tmp_path)) == {f"x.tar/{long}": None, "x.tar/caf\\xe9.png": None}


def test_every_cut_is_noticed(tmp_path: Path) -> None:
    members = {f"{i}.png": pgm(i) for i in range(4)}
    whole = tar(tmp_path / "x.tar", members).read_bytes()
    good = tar(tmp_path / "y.tar", {"y.png": pgm(0)}).read_bytes()
    for cut in [0, 1, 300, 512, 513, 520, 1024, 1030, 2048, 3584, 4000, 4096, 4097, 4500]:
        (tmp_path / "x.tar").write_bytes(whole[:cut])
        found = errors(open_shards(tmp_path), 2)
        damaged = found.pop("x.tar/#damaged")
        assert damaged is not None
        assert damaged.startswith("damaged"), damaged
        assert found.pop("y.tar/y.png") is None
        n_headers = min(4, (cut + 512) // 1024)
        assert list(found) == [f"x.tar/{i}.png" for i in range(n_headers)]
        for i, error in enumerate(found.values()):
            whole_member = cut >= 1024 * i + 512 + len(members[f"{i}.png"])
            assert error == (None if whole_member else "truncated: the archive ends inside it")
    (tmp_path / "x.tar").write_bytes(whole[: 4096 + 512])
    assert "x.tar/#damaged" not in errors(open_shards(tmp_path))
    assert errors(open_shards(tmp_path / "y.tar")) == {"y.tar/y.png": None}
    assert (tmp_path / "y.tar").read_bytes() == good


def test_damage_in_a_header(tmp_path: Path) -> None:
    path = tar(tmp_path / "x.tar", {f"{i}.png": pgm(i) for i in range(4)})
    data = bytearray(path.read_bytes())
    data[2048 + 100] ^= 0xFF
    path.write_bytes(data)
    assert errors(open_shards(path)) == {
        "x.tar/0.png": None,
        "x.tar/1.png": None,
        "x.tar/#damaged": "damaged or cut off after 1.png: no end of the archive is there",
    }
    for content in (b"", b"this is text", b"\0" * 100, b"x" * 600):
        path.write_bytes(content)
        assert fails(path).startswith("ROOT: damaged, or no tar archive: ")


def test_damage_costs_no_image_before_it(tmp_path: Path) -> None:
    path = tar(tmp_path / "x.tar", {"a.cls": b"1", "a.png": pgm(1), "b.png": pgm(2), "b.cls": b"2"})
    path.write_bytes(path.read_bytes()[:3000])  # in the image b, before its class
    source = open_shards(path, labeled=True)
    assert labels(source) == [("x.tar/a.png", "1"), ("x.tar/#damaged", None)]
    assert list(errors(open_shards(path))) == ["x.tar/a.png", "x.tar/b.png", "x.tar/#damaged"]


def test_a_size_of_terabytes_takes_no_memory(tmp_path: Path) -> None:
    member = tarfile.TarInfo("a.png")
    member.size = 10**13
    (tmp_path / "x.tar").write_bytes(member.tobuf(tarfile.GNU_FORMAT) + b"short")
    found = errors(open_shards(tmp_path))
    assert found["x.tar/a.png"] == "truncated: the archive ends inside it"
    assert list(found) == ["x.tar/a.png", "x.tar/#damaged"]


def test_an_archive_that_goes_or_shrinks_after_listing(tmp_path: Path) -> None:
    path = tar(tmp_path / "x.tar", {f"{i}.png": pgm(i) for i in range(3)})
    source = open_shards(path)
    (shard,) = source.shards(9)
    path.write_bytes(path.read_bytes()[:1500])
    assert [read_item(item).error for item in source.items(shard)] == [
        None,
        *["truncated: the archive ends inside it"] * 2,
    ]
    path.unlink()
    assert [read_item(item).error for item in source.items(shard)] == [
        "cannot be opened: No such file or directory"
    ] * 3


def test_an_archive_without_images_is_refused(tmp_path: Path) -> None:
    path = tar(tmp_path / "x.tar", {})
    assert fails(path) == "no images in ROOT"
    assert fails(tar(path, {"a.json": b"", "b.json": b""})) == "no images in ROOT; found 2 other members"
    assert fails(tar(path, {"a.jpg": b""}), column="png") == "no images in ROOT; found 1 other member"


def test_signature_tells_changes(tmp_path: Path) -> None:
    def signature(**options: object) -> str:
        os.utime(path, (10**9, 10**9 + 1))
        (shard,) = open_shards(path, **options).shards(9)  # type: ignore[arg-type]
        return shard.signature

    path = tar(tmp_path / "x.tar", {"a.png": pgm(1), "a.cls": b"1"})
    first = signature()
    tar(path, {"a.png": pgm(1), "a.cls": b"2"})
    assert signature() == first
    with_labels = signature(labeled=True)
    tar(path, {"a.png": pgm(1) + b" ", "a.cls": b"2"})
    longer = signature()
    tar(path, {"a.png": pgm(1), "a.cls": b"2"}, date=10**9 + 50)
    assert len({first, with_labels, longer, signature()}) == 4
    os.utime(path, (10**9, 2 * 10**9))
    (shard,) = open_shards(path).shards(9)
    assert shard.signature != first


def test_patterns(tmp_path: Path) -> None:
    for name in ("a/s-08.tar", "a/s-09.tar", "a/s-10.tar", "b/s-08.tar", "{x,y}.tar"):
        tar(tmp_path / name, {"i.png": pgm(1)})
    assert uids(open_shards(tmp_path / "a/s-{08..10}.tar")) == [f"s-{n}.tar/i.png" for n in ("08", "09", "10")]
    assert uids(open_shards(tmp_path / "{b,a}/s-08.tar")) == ["b/s-08.tar/i.png", "a/s-08.tar/i.png"]
    assert uids(open_shards(tmp_path / "{x,y}.tar")) == ["{x,y}.tar/i.png"]  # there is one of this name
    with pytest.raises(UserError, match=r"^no such file or folder: .*a/s-07\.tar$"):
        open_shards(tmp_path / "a/s-{07..10}.tar")
    with pytest.raises(UserError, match=r"names s-08.tar twice$"):
        open_shards(tmp_path / "a/s-{08,08}.tar")


def test_braces() -> None:
    assert expand_braces("s-{0..2}.tar") == ["s-0.tar", "s-1.tar", "s-2.tar"]
    assert expand_braces("{a,b}{01..02}") == ["a01", "a02", "b01", "b02"]
    for pattern in ("{3..1}", "{0..1000000}"):
        with pytest.raises(UserError, match="expected an ascending range of at most a million, got"):
            expand_braces(pattern)
    with pytest.raises(UserError, match=r"\{x\}: expected \{000\.\.099\} or \{a,b\}, got \{x\}"):
        expand_braces("{x}")


A, B = b"benign", b"malignant"


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        # A repeated member begins a new sample: image first, class first, two images each, more members.
        ([("1.png", 1), ("1.cls", A), ("1.png", 2), ("1.cls", B)], ["benign", "malignant"]),
        ([("1.cls", A), ("1.png", 1), ("1.cls", B), ("1.png", 2)], ["benign", "malignant"]),
        ([("1.png", 1), ("1.cls", A), ("1.PNG", 2), ("1.CLS", B)], ["benign", "malignant"]),
        (
            [("1.l.png", 1), ("1.r.png", 2), ("1.cls", A), ("1.l.png", 3), ("1.r.png", 4), ("1.cls", B)],
            ["benign", "benign", "malignant", "malignant"],
        ),
        (
            [("1.json", b""), ("1.png", 1), ("1.cls", A), ("1.json", b""), ("1.png", 2), ("1.cls", B)],
            ["benign", "malignant"],
        ),
        # The class of an image's whole name, else that of its sample.
        ([("1.5T.png", 1), ("1.5T.cls", A), ("1.3T.png", 2), ("1.3T.cls", B)], ["benign", "malignant"]),
        ([("1.png", 1), ("1.cls", A), ("1.5T.png", 2), ("1.5T.cls", B)], ["benign", "malignant"]),
        ([("1.5T.png", 1), ("1.3T.png", 2), ("1.cls", A)], ["benign", "benign"]),
        # Contradictions: never one class for all, and never the class of another image.
        ([("1.png", 1), ("1.cls", A), ("1.cls", B)], [None]),
        ([("1.cls", A), ("1.cls", B), ("1.png", 1)], [None]),
        ([("1.png", 1), ("1.png", 2), ("1.cls", B), ("1.png", 3), ("1.cls", A)], [None, None, None]),
        # The second image is gone: the members after it would be paired with those of the next sample.
        ([("1.png", 1), ("1.cls", A), ("1.cls", B), ("1.png", 3), ("1.cls", A)], [None, None]),
        # And the class of the third.
        (
            [("1.png", 1), ("1.cls", A), ("1.cls", B), ("1.png", 3), ("1.png", 4), ("1.cls", A)],
            [None, None, None],
        ),
        # What is missing does not matter where there is one class.
        ([("1.png", 1), ("1.png", 2), ("1.cls", A)], ["benign", "benign"]),
        ([("1.png", 1), ("1.cls", A), ("1.cls", A)], ["benign"]),
    ],
)
def test_samples_of_one_key_that_follow_each_other(
    tmp_path: Path, members: list[tuple[str, int | bytes]], expected: list[str | None]
) -> None:
    around = [("0.png", pgm(0)), ("0.cls", b"other"), ("2.png", pgm(9)), ("2.cls", b"other")]
    given = [(name, pgm(content) if isinstance(content, int) else content) for name, content in members]
    path = tar(tmp_path / "x.tar", [*around[:2], *given, *around[2:]])
    for size in (1, 3, 100):
        source = open_shards(path, labeled=True)
        items = [item for shard in source.shards(size) for item in source.items(shard)]
        assert [item.label for item in items] == ["other", *expected, "other"]
        for item in items:
            error = read_item(item).error
            assert error == (None if item.label else CONTRADICTION), item
    assert [error for error in errors(open_shards(path)).values() if error] == []


CONTRADICTION = (
    "class not certain: .cls members of one name contradict each other (benign, malignant): "
    "give every sample its own name"
)


def test_a_missing_class_names_the_members_looked_for(tmp_path: Path) -> None:
    path = tar(tmp_path / "x.tar", {"1.5T.png": pgm(1), "1.5T.cls": b"a", "1.3T.png": pgm(2)})
    assert fails(path, labeled=True) == "x.tar/1.3T.png has no class: no member 1.3T.cls or 1.cls beside it"


def test_a_class_that_is_cut_off_is_no_class(tmp_path: Path) -> None:
    path = tar(tmp_path / "x.tar", {"a.png": pgm(1), "a.cls": b"a", "b.png": pgm(2), "b.cls": b"malignant"})
    path.write_bytes(path.read_bytes()[: 7 * 512 + 3])
    assert labels(open_shards(path, labeled=True)) == [("x.tar/a.png", "a"), ("x.tar/#damaged", None)]
