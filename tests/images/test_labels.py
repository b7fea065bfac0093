"""Labels of any source and the classes of a model: `iuscore score --map`, `iuscore fit --map`, integers, advice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from iuscore.engine import score_source
from iuscore.errors import UserError
from iuscore.images import open_shards, open_source
from iuscore.images.labels import ClassNames, parse_map
from iuscore.scoring import load
from tests.cli.test_score import rows_of
from tests.fixtures import TINY, Command, class_folders, record_of, write_record
from tests.images.sharded_sources import tar

NUMBERS = [1, 0, 1, 1]
CLASSES = ["b", "a", "b", "b"]


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (4, 16, 16), dtype=np.uint8)


def pgm(image: np.ndarray) -> bytes:
    return b"P5 16 16 255 " + image.tobytes()


def npz(root: Path, images: np.ndarray, labels: list[int]) -> Path:
    np.savez(root / "m.npz", test_images=images, test_labels=np.array(labels)[:, None])
    return root / "m.npz"


def parquet(root: Path, images: np.ndarray, labels: list[Any], names: list[str] | None = None) -> Path:
    table = pa.table({"image": [pgm(image) for image in images], "label": labels})
    if names:
        features = {"info": {"features": {"label": {"names": names, "_type": "ClassLabel"}}}}
        table = table.replace_schema_metadata({"huggingface": json.dumps(features)})
    pq.write_table(table, root / "x.parquet")
    return root / "x.parquet"


def tars(root: Path, images: np.ndarray, labels: list[Any]) -> Path:
    members = [(f"{i}{end}", content) for i, (image, label) in enumerate(zip(images, labels, strict=True))
               for end, content in ((".pgm", pgm(image)), (".cls", str(label).encode()))]  # fmt: skip
    return tar(root / "x.tar", members)


def folder(root: Path, images: np.ndarray, labels: list[Any]) -> Path:
    for i, (image, label) in enumerate(zip(images, labels, strict=True)):
        (root / f"images/{label}").mkdir(parents=True, exist_ok=True)
        (root / f"images/{label}/{i}.pgm").write_bytes(pgm(image))
    return root / "images"


def prefixes(root: Path, images: np.ndarray, labels: list[Any]) -> Path:
    (root / "flat").mkdir()
    for i, (image, label) in enumerate(zip(images, labels, strict=True)):
        (root / f"flat/{label}_{i}.pgm").write_bytes(pgm(image))
    return root / "flat"


MAKERS = {"npz": npz, "parquet": parquet, "tar": tars, "folder": folder}


@pytest.mark.parametrize("kind", sorted(MAKERS))
def test_a_map_for_every_source(command: Command, fitted: Path, images: np.ndarray, tmp_path: Path, kind: str) -> None:
    source = MAKERS[kind](tmp_path, images, NUMBERS)
    said = command("score", fitted, source, "--target", "from-folder", "--out", tmp_path / "out").refusal()
    assert said == (f"{source}: labels '0', '1' are no classes of the model (a, b): did you mean --map 0=a,1=b?")
    options = ("--target", "from-folder", "--out", tmp_path / "out", "--workers", 1, "--shard-size", 3)
    ran = command("score", fitted, source, *options, "--map", "0=a,1=b")
    assert ran.status == 0, ran.err
    found = rows_of(tmp_path / "out")
    expected = ["a", "b", "b", "b"] if kind == "folder" else CLASSES  # folders come sorted
    assert [row["target"] for row in found] == expected
    # The numbers are those of the class named outright.
    for row in found:
        alone = score_one(fitted, images, row)
        assert row["ius"] == alone
    # The map is part of the run: another one is another run, the same one goes on, verify knows it.
    for other in (("--map", "0=b,1=a"), ()):
        again = command("score", fitted, source, *options, *other).refusal()
        assert again.startswith(f"the run in {tmp_path / 'out'} maps labels otherwise (0=a,1=b, not ")
    assert command("score", fitted, source, *options, "--map", "0=a,1=b").status == 0
    checked = command("verify", tmp_path / "out")
    assert checked.status == 0, checked.out


def score_one(fitted: Path, images: np.ndarray, row: dict[str, Any]) -> float:
    place = int(row["uid"].rsplit("/", 1)[-1].removesuffix(".pgm"))
    ius = load(fitted)([images[place][..., None]], target=row["target"]).ius
    return float(ius[0])


@pytest.mark.parametrize("order", ["a,b", "b,a"])
def test_integers_are_the_classes_that_fit_was_told(
    command: Command, images: np.ndarray, tmp_path: Path, order: str
) -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(40) % 2
    pixels = (rng.integers(0, 100, (40, 16, 16)) + 100 * labels[:, None, None]).astype(np.uint8)
    arrays: dict[str, Any] = {}
    for part, chosen in (("train", slice(0, 24)), ("val", slice(24, 40))):
        arrays |= {f"{part}_images": pixels[chosen], f"{part}_labels": labels[chosen]}
    np.savez(tmp_path / "real.npz", **arrays)
    fit = ("fit", tmp_path / "real.npz", *TINY, "--epochs", 1, "--out", tmp_path / "m")
    assert command(*fit, "--classes", order).status == 0
    names = order.split(",")
    assert record_of(tmp_path / "m")["data"]["numbers"] == dict(zip("01", names, strict=True))
    expected = [names[number] for number in NUMBERS]
    for version in ("this", "0.1"):
        if version == "0.1":  # which wrote no numbers
            record = record_of(tmp_path / "m")
            del record["data"]["numbers"]
            write_record(tmp_path / "m", record)
        for kind in ("npz", "parquet", "tar"):
            root = tmp_path / version / kind
            root.mkdir(parents=True)
            source = MAKERS[kind](root, images, NUMBERS)
            ran = command("score", tmp_path / "m", source, "--target", "from-folder", "--out", root / "out")
            assert ran.status == 0, ran.err
            assert [row["target"] for row in rows_of(root / "out")] == expected
            met = [names[number] for number in (1, 0)]
            assert (
                f"note: labels were read as when the model was fitted, 1 as {met[0]}, 0 as {met[1]}; --map changes that"
                in ran.out
            )
            assert command("verify", root / "out").status == 0
    # What is said outright comes first.
    ran = command(
        "score", tmp_path / "m", tmp_path / "this/npz/m.npz", "--target", "from-folder", "--out", tmp_path / "o",
        "--map", f"0={names[1]},1={names[0]}",
    )  # fmt: skip
    assert ran.status == 0, ran.err
    assert [row["target"] for row in rows_of(tmp_path / "o")] == [names[1 - number] for number in NUMBERS]
    assert "labels were read as" not in ran.out
    # A number that fit did not hear of is no class.
    said = command(
        "score", tmp_path / "m", npz(tmp_path, images, [0, 1, 2, 1]), "--target", "from-folder", "--out", tmp_path / "p"
    ).refusal()
    assert said.endswith(f"label '2' is no class of the model ({', '.join(names)}): say what it stands for, such as "
                         f"--map 2={names[0]}")  # fmt: skip


def test_names_in_the_metadata_come_before_numbers(
    command: Command, fitted: Path, images: np.ndarray, tmp_path: Path
) -> None:
    source = parquet(tmp_path, images, NUMBERS, ["b", "a"])
    ran = command("score", fitted, source, "--target", "from-folder", "--out", tmp_path / "out")
    assert ran.status == 0, ran.err
    assert [row["target"] for row in rows_of(tmp_path / "out")] == ["a", "b", "a", "a"]


def test_did_you_mean() -> None:
    names = ClassNames(("benign", "malignant"))
    said = names.unknown(["Bening", "Benign", "MALIGNENT"], "x.tar")
    assert said == (
        "x.tar: labels 'Bening', 'MALIGNENT' are no classes of the model (benign, malignant): "
        "did you mean --map Bening=benign,MALIGNENT=malignant?"
    )
    assert names.unknown(["polyp"], "x").endswith("say what it stands for, such as --map polyp=benign")
    assert names.unknown(["1", "2"], "x").endswith("say what they stand for, such as --map 1=benign")
    assert names.unknown(["1", "0"], "x").endswith("did you mean --map 0=benign,1=malignant?")
    many = names.unknown([str(i) for i in range(2000)], "x")
    assert len(many) < 300


@pytest.mark.parametrize("of", ["folder", "prefix", "tar", "map"])
def test_classes_in_another_case_are_the_classes(
    command: Command, fitted: Path, images: np.ndarray, tmp_path: Path, of: str
) -> None:
    options: tuple[object, ...] = ("--target", "from-folder", "--out", tmp_path / "out")
    root = {"tar": tars, "prefix": prefixes}.get(of, folder)(tmp_path, images, ["A", "B", "B", "A"])
    if of == "map":
        options += ("--map", "a=B,b=A")
    ran = command("score", fitted, root, *options)
    assert ran.status == 0, ran.err
    expected = ["b", "a", "a", "b"] if of == "map" else ["a", "b", "b", "a"]
    assert sorted(row["target"] for row in rows_of(tmp_path / "out")) == sorted(expected)
    assert command("score", fitted, root, "--target", "A", "--out", tmp_path / "one").status == 0
    assert {row["target"] for row in rows_of(tmp_path / "one")} == {"a"}
    assert json.loads((tmp_path / "one/run.json").read_text())["identity"]["target"] == "a"
    said = command("score", fitted, root, "--target", "x", "--out", tmp_path / "other").refusal()
    assert said == "target: no class 'x': the model has profiles of a, b"


def test_classes_that_differ_in_case_alone_stay_apart() -> None:
    names = ClassNames(("a", "A", "b"))
    assert [names.of(label) for label in ("a", "A", "B")] == ["a", "A", "b"]
    with pytest.raises(UserError, match="no class 'aB'"):
        ClassNames(("ab", "AB"), {"x": "aB"})


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ("0", "--map: expected LABEL=CLASS with commas, such as 0=benign,1=malignant, got '0'"),
        ("0=,1=b", "--map: expected LABEL=CLASS with commas, such as 0=benign,1=malignant, got '0=,1=b'"),
        ("0=a,0=b", "--map: label 0 comes twice in '0=a,0=b'"),
        ("0=aa,1=b", "--map 0=aa: no class 'aa': the model has a, b; did you mean 0=a?"),
        ("0=x,1=b", "--map 0=x: no class 'x': the model has a, b"),
    ],
)
def test_malformed_maps_are_refused(
    command: Command, fitted: Path, images: np.ndarray, tmp_path: Path, given: str, reason: str
) -> None:
    source = npz(tmp_path, images, NUMBERS)
    options = ("--target", "from-folder", "--out", tmp_path / "out", "--map", given)
    assert command("score", fitted, source, *options).refusal() == reason


def test_a_map_needs_labels(command: Command, fitted: Path, images: np.ndarray, tmp_path: Path) -> None:
    options = ("--target", "a", "--out", tmp_path / "out", "--map", "0=a")
    said = command("score", fitted, npz(tmp_path, images, NUMBERS), *options).refusal()
    assert said == "--map: only --target from-folder has labels, not a"
    assert parse_map(" 0 = a b ,x=c") == {"0": "a b", "x": "c"}


def test_labels_that_are_classes_change_no_signature(fitted: Path, images: np.ndarray, tmp_path: Path) -> None:
    source = tars(tmp_path, images, CLASSES)
    score_source(load(fitted), source, tmp_path / "out")
    plain = json.loads((tmp_path / "out/run.json").read_text())
    assert "map" not in plain["identity"]
    (shard,) = open_shards(source, labeled=True).shards(128)
    (line,) = (tmp_path / "out/plan.jsonl").read_text().splitlines()
    assert json.loads(line)["signature"] == shard.signature


class TestFit:
    def test_folders(self, command: Command, images: np.ndarray, tmp_path: Path) -> None:
        class_folders(tmp_path / "real", "012", n=8)
        fit = ("fit", tmp_path / "real", *TINY, "--epochs", 1)
        assert command(*fit, "--out", tmp_path / "m", "--map", "0=z,1=y,2=y").status == 0
        record = record_of(tmp_path / "m")
        assert record["model"]["classes"] == ["y", "z"]
        assert record["data"]["numbers"] == {"0": "z", "1": "y", "2": "y"}
        assert {name: sum(part[name] for part in record["data"]["counts"].values()) for name in "yz"} == {
            "y": 16,
            "z": 8,
        }
        # Integers in another source are what they were called here, not numbers of sorted names.
        source = npz(tmp_path, images, [1, 0, 2, 1])
        ran = command("score", tmp_path / "m", source, "--target", "from-folder", "--out", tmp_path / "out")
        assert ran.status == 0, ran.err
        assert [row["target"] for row in rows_of(tmp_path / "out")] == ["y", "z", "y", "y"]
        said = command(*fit, "--out", tmp_path / "n", "--map", "3=z").refusal()
        assert said == f"--map: no label '3' in {tmp_path / 'real'}: it has 0, 1, 2"

    def test_the_classes_of_a_map_in_order(self, tmp_path: Path) -> None:
        class_folders(tmp_path / "real", "012", n=3)
        source = open_source(
            tmp_path / "real", labels_from="folder", classes=["z", "y"], class_map={"0": "z", "1": "y", "2": "x"}
        )
        assert source.classes == ("y", "z")
        assert len(source) == 6
        with pytest.raises(UserError, match=r"no images of class 'w' in .*: it has 0, x, y$"):
            open_source(tmp_path / "real", labels_from="folder", classes=["w"], class_map={"1": "y", "2": "x"})
        with pytest.raises(UserError, match="class_map: it needs labels_from"):
            open_source(tmp_path / "real", class_map={"1": "y"})


class TestTheSameOptionsForScoreAndFit:
    def test_labels_from_auto(self, command: Command, fitted: Path, images: np.ndarray, tmp_path: Path) -> None:
        """Without folders the class is what the names begin with; with folders it is the folder, whatever the names."""
        options = ("--target", "from-folder", "--out")
        assert (
            command("score", fitted, prefixes(tmp_path, images, CLASSES), *options, tmp_path / "flat_out").status == 0
        )
        assert [row["target"] for row in rows_of(tmp_path / "flat_out")] == sorted(CLASSES)
        assert command("verify", tmp_path / "flat_out").status == 0
        root = folder(tmp_path, images, CLASSES)
        for path in sorted(root.rglob("*.pgm")):
            path.rename(path.with_name("a_" + path.name))
        assert command("score", fitted, root, *options, tmp_path / "out").status == 0
        assert [row["target"] for row in rows_of(tmp_path / "out")] == sorted(CLASSES)

    @pytest.mark.parametrize("of", ["folder", "tar"])
    def test_groups_on_paths(self, command: Command, fitted: Path, images: np.ndarray, tmp_path: Path, of: str) -> None:
        names = ["a/p1/1.pgm", "a/p1/2.pgm", "b/p2/1.pgm", "b/p3/1.pgm"]
        if of == "tar":
            source = tar(tmp_path / "x.tar", [(name, pgm(image)) for name, image in zip(names, images, strict=True)])
        else:
            source = tmp_path / "deep"
            for name, image in zip(names, images, strict=True):
                (source / name).parent.mkdir(parents=True, exist_ok=True)
                (source / name).write_bytes(pgm(image))
        pattern = "/(p[0-9])/"
        listed = open_source(source, group_by=pattern)
        options = ("--target", "a", "--group-by", pattern, "--out", tmp_path / "out")
        ran = command("score", fitted, source, *options)
        assert ran.status == 0, ran.err
        assert [row["group"] for row in rows_of(tmp_path / "out")] == [item.group for item in listed.items]
        assert [item.group for item in listed.items] == ["p1", "p1", "p2", "p3"]
        said = command("score", fitted, source, "--target", "a", "--group-by", "/x/", "--out", tmp_path / "n").refusal()
        assert said.startswith("group_by: '/x/' is not found in the path of ")

    def test_a_part_of_archives(self, command: Command, fitted: Path, images: np.ndarray, tmp_path: Path) -> None:
        for part, image in (("train", images[0]), ("valid", images[1])):
            tar(tmp_path / f"tars/{part}-0.tar", [(f"{part}.pgm", pgm(image))])
        options = ("--target", "a", "--split", "val", "--out", tmp_path / "out")
        assert command("score", fitted, tmp_path / "tars", *options).status == 0
        assert [row["uid"] for row in rows_of(tmp_path / "out")] == ["valid-0.tar/valid.pgm"]
        assert command("verify", tmp_path / "out").status == 0
        said = command("score", fitted, tmp_path / "tars", "--target", "a", "--split", "test", "--out", tmp_path / "n")
        assert said.refusal() == (
            f"split: no .tar file in {tmp_path}/tars is named after test: it has train-0.tar, valid-0.tar"
        )


def test_labels_of_npy_arrays(command: Command, fitted: Path, images: np.ndarray, tmp_path: Path) -> None:
    """Beside their images, in a folder that has nothing else, and not taken for images."""
    root = tmp_path / "arrays"
    root.mkdir()
    for name, part in (("train_images", slice(0, 3)), ("x", slice(3, 4))):
        np.save(root / f"{name}.npy", images[part])
        np.save(
            root / f"{name.removesuffix('images') if 'images' in name else 'x_'}labels.npy", np.array(NUMBERS[part])
        )
    options = ("--target", "from-folder", "--map", "0=a,1=b", "--out", tmp_path / "out")
    assert command("score", fitted, root, *options).status == 0
    assert [(row["uid"], row["target"]) for row in rows_of(tmp_path / "out")] == [
        ("train_images.npy/000000000", "b"), ("train_images.npy/000000001", "a"), ("train_images.npy/000000002", "b"),
        ("x.npy/000000000", "b"),
    ]  # fmt: skip
    ran = command("score", fitted, root, "--target", "a", "--out", tmp_path / "one")
    assert ran.status == 0
    assert "note: files that are no images: 2, left out (train_labels.npy, x_labels.npy)" in ran.out
