"""`iuscore fit`: how real images may lie, and which of them belong together."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import iuscore
from iuscore.fit import open_splits
from tests.fixtures import TINY, Command, Ran, class_folders, record_of, write_images


def fit(command: Command, images: Path, out: Path, *options: object) -> Ran:
    ran = command("fit", images, "--out", out, *TINY, "--epochs", 1, *options)
    assert ran.status == 0, ran.err
    return ran


class TestLayouts:
    @pytest.mark.parametrize(
        ("names", "parts"),
        [
            (("train", "test"), "folders train and test"),
            (("Training", "Testing"), "folders train and test"),
            (("TRAIN", "TEST"), "folders train and test"),
            (("training", "validation", "testing"), "folders train, val and test"),
            (("Train", "Valid", "Test"), "folders train, val and test"),
        ],
    )
    def test_names_of_the_parts(self, tmp_path: Path, names: tuple[str, ...], parts: str) -> None:
        for seed, name in enumerate(names):
            class_folders(tmp_path / name, n=20, seed=seed)
        splits = open_splits(tmp_path, seed=4)
        assert splits.origin.startswith(parts)
        assert splits.test is not None
        assert len(splits.test) == 40
        taken = "val" not in parts
        assert (len(splits.train), len(splits.val)) == ((32, 8) if taken else (40, 40))  # .15 of .85 of each class
        assert (
            "18% of the training images taken for validation by chance, seed 4, image by image" in splits.origin
        ) is taken
        if taken:
            uids = {item.uid for item in splits.train.items} | {item.uid for item in splits.val.items}
            assert len(uids) == 40

    def test_validation_taken_by_group(self, command: Command, tmp_path: Path) -> None:
        names = [f"{c}/p{p}{c}_{i}.png" for c in "ab" for p in range(8) for i in range(3)]
        write_images(tmp_path / "r/train", names)
        write_images(tmp_path / "r/test", [f"{c}/q{i}{c}_0.png" for c in "ab" for i in range(4)], seed=1)
        ran = fit(command, tmp_path / "r", tmp_path / "m", "--group-by", "^[pq][^_]+")
        (line,) = [line for line in ran.said() if line.startswith("train ")]
        assert "taken for validation by chance, seed 0, groups kept together by ^[pq][^_]+" in line
        assert record_of(tmp_path / "m")["data"]["origin"] in line
        splits = open_splits(tmp_path / "r", group_by="^[pq][^_]+")
        patients = [{item.uid.split("_")[0] for item in part.items} for part in (splits.train, splits.val)]
        assert not patients[0] & patients[1]

    def test_without_val_images_are_drawn_from_the_training_images(self, tmp_path: Path) -> None:
        class_folders(tmp_path / "t", n=20)
        class_folders(tmp_path / "e", n=5, seed=1)
        splits = open_splits(tmp_path / "t", test=tmp_path / "e")
        assert {name: len(part) for name, part in splits.parts().items()} == {"train": 32, "val": 8, "test": 10}
        assert splits.origin.startswith("folders given; 18% of the training images")

    def test_options_complete_a_folder_of_parts(self, tmp_path: Path) -> None:
        for seed, name in enumerate(("train", "test")):
            class_folders(tmp_path / "r" / name, n=8, seed=seed)
        class_folders(tmp_path / "v", n=5, seed=9)
        splits = open_splits(tmp_path / "r", val=tmp_path / "v")
        assert {name: len(part) for name, part in splits.parts().items()} == {"train": 16, "val": 10, "test": 16}

    def test_a_training_folder_alone_is_split_in_three(self, tmp_path: Path) -> None:
        class_folders(tmp_path / "train", n=20)
        splits = open_splits(tmp_path)
        assert {name: len(part) for name, part in splits.parts().items()} == {"train": 28, "val": 6, "test": 6}

    def test_an_archive_without_val_gives_some_of_its_training_images(self, tmp_path: Path) -> None:
        rng = np.random.default_rng(0)
        arrays: dict[str, Any] = {}
        for part, n in (("train", 40), ("test", 10)):
            arrays[f"{part}_images"] = rng.integers(0, 256, (n, 20, 20), dtype=np.uint8)
            arrays[f"{part}_labels"] = (np.arange(n) % 2)[:, None]
        np.savez(tmp_path / "m.npz", **arrays)
        splits = open_splits(tmp_path / "m.npz")
        assert {name: len(part) for name, part in splits.parts().items()} == {"train": 32, "val": 8, "test": 10}

    def test_other_names_are_in_the_message(self, tmp_path: Path) -> None:
        for name in ("real_train", "real_val", "real_test"):
            class_folders(tmp_path / name, n=3)
        with pytest.raises(iuscore.UserError) as caught:
            open_splits(tmp_path)
        assert str(caught.value) == (
            f"{tmp_path} holds real_test, real_train, real_val: these are parts of a data set, not classes; name the "
            f"parts: iuscore fit {tmp_path}/real_train --val {tmp_path}/real_val --test {tmp_path}/real_test"
        )
        shutil.rmtree(tmp_path / "real_train")
        with pytest.raises(iuscore.UserError, match="call the training folder train, the others val and test, or give"):
            open_splits(tmp_path)

    def test_files_and_folders_passed_over_are_named(self, command: Command, tmp_path: Path) -> None:
        for seed, name in enumerate(("train", "val")):
            class_folders(tmp_path / "r" / name, n=4, seed=seed)
        class_folders(tmp_path / "r/synthetic", n=2)
        for i in range(7):
            (tmp_path / f"r/train/a/{i}.txt").write_text("no image")
        ran = fit(command, tmp_path / "r", tmp_path / "m")
        notes = [
            "passed over beside the parts: folders synthetic",
            f"passed over in {tmp_path}/r/train: 7 files that are no images: a/0.txt, a/1.txt, a/2.txt, a/3.txt, "
            "a/4.txt and 2 more",
        ]
        assert [f"note: {note}" for note in notes] == ran.said()[:2]
        assert record_of(tmp_path / "m")["data"]["notes"] == notes


class TestGroups:
    @pytest.fixture
    def patients(self, tmp_path: Path) -> Path:
        """Eight patients a class with three images each, in folders of their own."""
        return write_images(
            tmp_path / "r", [f"{c}/{c}{p}/{i}.png" for c in "ab" for p in range(8) for i in range(3)], size=8
        )

    def kept_together(self, splits: Any) -> bool:
        found = [{item.uid.rsplit("/", 1)[0] for item in part.items} for part in splits.parts().values()]
        assert len(found) == 3
        return sum(map(len, found)) == len(set.union(*found)) == 16

    def test_groups_may_be_folders(self, patients: Path) -> None:
        assert not self.kept_together(open_splits(patients))
        splits = open_splits(patients, groups="folder")
        assert self.kept_together(splits)
        assert splits.origin == "split by chance, seed 0, groups kept together by folder"
        assert splits.train.items[0].group == splits.train.items[0].uid.split("/")[1]

    def test_groups_may_be_found_in_the_path(self, patients: Path) -> None:
        assert self.kept_together(open_splits(patients, group_by="^[ab]/([^/]+)/"))
        with pytest.raises(iuscore.UserError, match="is not found in the path of a/a0/0"):
            open_splits(patients, group_by="/x/")

    def test_groups_may_stand_in_a_csv_file(self, patients: Path, tmp_path: Path) -> None:
        names = sorted(path.relative_to(patients).as_posix() for path in patients.rglob("*.png"))
        table = tmp_path / "groups.csv"
        rows = [f"{name},{name.split('/')[1]}" for name in names]
        table.write_text("\ufeffFile, Group\n" + "\n".join(rows) + "\nb/gone.png,b9\n", encoding="utf-8")
        splits = open_splits(patients, groups=table)
        assert self.kept_together(splits)
        assert splits.notes == (f"{table}: 1 rows fit no image, such as b/gone.png",)

        def refused(text: str) -> str:
            table.write_text(text)
            with pytest.raises(iuscore.UserError) as caught:
                open_splits(patients, groups=table)
            return str(caught.value).replace(str(table), "T")

        assert refused("a,b\n") == "T: expected a CSV file with the columns file and group, got a, b"
        assert refused("") == "T: expected a CSV file with the columns file and group, got nothing"
        assert refused("file,group\n" + "\n".join(rows[2:])) == (
            "T: no row for a/a0/0.png (and 1 more): every image needs one, its path and its group"
        )
        assert refused("file,group\n" + "\n".join([*rows, f"{names[0]},other"])) == (
            "T, line 50: a/a0/0.png is in two groups, a0 and other"
        )
        assert refused("file,group\na/a0/0.png\n") == "T, line 2: expected a file and a group, got a/a0/0.png"
        assert refused("file,group\n0.png,p\n1.png,p\n2.png,p\n") == (
            "T: 0.png fits 16 images, such as a/a0/0.png: write their paths"
        )
        table.write_bytes(b"\x89PNG\xff\n")
        with pytest.raises(iuscore.UserError, match="expected a CSV file"):
            open_splits(patients, groups=table)

    def test_a_csv_file_of_groups_checks_given_parts(self, tmp_path: Path) -> None:
        for seed, part in enumerate(("train", "val")):
            write_images(tmp_path / "r" / part, [f"{c}/{part}{i}{c}.png" for c in "ab" for i in range(3)], seed=seed)
        rows = [f"train/{c}/train{i}{c}.png,p{i}{c}" for c in "ab" for i in range(3)]
        rows += [f"val{i}{c}.png,{'p0a' if c + str(i) == 'a0' else f'q{i}{c}'}" for c in "ab" for i in range(3)]
        (tmp_path / "g.csv").write_text("group,file\n" + "\n".join(",".join(row.split(",")[::-1]) for row in rows))
        splits = open_splits(tmp_path / "r", groups=tmp_path / "g.csv")
        assert splits.warnings == ("train and val share 1 groups, such as a/train0a.png and a/val0a.png",)
