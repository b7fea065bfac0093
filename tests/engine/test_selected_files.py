"""Links, copies and shards of what was selected: the same bytes, no name that leads out, nothing overwritten."""

from __future__ import annotations

import errno
import io
import os
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import iuscore
from iuscore import UserError
from iuscore.engine import Selected, score_source, select_images, selected_files
from iuscore.engine.selected_files import safe_names
from iuscore.images import open_shards
from tests.fixtures import class_folders, tree
from tests.images.sharded_sources import tar

pytestmark = pytest.mark.usefixtures("one_thread")


def png(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (16, 16), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "png")
    return file.getvalue()


def scored(model: Path, images: Path, out: Path, **options: Any) -> Path:
    source = open_shards(images, labeled="target" not in options)
    score_source(iuscore.load(model), source, out, shard_size=5, **options)
    return out


def select(run: Path, to: Path, **options: Any) -> Selected:
    return select_images(run, to, **{"policy": "random", "predicted": False, "count": 8, **options})


def read_tar(path: Path) -> list[tuple[str, bytes]]:
    with tarfile.open(path) as archive:
        return [(m.name, archive.extractfile(m).read()) for m in archive.getmembers()]  # type: ignore[union-attr]


def read_tars(folder: Path) -> list[tuple[str, bytes]]:
    return [member for path in sorted(folder.iterdir()) for member in read_tar(path)]


@pytest.fixture
def folder(fitted: Path, tmp_path: Path) -> Path:
    """A run over 12 images of a and b in folders."""
    class_folders(tmp_path / "images", n=12, seed=5)
    return scored(fitted, tmp_path / "images", tmp_path / "scores")


@pytest.fixture
def shards(fitted: Path, tmp_path: Path) -> Path:
    """A run over samples in two archives that share their keys: an image, a class, and what else stands beside."""
    for name, start in (("x", 0), ("y", 10)):
        members = []
        for i in range(10):
            members += [(f"s/{i}.png", png(start + i)), (f"s/{i}.cls", b"ab"[i % 2 : i % 2 + 1])]
            members += [(f"s/{i}.report.json", b'{"i": %d}' % (start + i))]
        tar(tmp_path / "tars" / f"{name}.tar", members)
    return scored(fitted, tmp_path / "tars", tmp_path / "scores")


class TestLinks:
    def test_images_in_folders_are_linked_by_class(self, folder: Path, tmp_path: Path) -> None:
        found = select(folder, tmp_path / "best", link=tmp_path / "new" / "links")
        links = sorted(p for p in (tmp_path / "new" / "links").rglob("*") if p.is_file())
        assert [p.relative_to(tmp_path / "new" / "links").as_posix() for p in links] == sorted(found.uids)
        for path in links:
            assert path.samefile(tmp_path / "images" / path.relative_to(tmp_path / "new" / "links"))
        assert (found.links, found.copies) == (8, 0)
        assert [p.name for p in (tmp_path / "new").iterdir()] == ["links"]

    def test_one_class_becomes_one_folder(self, fitted: Path, tmp_path: Path) -> None:
        class_folders(tmp_path / "images", n=6)
        run = scored(fitted, tmp_path / "images", tmp_path / "scores", target="a")
        found = select(run, tmp_path / "best", link=tmp_path / "links", count=12)
        names = {p.relative_to(tmp_path / "links").as_posix() for p in (tmp_path / "links").rglob("*.png")}
        assert names == {uid if uid.startswith("a/") else f"a/{uid}" for uid in found.uids}

    @pytest.mark.parametrize("reason", [errno.EXDEV, errno.EPERM, errno.EMLINK])
    def test_copies_where_no_link_can_be_made(
        self, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reason: int
    ) -> None:
        def refuse(*_: Any, **__: Any) -> None:
            raise OSError(reason, os.strerror(reason))

        monkeypatch.setattr(os, "link", refuse)
        found = select(folder, tmp_path / "best", link=tmp_path / "links")
        assert (found.links, found.copies) == (0, 8)
        for uid in found.uids:
            copy, source = tmp_path / "links" / uid, tmp_path / "images" / uid
            assert copy.read_bytes() == source.read_bytes()
            assert not copy.samefile(source)

    def test_a_link_to_an_image_becomes_a_link_to_its_content(self, fitted: Path, tmp_path: Path) -> None:
        class_folders(tmp_path / "there", n=4)
        (tmp_path / "images").mkdir()
        for name in "ab":
            (tmp_path / "images" / name).symlink_to(tmp_path / "there" / name)
        (tmp_path / "there" / "a" / "9.png").symlink_to("00.png")
        run = scored(fitted, tmp_path / "images", tmp_path / "scores")
        select(run, tmp_path / "best", link=tmp_path / "links", fraction=1.0, count=None)
        made = tmp_path / "links" / "a" / "9.png"
        assert not made.is_symlink()
        assert made.samefile(tmp_path / "there" / "a" / "00.png")

    def test_images_of_archives_are_copied(self, shards: Path, tmp_path: Path) -> None:
        found = select(shards, tmp_path / "best", link=tmp_path / "links")
        content = {f"{a}.tar/s/{i}.png": png(i + 10 * k) for k, a in enumerate("xy") for i in range(10)}
        for uid in found.uids:
            label = "ab"[int(uid[-5]) % 2]
            assert (tmp_path / "links" / label / uid).read_bytes() == content[uid]
        assert (found.links, found.copies) == (0, 8)

    def test_rows_of_parquet_files_get_an_extension(self, fitted: Path, tmp_path: Path) -> None:
        table = pa.table({"image": [png(i) for i in range(6)], "label": list("ababab")})
        pq.write_table(table, tmp_path / "x.parquet")
        run = scored(fitted, tmp_path / "x.parquet", tmp_path / "scores")
        select(run, tmp_path / "best", link=tmp_path / "links", count=6)
        names = sorted(p.relative_to(tmp_path / "links").as_posix() for p in (tmp_path / "links").rglob("*.png"))
        assert names == [f"{'ab'[i % 2]}/x.parquet/{i:09d}.png" for i in (0, 2, 4, 1, 3, 5)]
        assert (tmp_path / "links" / names[1]).read_bytes() == png(2)

    def test_members_with_names_that_lead_out_stay_inside(self, fitted: Path, tmp_path: Path) -> None:
        names = [
            "../../up.png",
            "/top.png",
            "a/b//c.png",
            "con:stream.png",
            "n" * 300 + ".png",
            "same.png",
            "same.png",
        ]
        tar(tmp_path / "tars" / "x.tar", [(name, png(i)) for i, name in enumerate(names)])
        run = scored(fitted, tmp_path / "tars", tmp_path / "scores", target="a")
        before = {name for name in tree(tmp_path) if not name.startswith(("best", "in"))}
        select(run, tmp_path / "best", link=tmp_path / "in" / "links", fraction=1.0, count=None)
        after = {name for name in tree(tmp_path) if not name.startswith(("best", "in"))}
        assert after == before
        made = [p for p in (tmp_path / "in" / "links").rglob("*") if p.is_file()]
        assert sorted(p.read_bytes() for p in made) == sorted(png(i) for i in range(len(names)))
        assert {p.relative_to(tmp_path / "in" / "links").parts[0] for p in made} == {"a"}
        assert not Path("/top.png").exists()

    @pytest.mark.parametrize(
        ("uid", "target", "names"),
        [
            ("b/../../x.png", "b", ["b", "_", "_", "x.png"]),
            ("x.png", "../..", [".._..", "x.png"]),
            ("x.png", "..", ["_", "x.png"]),
            ("x.png", "a/b", ["a_b", "x.png"]),
            ("a\\b\x1b.png", "a", ["a", "a_b_.png"]),
            ("a", "a", ["a", "a"]),
            ("x.tar/1.png#3", "a", ["a", "x.tar", "1#3.png"]),
        ],
    )
    def test_names_are_safe(self, uid: str, target: str, names: list[str]) -> None:
        assert safe_names(uid, target) == names

    def test_two_uids_of_one_name_are_both_there(self, fitted: Path, tmp_path: Path) -> None:
        tar(tmp_path / "tars" / "x.tar", [("a:b.png", png(0)), ("a?b.png", png(1))])
        run = scored(fitted, tmp_path / "tars", tmp_path / "scores", target="a")
        select(run, tmp_path / "best", link=tmp_path / "links", count=2)
        made = {p.name: p.read_bytes() for p in (tmp_path / "links" / "a" / "x.tar").iterdir()}
        assert made == {"a_b.png": png(0), "2_a_b.png": png(1)}


class TestShards:
    def test_samples_are_copied_whole_and_byte_for_byte(self, shards: Path, tmp_path: Path) -> None:
        found = select(shards, tmp_path / "best", shards=tmp_path / "new", shard_size=3)
        assert found.archives == 3
        assert [len(read_tar(path)) for path in sorted((tmp_path / "new").iterdir())] == [9, 9, 6]
        original = {a: dict(read_tar(tmp_path / "tars" / f"{a}.tar")) for a in "xy"}
        expected = []
        for uid in sorted(found.uids):
            archive, key = uid[0], uid[6:-4]
            expected += [original[archive][f"{key}.{end}"] for end in ("png", "cls", "report.json")]
        members = read_tars(tmp_path / "new")
        assert [content for _, content in members] == expected
        assert [name.partition(".")[2] for name, _ in members] == ["png", "cls", "report.json"] * 8

    def test_what_was_written_is_read_as_a_source_with_the_same_classes(self, shards: Path, tmp_path: Path) -> None:
        found = select(shards, tmp_path / "best", shards=tmp_path / "new", fraction=1.0, count=None)
        source = open_shards(tmp_path / "new", labeled=True)
        items = [item for shard in source.shards(100) for item in source.items(shard)]
        assert len(items) == len(found.uids) == 20
        # Both archives have a sample s/0: one of them got another key.
        assert len({item.path for item in items}) == 20
        before = open_shards(tmp_path / "tars")
        digests = [item.stored.digest() for shard in before.shards(9) for item in before.items(shard)]
        assert sorted(item.stored.digest() for item in items) == sorted(digests)
        assert [item.label for item in items] == ["ab"[i % 2] for i in range(10)] * 2

    def test_files_become_samples_with_their_class(self, folder: Path, tmp_path: Path) -> None:
        found = select(folder, tmp_path / "best", shards=tmp_path / "new")
        members = dict(read_tars(tmp_path / "new"))
        assert len(members) == 16
        for uid in found.uids:
            assert members[uid] == (tmp_path / "images" / uid).read_bytes()
            assert members[uid.replace(".png", ".cls")] == uid[:1].encode()

    def test_a_sample_without_a_class_gets_the_claimed_one(self, fitted: Path, tmp_path: Path) -> None:
        tar(tmp_path / "tars" / "x.tar", [(f"{i}.png", png(i)) for i in range(4)])
        run = scored(fitted, tmp_path / "tars", tmp_path / "scores", target="b")
        select(run, tmp_path / "best", shards=tmp_path / "new", count=2)
        members = read_tars(tmp_path / "new")
        assert [name.partition(".")[2] for name, _ in members] == ["png", "cls"] * 2
        assert members[1][1] == b"b"

    def test_samples_of_several_images_are_written_once(self, fitted: Path, tmp_path: Path) -> None:
        pairs = [(f"{i}.{side}.png", png(10 * i + k)) for i in range(3) for k, side in enumerate(("left", "right"))]
        tar(tmp_path / "tars" / "x.tar", pairs)
        run = scored(fitted, tmp_path / "tars", tmp_path / "scores", target="b")
        select(run, tmp_path / "best", shards=tmp_path / "new", count=6)
        assert [m for m in read_tars(tmp_path / "new") if not m[0].endswith("cls")] == pairs

    def test_names_with_dots_keep_their_key(self, fitted: Path, tmp_path: Path) -> None:
        """Readers take all up to the first dot for the key: 1.5T.png and 1.3T.png would be one sample."""
        for i, name in enumerate(("1.5T.png", "1.3T.png")):
            (tmp_path / "images" / "a").mkdir(parents=True, exist_ok=True)
            (tmp_path / "images" / "a" / name).write_bytes(png(i))
        run = scored(fitted, tmp_path / "images", tmp_path / "scores", target="a")
        select(run, tmp_path / "best", shards=tmp_path / "new", count=2)
        assert [name for name, _ in read_tars(tmp_path / "new")] == [
            "a/1_3T.png", "a/1_3T.cls", "a/1_5T.png", "a/1_5T.cls"
        ]  # fmt: skip

    def test_the_same_selection_gives_the_same_bytes(self, shards: Path, tmp_path: Path) -> None:
        for name in ("one", "two"):
            select(shards, tmp_path / f"{name}.best", shards=tmp_path / name)
        assert tree(tmp_path / "one") == tree(tmp_path / "two")


class TestRefusals:
    @pytest.mark.parametrize("option", ["link", "shards"])
    def test_nothing_is_written_beside_files_that_are_there(self, folder: Path, tmp_path: Path, option: str) -> None:
        taken = tmp_path / "taken"
        taken.mkdir()
        (taken / "mine.txt").write_text("mine")
        for path in (taken, taken / "mine.txt"):
            with pytest.raises(UserError, match=f"^{option}: expected a new or an empty folder, since no"):
                select(folder, tmp_path / "best", **{option: path})
        assert tree(taken) == {"mine.txt": b"mine"}
        assert not (tmp_path / "best").exists()
        (taken / "mine.txt").unlink()
        select(folder, tmp_path / "best", **{option: taken})
        assert len(list(taken.iterdir())) > 0

    @pytest.mark.parametrize("option", ["link", "shards"])
    def test_images_that_changed_are_not_taken(self, folder: Path, tmp_path: Path, option: str) -> None:
        (tmp_path / "images" / "a" / "00.png").write_bytes(png(3))
        with pytest.raises(UserError, match=r"images have changed since they were scored: 24 then, 24 now; score them"):
            select(folder, tmp_path / "best", **{option: tmp_path / "new"})
        assert not (tmp_path / "best").exists()
        assert not (tmp_path / "new").exists()

    def test_images_that_moved_are_found(self, folder: Path, tmp_path: Path) -> None:
        (tmp_path / "images").rename(tmp_path / "moved")
        with pytest.raises(UserError, match=r"^no such file or folder: "):
            select(folder, tmp_path / "best", link=tmp_path / "links")
        select(folder, tmp_path / "best", link=tmp_path / "links", images=tmp_path / "moved")
        assert len(list((tmp_path / "links").rglob("*.png"))) == 8

    @pytest.mark.parametrize("option", ["link", "shards"])
    def test_arrays_are_no_files(self, fitted: Path, tmp_path: Path, option: str) -> None:
        np.save(tmp_path / "x.npy", np.random.default_rng(0).integers(0, 256, (8, 16, 16), dtype=np.uint8))
        run = scored(fitted, tmp_path / "x.npy", tmp_path / "scores", target="a")
        with pytest.raises(UserError, match=f"^{option}: expected image files, .tar or Parquet files, got arrays"):
            select(run, tmp_path / "best", count=3, **{option: tmp_path / "new"})

    @pytest.mark.parametrize("option", ["link", "shards"])
    def test_a_failure_leaves_nothing_behind(
        self, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: str
    ) -> None:
        real, calls = selected_files.stored_content, []

        def fails_at_last(item: Any) -> Any:
            calls.append(item)
            if len(calls) == 8:
                raise OSError(errno.ENOSPC, "No space left on device")
            return real(item)

        for module in ("selected_files", "selected_shards"):
            monkeypatch.setattr(f"iuscore.engine.{module}.stored_content", fails_at_last)
        before = tree(tmp_path)
        with pytest.raises(OSError, match="No space left"):
            select(folder, tmp_path / "best", **{option: tmp_path / "new"})
        assert {name for name in set(tree(tmp_path)) - set(before) if not name.startswith("best")} == set()
        assert not (tmp_path / "best" / "selection.json").exists()

    def test_a_member_that_is_a_link_cannot_be_copied(self, fitted: Path, tmp_path: Path) -> None:
        path = tmp_path / "tars" / "x.tar"
        path.parent.mkdir()
        with tarfile.open(path, "w") as archive:
            for i in range(2):
                member = tarfile.TarInfo(f"{i}.png")
                member.size = len(png(i))
                archive.addfile(member, io.BytesIO(png(i)))
                note = tarfile.TarInfo(f"{i}.txt")
                note.type, note.linkname = tarfile.SYMTYPE, "/etc/passwd"
                archive.addfile(note)
        run = scored(fitted, path, tmp_path / "scores", target="a")
        with pytest.raises(UserError, match=r"x\.tar: \d\.txt cannot be copied: stored as a link to /etc/passwd"):
            select(run, tmp_path / "best", count=2, shards=tmp_path / "new")
        assert not (tmp_path / "new").exists()
