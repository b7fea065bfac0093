"""`iuscore fit` on archives, tables and arrays: the same model as from a folder of the same images."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import load_file

from iuscore.errors import UserError
from iuscore.fit import open_splits
from iuscore.images import Source, fingerprint, iter_batches, open_source
from tests.cli.test_score import rows_of
from tests.fixtures import TINY, Command, Ran, record_of
from tests.images.same_images import (
    CLASSES,
    FORMATS,
    PATIENTS,
    Phantom,
    as_folder,
    as_parquet,
    as_tar,
    draw,
    members,
    numbers,
    pixels,
)
from tests.images.sharded_sources import tar


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> list[Phantom]:
    return draw(tmp_path_factory.mktemp("drawn"))


@pytest.fixture(scope="module")
def of_folder(drawn: list[Phantom], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return as_folder(tmp_path_factory.mktemp("folder"), drawn)


def patients_of(source: Source, drawn: list[Phantom], out: Path) -> Path:
    """A table of groups; the images of ``source`` come in the order of ``drawn``."""
    with open(out, "w", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(("file", "group"))
        rows.writerows((item.uid, image.patient) for item, image in zip(source.items, drawn, strict=True))
    return out


def contents(source: Source) -> list[tuple[str | None, bytes]]:
    samples = [sample for batch in iter_batches(source, 5, workers=2) for sample in batch]
    assert [sample.error for sample in samples] == [None] * len(samples)
    return [(sample.label, np.asarray(sample.pixels).tobytes()) for sample in samples]


def fitted(command: Command, real: Path, out: Path, *options: object) -> tuple[Ran, dict[str, Any]]:
    ran = command("fit", real, "--out", out, *TINY, "--epochs", 1, "--seed", 3, *options)
    assert ran.status == 0, ran.err
    return ran, record_of(out)


class TestTheSameAsAFolder:
    @pytest.mark.parametrize("name", FORMATS)
    def test_split_images_and_model(
        self, command: Command, drawn: list[Phantom], of_folder: Path, tmp_path: Path, name: str
    ) -> None:
        real = FORMATS[name](tmp_path, drawn)
        options = {"classes": CLASSES, "seed": 3}
        whole = open_source(real, labels_from="auto", classes=CLASSES)
        groups = patients_of(whole, drawn, tmp_path / "groups.csv")
        expected = open_splits(of_folder, group_by="[AN][0-9]+", **options)  # type: ignore[arg-type]
        found = open_splits(real, groups=groups, **options)  # type: ignore[arg-type]
        assert list(found.parts()) == ["train", "val", "test"]
        seen: list[set[str | None]] = []
        for part, source in found.parts().items():
            assert contents(source) == contents(expected.parts()[part])
            assert [item.group for item in source.items] == [item.group for item in expected.parts()[part].items]
            seen.append({item.group for item in source.items})
        assert sum(map(len, seen)) == len(set.union(*seen)) == 2 * PATIENTS  # no patient in two parts

        common = ("--classes", ",".join(CLASSES))
        _, one = fitted(command, of_folder, tmp_path / "one", "--group-by", "[AN][0-9]+", *common)
        _, other = fitted(command, real, tmp_path / "other", "--groups", groups, *common)
        assert other["data"]["known_images"] == one["data"]["known_images"]
        assert other["data"]["counts"] == one["data"]["counts"]
        assert other["profiles"] == one["profiles"]
        weights = [load_file(tmp_path / model / "model.safetensors") for model in ("one", "other")]
        assert weights[0].keys() == weights[1].keys()
        assert all((weights[0][key] == weights[1][key]).all() for key in weights[0])

    @pytest.mark.parametrize("name", ["tar", "folder of tars"])
    def test_groups_of_paths_in_archives(
        self, drawn: list[Phantom], of_folder: Path, tmp_path: Path, name: str
    ) -> None:
        deep = [Phantom(f"{i.label}/{i.patient}/{i.path[-5:]}", i.label, i.patient, i.content) for i in drawn]
        real = FORMATS[name](tmp_path, deep)
        for options in ({"groups": "folder"}, {"group_by": "/([AN][0-9]+)/"}):
            splits = open_splits(real, **options)  # type: ignore[arg-type]
            seen = [{item.uid.split("/")[-2] for item in part.items} for part in splits.parts().values()]
            assert sum(map(len, seen)) == len(set.union(*seen)) == 2 * PATIENTS
        splits = open_splits(real, exclude=["abnormal/A00/*"])
        assert splits.notes[0].startswith("left out by --exclude 'abnormal/A00/*': 2 of 32 images, such as ")

    def test_groups_of_a_column(self, command: Command, drawn: list[Phantom], of_folder: Path, tmp_path: Path) -> None:
        columns = {
            "image": [image.content for image in drawn],
            "label": [image.label for image in drawn],
            "patient": [image.patient for image in drawn],
            "number": [int(image.patient[1:]) + 100 * (image.label == "normal") for image in drawn],
            "sparse": [image.patient if i else None for i, image in enumerate(drawn)],
        }
        real = tmp_path / "x.parquet"
        pq.write_table(pa.table(columns), real, row_group_size=5)
        expected = open_splits(of_folder, group_by="[AN][0-9]+", seed=3)
        for column in ("patient", "number"):
            found = open_splits(real, groups=f"column:{column}", seed=3)
            assert found.origin == f"split by chance, seed 3, groups kept together by column:{column}"
            for part, source in found.parts().items():
                assert contents(source) == contents(expected.parts()[part])
        assert [item.group for item in open_source(real, group_column="patient").items] == columns["patient"]
        _, record = fitted(command, real, tmp_path / "m", "--groups", "column:patient")
        assert record["data"]["origin"].endswith("groups kept together by column:patient")

        def refused(path: Path, groups: str) -> str:
            with pytest.raises(UserError) as caught:
                open_splits(path, groups=groups)
            return str(caught.value)

        assert refused(real, "column:sparse") == (
            f"sparse of {real}: expected a text or an integer from 0 in every row, got None"
        )
        assert refused(real, "column:name") == (
            f"{real} has no column name: its columns are image, label, patient, number, sparse"
        )
        assert refused(of_folder, "column:patient") == (
            f"group_column: only Parquet files have columns, not {of_folder}: use --group-by or a table of groups"
        )

    @pytest.mark.parametrize("name", ["tar", "parquet"])
    def test_fit_and_score_of_one_archive(
        self, command: Command, drawn: list[Phantom], of_folder: Path, tmp_path: Path, name: str
    ) -> None:
        real = FORMATS[name](tmp_path, drawn)
        ran, record = fitted(command, real, tmp_path / "m", "--map", "ABNORMAL=sick,normal=well")
        assert record["model"]["classes"] == ["sick", "well"]
        assert "split by chance, seed 3" in record["data"]["origin"]
        assert ran.out.startswith("model written to ")
        rows = {}
        for source in (real, of_folder):
            out = tmp_path / f"scores {source.name}"
            options = ("--target", "from-folder", "--map", "abnormal=sick,normal=well", "--out", out)
            assert command("score", tmp_path / "m", source, *options).status == 0
            assert command("verify", out).status == 0
            rows[source] = [{key: value for key, value in row.items() if key != "uid"} for row in rows_of(out)]
        assert rows[real] == rows[of_folder]


class TestParts:
    @pytest.fixture
    def parts(self, drawn: list[Phantom]) -> dict[str, list[Phantom]]:
        by_part: dict[str, list[Phantom]] = {"train": [], "validation": [], "test": []}
        for image in drawn:
            number = int(image.patient[1:])
            by_part["train" if number < 4 else "validation" if number < 6 else "test"].append(image)
        return by_part

    def counts(self, splits: Any) -> dict[str, int]:
        return {name: len(part) for name, part in splits.parts().items()}

    @pytest.mark.parametrize("below", ["", "data/"])
    def test_names_of_archives_tell_the_parts(
        self, parts: dict[str, list[Phantom]], tmp_path: Path, below: str
    ) -> None:
        for part, images in parts.items():
            (tmp_path / "real").mkdir(exist_ok=True)
            as_parquet(tmp_path / "real", images, f"{below}{part}-00000-of-00001.parquet")
        splits = open_splits(tmp_path / "real")
        assert self.counts(splits) == {"train": 16, "val": 8, "test": 8}
        assert splits.origin == "parts named by the archives"
        test = open_source(tmp_path / "real", labels_from="auto", split="test")
        assert splits.test is not None
        assert fingerprint(test) == fingerprint(splits.test)
        with pytest.raises(UserError, match=r"split: expected train, val or test, got 'dev'"):
            open_source(tmp_path / "real", split="dev")

    def test_tars_named_after_parts_and_one_that_is_not(self, parts: dict[str, list[Phantom]], tmp_path: Path) -> None:
        for part, images in parts.items():
            tar(tmp_path / f"real/cells-{part}-0.tar", members(images))
        assert self.counts(open_splits(tmp_path / "real")) == {"train": 16, "val": 8, "test": 8}
        tar(tmp_path / "real/more.tar", members(parts["train"][:2]))
        with pytest.raises(UserError, match=r"holds cells-test-0\.tar, which is named after a part, and more\.tar, "):
            open_splits(tmp_path / "real")

    def test_folders_of_archives_may_be_parts(self, parts: dict[str, list[Phantom]], tmp_path: Path) -> None:
        for part, images in parts.items():
            tar(tmp_path / f"real/{part}/0.tar", members(images))
        splits = open_splits(tmp_path / "real")
        assert self.counts(splits) == {"train": 16, "val": 8, "test": 8}
        assert splits.origin == "folders train, val and test"

    def test_parts_that_lie_elsewhere(self, parts: dict[str, list[Phantom]], tmp_path: Path) -> None:
        """The parts have other formats; the val and test images of the training archive are never trained on."""
        real = tar(tmp_path / "x.tar", members(parts["train"]))
        val = as_folder(tmp_path, parts["validation"])
        test = as_parquet(tmp_path, parts["test"])
        assert self.counts(open_splits(real, val=val, test=test)) == {"train": 16, "val": 8, "test": 8}

        arrays = {}
        for part, name in (("train", "train"), ("val", "validation"), ("test", "test")):
            arrays[f"{part}_images"], arrays[f"{part}_labels"] = pixels(parts[name]), numbers(parts[name])
        np.savez(tmp_path / "x.npz", **arrays)  # type: ignore[arg-type]
        splits = open_splits(tmp_path / "x.npz", val=val, classes=CLASSES)
        assert self.counts(splits) == {"train": 16, "val": 8, "test": 8}
        assert {item.uid.partition("/")[0] for item in splits.train.items} == {"train"}

    def test_the_same_images_in_two_archives_are_said(
        self, command: Command, parts: dict[str, list[Phantom]], tmp_path: Path
    ) -> None:
        real = tar(tmp_path / "x.tar", members(parts["train"]))
        val = as_parquet(tmp_path, [*parts["validation"], parts["train"][0]])
        ran, _ = fitted(command, real, tmp_path / "m", "--val", val)
        (line,) = [line for line in ran.said() if "identical" in line]
        assert line.startswith(
            f"warning: train and val share 1 identical image, such as x.tar/{parts['train'][0].path} and x.parquet/00"
        )

    def test_classes_in_another_case(self, parts: dict[str, list[Phantom]], tmp_path: Path) -> None:
        loud = [Phantom(i.path, i.label.upper(), i.patient, i.content) for i in parts["validation"]]
        real = tar(tmp_path / "x.tar", members(parts["train"]))
        splits = open_splits(real, val=tar(tmp_path / "v.tar", members(loud)))
        assert splits.val.classes == CLASSES
        splits = open_splits(real, val=tar(tmp_path / "w.tar", members(loud)), classes=["Normal", "Abnormal"])
        assert splits.val.classes == splits.train.classes == ("Abnormal", "Normal")


class TestRefusals:
    def refused(self, command: Command, real: Path, *options: object) -> str:
        return command("fit", real, "--out", real.parent / "m", *TINY, "--epochs", 1, *options).refusal()

    def test_an_image_that_cannot_be_read_is_left_out(
        self, command: Command, drawn: list[Phantom], tmp_path: Path
    ) -> None:
        broken = [*drawn, Phantom("normal/N99_0.png", "normal", "N99", b"\x89PNG\r\n\x1a\n")]
        for name, uid in (("tar", "x.tar/normal/N99_0.png"), ("parquet", "x.parquet/000000032")):
            real = FORMATS[name](tmp_path, broken)
            options = (real, "--out", tmp_path / name, *TINY, "--epochs", 1)
            ran = command("fit", *options)
            assert ran.status == 1, ran.err
            (line,) = [line for line in ran.said() if line.startswith("left out: ")]
            assert line.startswith(f"left out: {uid}: ")
            ran = command("fit", *options, "--overwrite", "--strict")
            assert ran.status == 2
            assert ran.said()[-1].startswith(f"iuscore: {uid}: ")

    def test_contradictory_classes_are_refused(self, command: Command, drawn: list[Phantom], tmp_path: Path) -> None:
        image = drawn[0].content
        two = [("1.png", image), ("1.cls", b"normal"), ("1.png", image), ("1.png", image), ("1.cls", b"abnormal")]
        real = tar(tmp_path / "x.tar", [*members(drawn), *two])
        assert self.refused(command, real) == (
            f"x.tar/1.png in {real}: class not certain: .cls members of one name contradict each other (abnormal, "
            "normal): give every sample its own name"
        )

    def test_images_without_a_class_are_refused(self, command: Command, drawn: list[Phantom], tmp_path: Path) -> None:
        real = tar(tmp_path / "x.tar", [*members(drawn), ("lone.png", drawn[0].content)])
        assert self.refused(command, real) == "x.tar/lone.png has no class: no member lone.cls beside it"
        pq.write_table(pa.table({"image": [image.content for image in drawn]}), tmp_path / "x.parquet")
        assert self.refused(command, tmp_path / "x.parquet") == (
            f"{tmp_path}/x.parquet has no column label: its columns are image"
        )
        np.save(tmp_path / "x.npy", pixels(drawn))
        assert self.refused(command, tmp_path / "x.npy") == (
            f"{tmp_path}/x.npy has no classes: save an integer for each image as x_labels.npy beside it, or use an "
            ".npz with labels"
        )
        np.save(tmp_path / "x_labels.npy", numbers(drawn)[:5])
        assert self.refused(command, tmp_path / "x.npy") == (
            f"the array of {tmp_path}/x_labels.npy: expected [32, 1], one label per image, got [5]"
        )

    def test_a_damaged_archive_is_refused(self, command: Command, drawn: list[Phantom], tmp_path: Path) -> None:
        real = as_tar(tmp_path, drawn)
        real.write_bytes(real.read_bytes()[:20_000])
        said = self.refused(command, real)
        assert said.startswith(f"{real}: damaged or cut off after ")
        assert said.endswith(": make the archive again, or take it out")

    def test_options_for_folders_are_refused_with_archives(
        self, command: Command, drawn: list[Phantom], tmp_path: Path
    ) -> None:
        real = as_tar(tmp_path, drawn)
        assert self.refused(command, real, "--labels-from", "prefix") == (
            f"labels_from: only image files have classes in their names, not {real}: leave it out"
        )
        assert self.refused(command, real, "--by-content").startswith("by_content: expected a folder of images or an ")
        assert self.refused(command, as_folder(tmp_path, drawn), "--column", "jpg").startswith(
            "column: only Parquet files and tar archives have columns, not "
        )
        assert self.refused(command, real, "--classes", "normal,polyp") == (
            f"no images of class 'polyp' in {real}: it has abnormal, normal"
        )
        assert "only one class in" in self.refused(command, real, "--classes", "normal")


def test_column_and_pixel_limit(command: Command, drawn: list[Phantom], tmp_path: Path) -> None:
    table = {"thumb": [b"P5 2 1 255 ab"] * len(drawn), "image": [image.content for image in drawn],
             "label": [image.label for image in drawn]}  # fmt: skip
    pq.write_table(pa.table(table), tmp_path / "x.parquet")
    options = (tmp_path / "x.parquet", "--out", tmp_path / "m", *TINY, "--epochs", 1)
    assert (
        command("fit", *options)
        .refusal()
        .endswith("has several columns of bytes: thumb, image; name the one with the images")
    )
    assert command("fit", *options, "--column", "image").status == 0
    said = command("fit", *options, "--column", "image", "--max-pixels", 100, "--overwrite").said()
    assert said[-1] == "iuscore: no readable train image of class 'abnormal'"
    score = ("score", tmp_path / "m", tmp_path / "x.parquet", "--column", "image", "--target", "normal")
    assert command(*score, "--out", tmp_path / "out", "--max-pixels", 100).status == 1
    assert {row["error"] for row in rows_of(tmp_path / "out")} == {"too large: 24 x 24, more than 100 pixels"}
    assert "other images" in command(*score, "--out", tmp_path / "out").refusal()
