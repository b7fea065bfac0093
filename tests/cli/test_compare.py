"""``iuscore compare`` from folders to an opened report."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from iuscore import phantoms
from iuscore.explain.compare import Comparison
from iuscore.phantoms import Defects
from tests.fixtures import Command, tree

CLASSES = ("abnormal", "normal")


def drawn(folder: Path, n: int, seed: int, **dials: float) -> Path:
    for name in CLASSES:
        (folder / name).mkdir(parents=True)
        images = phantoms.draw("radiograph", name, n, size=32, seed=seed, defects=Defects(**dials))
        for i, image in enumerate(images):
            Image.fromarray(image[..., 0]).save(folder / name / f"{i:02}.png")
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("compare")
    drawn(root / "real", 40, 0)
    drawn(root / "good", 20, 5)
    drawn(root / "smooth", 20, 6, texture_loss=0.9)
    return root


@pytest.fixture(scope="module")
def model(folders: Path) -> Path:
    from iuscore.fit import TextureOptions, TrainingOptions, fit, open_splits

    fit(open_splits(folders / "real"), folders / "model", model_options=TextureOptions(size=(32, 32)),
        training=TrainingOptions(epochs=2))  # fmt: skip
    return folders / "model"


@pytest.mark.usefixtures("one_thread")
class TestCompare:
    def test_from_folders_to_a_page_and_again_without_work(
        self, command: Command, folders: Path, tmp_path: Path
    ) -> None:
        out, page = tmp_path / "out", tmp_path / "report.html"
        again = ("compare", folders / "real", folders / "good", folders / "smooth", "--out", out, "--html", page,
                 "--workers", 1, "--quiet")  # fmt: skip
        ran = command(*again)
        assert ran.status == 0
        found = Comparison.from_json(json.loads((out / "comparison.json").read_text()))
        assert {each.name for each in found.sets} == {"good", "smooth"}
        assert ran.out.splitlines()[0] == found.verdict
        assert found.real == str(folders / "real")
        text = page.read_text(encoding="utf-8")
        assert text.count("data:image/png;base64,") > 4  # pictures of the images
        worst = [effect for effect in found.sets[1].effects if effect.p < 0.05]
        assert ("Where in the picture</h3>" in text) == bool(worst or found.sets[0].effects[0].p < 0.05)
        assert "http://" not in text.replace("http://www.w3.org", "")
        model, scores = tree(out / "model"), tree(out / "scores")
        first = page.read_bytes()
        assert command(*again).status == 0
        assert (tree(out / "model"), page.read_bytes()) == (model, first)
        assert {name: content for name, content in tree(out / "scores").items() if "summary" not in name} == {
            name: content for name, content in scores.items() if "summary" not in name
        }

    def test_finished_scores_and_a_fitted_model_are_used(
        self, command: Command, folders: Path, model: Path, tmp_path: Path
    ) -> None:
        run = tmp_path / "run"
        assert command("score", model, folders / "good", "--target", "from-folder", "--out", run).status == 0
        before = tree(run)
        ran = command("compare", model, f"mine={run}", "--out", tmp_path / "out", "--html", tmp_path / "page.html")
        assert ran.status == 0
        assert "1. mine: 40 images" in ran.out
        assert tree(run) == before
        assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["comparison.json"]

    def test_images_of_one_class_are_judged_with_real_ones_of_the_other(
        self, command: Command, folders: Path, model: Path, tmp_path: Path
    ) -> None:
        ran = command("compare", model, folders / "good/abnormal", "--target", "abnormal", "--out", tmp_path / "out")
        assert ran.status == 0
        assert "together with real images of normal" in ran.out
        assert "1. abnormal: 20 images" in ran.out

    def test_mistakes_get_one_line(self, command: Command, folders: Path, model: Path, tmp_path: Path) -> None:
        out = ("--out", tmp_path / "out")
        real, good = folders / "real", folders / "good"
        assert "two sets are called good" in command("compare", real, good, good, *out).refusal()
        assert "nowhere does not exist" in command("compare", real, tmp_path / "nowhere", *out).refusal()
        assert "is a model folder already" in command("compare", model, good, "--model", model, *out).refusal()
        command("score", model, good, "--target", "from-folder", "--out", tmp_path / "bare", "--no-value")
        assert "without the views" in command("compare", model, tmp_path / "bare", *out).refusal()
        shutil.copytree(model, tmp_path / "old")
        (tmp_path / "old/reference_views.json").unlink()
        assert "holds no reference of real images" in command("compare", tmp_path / "old", good, *out).refusal()
        assert command("compare", real).status == 2

    def test_another_model_or_other_real_images_are_refused(
        self, command: Command, folders: Path, model: Path, tmp_path: Path
    ) -> None:
        out = tmp_path / "out"
        shutil.copytree(model, out / "model")
        other = drawn(tmp_path / "other", 12, 9)
        refused = command("compare", other, folders / "good", "--out", out).refusal()
        assert "was fitted to other images" in refused
