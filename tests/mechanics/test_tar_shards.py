"""TarShards: WebDataset's archives, whole and damaged."""

from __future__ import annotations

import io
import os
import tarfile
import time
from pathlib import Path

import numpy as np
import pytest

from iuscore.errors import UserError
from iuscore.images import ShardedSource, open_shards, read_item
from iuscore.images.archives import expand_braces
from tests.mechanics.sharded_sources import pgm, tar, uids
from tests.mechanics.test_images_shards import fails


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


def test_nothing_in_it(tmp_path: Path) -> None:
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


def test_which_class_was_looked_for(tmp_path: Path) -> None:
    path = tar(tmp_path / "x.tar", {"1.5T.png": pgm(1), "1.5T.cls": b"a", "1.3T.png": pgm(2)})
    assert fails(path, labeled=True) == "x.tar/1.3T.png has no class: no member 1.3T.cls or 1.cls beside it"


def test_a_class_that_is_cut_off_is_no_class(tmp_path: Path) -> None:
    path = tar(tmp_path / "x.tar", {"a.png": pgm(1), "a.cls": b"a", "b.png": pgm(2), "b.cls": b"malignant"})
    path.write_bytes(path.read_bytes()[: 7 * 512 + 3])
    assert labels(open_shards(path, labeled=True)) == [("x.tar/a.png", "a"), ("x.tar/#damaged", None)]


def header(name: str, kind: bytes, size: int, real_size: int | None = None, *, goes_on: bool = False) -> bytes:
    """A header of GNU tar, by its format: sizes below 0 are two's complement of 12 bytes."""
    block = bytearray(512)
    block[: len(name)] = name.encode()
    block[100:108], block[257:265], block[156:157] = b"0000644\0", b"ustar  \0", kind
    block[124:136] = b"%011o\0" % size if size >= 0 else size.to_bytes(12, "big", signed=True)
    if real_size is not None:
        block[482], block[483:495] = goes_on, b"%011o\0" % real_size
    block[148:156] = b"%06o\0 " % (sum(block) + 8 * ord(" "))
    return bytes(block)


GOOD = header("a.png", b"0", len(pgm(1))) + pgm(1).ljust(512, b"\0")
PAX = b"18 path=other.png\n"
SPARSE = b"22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n"


@pytest.mark.parametrize(
    ("rest", "reason"),
    [
        (header("b.png", b"S", -512, 100), "damaged after a.png: a member of a size below 0"),
        (header("b.png", b"S", -1536, 100), "damaged after a.png: a member of a size below 0"),
        (header("b.png", b"0", -512), "damaged after a.png: a member of a size below 0"),
        (header("x", b"x", 10**9), "damaged after a.png: an extended header of 1000000000 bytes"),
        (header("x", b"L", -512), "damaged after a.png: an extended header of -512 bytes"),
        *(
            (
                (header("x", kind, len(PAX)) + PAX.ljust(512, b"\0")) * 1000 + GOOD,
                "damaged after a.png: more than 32 extended headers for one member",
            )
            for kind in (b"x", b"g", b"L", b"K")
        ),
        (
            header("b.png", b"S", 0, 100, goes_on=True) + (bytes(504) + b"\1" + bytes(7)) * 5000,
            "damaged after a.png: a sparse member of more than 86016 pieces",
        ),
        (
            header("x", b"x", len(SPARSE))
            + SPARSE.ljust(512, b"\0")
            + header("b.png", b"0", 10**6)
            + b"250000\n"
            + b"1\n" * 500_000,
            "damaged after a.png: a sparse member of more than 86016 pieces",
        ),
    ],
)
def test_headers_without_end(tmp_path: Path, rest: bytes, reason: str) -> None:
    tar(tmp_path / "y.tar", {"y.png": pgm(1)})
    for name, content in (("x.tar", GOOD + rest), ("z.tar", rest)):
        path = tmp_path / name
        path.write_bytes(content + bytes(1024))
        found = errors(open_shards(tmp_path))
        assert found["y.tar/y.png"] is None
        damaged = str(found[f"{name}/#damaged"])
        assert damaged.startswith(reason if name == "x.tar" else reason[: len("damaged")]), damaged
        assert ("x.tar/a.png" in found) == (name == "x.tar")
        path.unlink()


def test_usual_extended_headers_are_read(tmp_path: Path) -> None:
    # A long name and a long link, in both formats, and a global header as git writes it.
    with tarfile.open(tmp_path / "x.tar", "w", format=tarfile.PAX_FORMAT, pax_headers={"comment": "c" * 40}) as archive:
        for i in range(40):
            member = tarfile.TarInfo("n" * 200 + f"/{i}.png")
            member.size, member.mtime, member.uname = len(pgm(i)), 1.5, "ü" * 20  # type: ignore[assignment]
            archive.addfile(member, io.BytesIO(pgm(i)))
    assert list(errors(open_shards(tmp_path)).values()) == [None] * 40


def record(key: bytes, value: bytes) -> bytes:
    """A record of an extended header, which begins with its own length."""
    rest = b" " + key + b"=" + value + b"\n"
    return b"%d" % (len(rest) + next(n for n in range(1, 9) if len(str(len(rest) + n)) == n)) + rest


def extended(kind: bytes, content: bytes) -> bytes:
    return header("x", kind, len(content)) + content + bytes(-len(content) % 512)


@pytest.mark.parametrize("key", [b"path", b"linkpath", b"uname"])
def test_a_global_header_with_a_long_value(tmp_path: Path, key: bytes) -> None:
    """It holds for every member: a name of 900 kB for each of 2,000 members was in the plan of a run 2,000 times."""
    value = b"a/" * 450_000 + b"x.png"
    tar(tmp_path / "y.tar", {"y.png": pgm(1)})
    content = GOOD + extended(b"g", record(key, value)) + header("b.png", b"0", 0) * 2000 + bytes(1024)
    (tmp_path / "x.tar").write_bytes(content)
    before = time.process_time()
    assert errors(open_shards(tmp_path)) == {
        "x.tar/a.png": None,
        "x.tar/#damaged": f"damaged after a.png: a global header with a value of {len(value)} characters",
        "y.tar/y.png": None,
    }
    assert time.process_time() - before < 5


def test_a_global_header_of_very_many_values(tmp_path: Path) -> None:
    """tarfile goes through all of them for every member."""
    values = b"".join(record(b"k%d" % i, b"") for i in range(70_000))
    members = b"".join(header(f"{i}.png", b"0", len(pgm(1))) + pgm(1).ljust(512, b"\0") for i in range(1000))
    (tmp_path / "x.tar").write_bytes(extended(b"g", values) + members + bytes(1024))
    before = time.process_time()
    assert list(errors(open_shards(tmp_path)).values()) == [None] * 1000
    assert time.process_time() - before < 10


@pytest.mark.parametrize("labeled", [False, True])
@pytest.mark.parametrize("kind", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_names_that_no_file_can_have(tmp_path: Path, labeled: bool, kind: int) -> None:
    for last, link in (("n" * 5000, ""), ("c.png", "l" * 5000)):
        with tarfile.open(tmp_path / "x.tar", "w", format=kind) as archive:
            for path in ("a", "b" * 3000, last, "d"):
                for end, content in ((".png", pgm(1)), (".cls", b"7")):
                    member = tarfile.TarInfo(path + end)
                    member.size = len(content)
                    if link and path == last:
                        member.size, member.type, member.linkname = 0, tarfile.SYMTYPE, link
                    archive.addfile(member, io.BytesIO(content))
        long = "b" * 3000
        assert errors(open_shards(tmp_path, labeled=labeled)) == {
            "x.tar/a.png": None,
            f"x.tar/{long}.png": None,
            "x.tar/#damaged": f"damaged after {long}.cls: a member with a name of {5000 if link else 5004} characters",
        }
