"""Images and targets that a scorer takes, and the forms that its scores can take."""

from __future__ import annotations

import builtins
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from torch import Tensor

import iuscore
from iuscore import Scorer, UserError
from iuscore.engine import score_source
from iuscore.metrics import UtilitySimilarity

pytestmark = pytest.mark.usefixtures("one_thread")

PIXELS = np.random.default_rng(4).integers(0, 256, (4, 30, 34, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("files")
    for i, image in enumerate(PIXELS):
        Image.fromarray(image).save(folder / f"{i}.png")
    return sorted(folder.iterdir())


@pytest.fixture(scope="module")
def scorer(texture: Path) -> Scorer:
    return iuscore.load(texture)


class TestImages:
    @pytest.mark.parametrize("batch_size", [1, 3, 64])
    def test_paths_are_their_pixels(self, scorer: Scorer, files: list[Path], batch_size: int) -> None:
        expected = scorer(PIXELS, target="a").ius
        for given in (files, [str(path) for path in files], tuple(files)):
            assert torch.equal(scorer(given, target="a", batch_size=batch_size).ius, expected)
        assert torch.equal(scorer(files[2], target="a").ius, expected[2:3])
        assert torch.equal(scorer(str(files[2]), target="a").ius, expected[2:3])
        assert [why.ius for why in scorer.explain(files, target="a")] == pytest.approx(expected.tolist())

    @pytest.mark.parametrize("layout", [None, "NHWC", "NCHW"])
    def test_all_sorts_in_one_list(self, scorer: Scorer, files: list[Path], layout: Any) -> None:
        turned = (2, 0, 1) if layout == "NCHW" else (0, 1, 2)
        array, tensor = PIXELS[1].transpose(turned), torch.from_numpy(PIXELS[2].transpose(turned))
        given = [Image.fromarray(PIXELS[0]), array, tensor, files[3]]
        found = scorer(given, target="a", layout=layout)
        assert torch.equal(found.ius, scorer(PIXELS, target="a").ius)

    def test_what_was_done_to_a_file_is_said(self, scorer: Scorer, tmp_path: Path) -> None:
        picture = Image.fromarray(PIXELS[0]).convert("RGBA")
        picture.putalpha(9)
        picture.save(tmp_path / "a.png")
        assert scorer([tmp_path / "a.png", picture, PIXELS[0]], target="a").warnings == (
            ("alpha dropped",), ("alpha dropped",), ())  # fmt: skip

    def test_files_are_read_in_batches(
        self, scorer: Scorer, files: list[Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A list of a million paths needs the memory of one batch."""
        read: list[int] = []
        prepare = scorer.model.prepare_with_warnings

        def counted(images: Any, layout: Any, mask: Any = None) -> Any:
            read.append(len(images))
            return prepare(images, layout)

        monkeypatch.setattr(scorer.model, "prepare_with_warnings", counted)
        scorer(files * 3, target="a", batch_size=5)
        assert read == [5, 5, 2]

    def test_unusable_images_are_refused(self, scorer: Scorer, files: list[Path], tmp_path: Path) -> None:
        (tmp_path / "bad.png").write_text("no image")
        missing = tmp_path / "nowhere.png"
        images: Any
        for images, error, said in (
            ([*files, tmp_path / "bad.png"], UserError, r"images\[4\] \(.*bad.png\): not an image"),
            ([missing], UserError, r"images\[0\] \(.*nowhere.png\): cannot be opened"),
            (tmp_path, UserError, r"images\[0\] \(.*\): expected a file, got a folder: give a list of its files"),
            ([files[0], None], TypeError, r"images\[1\]: expected a tensor, .* got NoneType"),
            ([Image.fromarray(PIXELS[0]), 3.5], TypeError, r"images\[1\]: .* a path, or a list of them, got float"),
            ([files[0], PIXELS[0].astype(np.complex64)], TypeError, r"images\[1\]: expected dtype"),
            ([files[0], PIXELS], ValueError, r"images\[1\]: expected \[H, W, C\]"),
            ((path for path in files), TypeError, r"images: .* got generator; pass list\(images\)"),
        ):  # fmt: skip
            with pytest.raises(error, match=said):
                scorer(images, target="a")


class TestTarget:
    @pytest.mark.parametrize("made", [int, np.int64, torch.tensor, lambda i: np.array(i, np.uint8)])
    def test_an_index_stands_for_a_class(self, scorer: Scorer, made: Callable[[int], Any]) -> None:
        for i, name in enumerate(scorer.classes):
            assert scorer(PIXELS, target=made(i)).target == (name,) * 4
            assert {why.target for why in scorer.explain(PIXELS, target=made(i))} == {name}

    @pytest.mark.parametrize(
        "target",
        [[1, 0, 0, 1], np.array([1, 0, 0, 1]), torch.tensor([1, 0, 0, 1]), ["b", 0, torch.tensor(0), np.int8(1)]],
    )
    def test_an_index_for_each_image(self, scorer: Scorer, target: Any) -> None:
        assert scorer(PIXELS, target=target).target == ("b", "a", "a", "b")

    @pytest.mark.parametrize(
        ("target", "got"),
        [(None, "None"), (2, "2"), (-1, "-1"), (True, "True"), (0.0, "0.0"), ([0, 1, 2, 0], "2"), (b"a", "b'a'"),
         ([None] * 4, "None"), (torch.zeros(4, 1), r"\[0.0\]"), (np.array([0, 1, 0, 1]) > 0, "False")],
    )  # fmt: skip
    def test_unusable_targets_are_refused(self, scorer: Scorer, target: Any, got: str) -> None:
        with pytest.raises(
            UserError, match=rf"^target: expected names of classes, or labels 0 to 1 of a, b.* got {got}$"
        ):
            scorer(PIXELS, target=target)

    def test_a_metric_takes_images_and_labels_by_position(self, scorer: Scorer) -> None:
        """Like any metric of torchmetrics: (images, target) by position; a label is an index."""
        images, labels = torch.from_numpy(PIXELS), torch.tensor([0, 1, 1, 0])
        expected = float(scorer(PIXELS, target=["a", "b", "b", "a"]).ius.mean())
        metric = UtilitySimilarity(scorer)
        metric.update(images, labels)
        assert float(metric.compute()["ius"]) == pytest.approx(expected, abs=1e-6)
        assert float(UtilitySimilarity(scorer)(images, labels)["ius"]) == pytest.approx(expected, abs=1e-6)
        by_index, by_name = UtilitySimilarity(scorer, 1), UtilitySimilarity(scorer, "b")
        by_index.update(images)
        by_name.update(images)
        by_index.merge_state(by_name)
        assert by_index.target == "b"
        assert int(by_index.compute()["scored"]) == 8


class TestScores:
    def test_columns_are_those_of_the_table(self, scorer: Scorer, files: list[Path], tmp_path: Path) -> None:
        run = score_source(scorer, files[0].parent, tmp_path / "s", target="a")
        table = pq.read_table(run.table).to_pydict()
        found = scorer(files, target="a").to_dict()
        assert list(found) == [name for name in table if name not in ("uid", "width", "height", "error")]
        assert {name: table[name] for name in found} == found

    def test_to_pandas_has_the_columns_of_to_dict(self, scorer: Scorer) -> None:
        pytest.importorskip("pandas")
        scores = scorer(PIXELS, target=["a", "b", "b", "a"])
        table = scores.to_pandas()
        assert list(table.columns) == list(scores.to_dict())
        assert table["target"].tolist() == ["a", "b", "b", "a"]
        assert table["ius"].dtype == np.float32
        np.testing.assert_array_equal(table["ius"].to_numpy(), scores.ius.numpy())
        assert len(scorer(PIXELS[:0], target="a").to_pandas()) == 0

    def test_without_pandas_the_message_names_it(self, scorer: Scorer, monkeypatch: pytest.MonkeyPatch) -> None:
        load = builtins.__import__

        def missing(name: str, *rest: Any) -> Any:
            if name == "pandas":
                raise ImportError
            return load(name, *rest)

        monkeypatch.setattr(builtins, "__import__", missing)
        with pytest.raises(UserError, match="pandas is not installed: pip install pandas, or use to_dict"):
            scorer(PIXELS, target="a").to_pandas()

    def test_plain_values_carry_no_gradient(self, fitted: Path) -> None:
        pixels = torch.rand(2, 1, 20, 20, generator=torch.Generator().manual_seed(0)).requires_grad_()
        scores = iuscore.load(fitted)(pixels, target=0)
        assert scores.ius.requires_grad
        assert len(scores.to_dict()["ius"]) == 2
        assert "on average" in repr(scores)

    def test_the_repr_is_one_line(self, scorer: Scorer) -> None:
        floats = PIXELS.astype(np.float32) / 255
        values: Tensor = scorer(floats, target="a").ius
        middle = (
            f"{float(values.double().mean()):.3f} on average, {float(values.min()):.3f} to {float(values.max()):.3f}"
        )
        assert repr(replace(scorer(floats, target="a"), judge=None)) == f"Scores(4 images against a: IUS {middle})"
        assert repr(scorer(floats[:0], target="a")) == "Scores(0 images)"
        assert repr(scorer(floats[:1], target="b")).startswith("Scores(1 image against b: IUS ")
        broken = floats.copy()
        broken[0, 0, 0] = np.nan
        assert ", 1 without a score" in repr(scorer(broken, target=[0, 1, 0, 1]))
        assert repr(scorer(broken[:1], target=0)) == "Scores(1 image against a: 1 without a score)"
