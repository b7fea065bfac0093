"""The metric among processes, its plot, what it refuses, and what importing it needs."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import pytest
import torch
import torch.distributed as dist
from torch import multiprocessing
from torchmetrics import MeanMetric

import iuscore
from iuscore import UserError, demo, phantoms
from iuscore.metrics import UtilitySimilarity
from iuscore.scoring import Scorer
from tests.project.tree import python

pytestmark = pytest.mark.usefixtures("one_thread")

PIXELS = torch.from_numpy(phantoms.draw("radiograph", "abnormal", 9, size=32, seed=2))
PIXELS[3] = 255 - PIXELS[3]
PIXELS[5:7] = torch.randint(0, 256, PIXELS[5:7].shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return demo.tiny_model(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def scorer(folder: Path) -> Scorer:
    return iuscore.load(folder)


BATCHES = ([PIXELS[:4], PIXELS[4:5], PIXELS[5:7]], [PIXELS[:0], PIXELS[7:]])
"""Of two processes: other numbers of batches, of other sizes, and a first one without images."""


def _rank(rank: int, folder: str, out: str) -> None:
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{out}/store", rank=rank, world_size=len(BATCHES))
    metric = UtilitySimilarity(folder, target="abnormal")
    for batch in BATCHES[rank]:
        metric.update(batch)
    together = metric.compute()
    metric.update(PIXELS[:1])  # goes on with this process's own sums
    other = UtilitySimilarity(folder, target=demo.CLASSES[rank])
    other.update(PIXELS[:2])
    try:
        other.compute()
        said = ""
    except UserError as error:
        said = str(error)
    torch.save({"together": together, "own": metric.counts, "said": said}, f"{out}/{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()


@pytest.mark.skipif(sys.platform == "win32", reason="gloo over a file")
def test_two_processes_are_one(folder: Path, tmp_path: Path) -> None:
    multiprocessing.spawn(_rank, (str(folder), str(tmp_path)), nprocs=len(BATCHES))
    alone = UtilitySimilarity(folder, target="abnormal")
    alone.update(PIXELS)
    found = [torch.load(tmp_path / f"{rank}.pt") for rank in range(len(BATCHES))]
    for rank in found:
        for name, value in alone.compute().items():
            torch.testing.assert_close(rank["together"][name], value, rtol=0, atol=1e-6, msg=name)
    assert float(found[0]["together"]["scored"]) == 9
    assert [rank["own"].tolist() for rank in found] == [[8, 0], [3, 0]]
    assert any("another model or target" in rank["said"] for rank in found)


def test_unusable_images_and_targets_are_refused(scorer: Scorer, folder: Path) -> None:
    with pytest.raises(UserError, match="target: no class 'z': the model has profiles of normal, abnormal"):
        UtilitySimilarity(scorer, "z")
    with pytest.raises(UserError, match="batch_size: expected at least 1, got 0"):
        UtilitySimilarity(scorer, "normal", batch_size=0)
    with pytest.raises(UserError, match="nowhere"):
        UtilitySimilarity(folder / "nowhere", "normal")
    with pytest.raises(ValueError, match="Unexpected keyword arguments: `tagret`"):
        UtilitySimilarity(scorer, tagret="normal")
    metric = UtilitySimilarity(scorer)
    for target, said in (
        (None, "target: expected a class, of the metric or of this update, got none"),
        ("z", "target: no class 'z'"),
        (["normal"], "expected one class or 9 classes, got 1"),
        ([0, 1] * 4 + [2], "labels 0 to 1 of normal, abnormal, got 2"),
        (torch.rand(9), "expected names of classes, or labels 0 to 1"),
        (1.5, r"target: expected names of classes, or labels 0 to 1 of .*; or one class per image; got 1\.5"),
        (True, "target: expected names of classes, or labels 0 to 1 of .*, got True"),
    ):
        with pytest.raises(UserError, match=said):
            metric.update(PIXELS, target=target)
    for images, got in ((PIXELS[0], r"\[32, 32, 1\]"), (list(PIXELS), "list")):
        with pytest.raises(TypeError, match=rf"images: expected a tensor \[B, C, H, W\].*got {got}"):
            metric.update(images, target="normal")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="images: expected dtype"):
        metric.update(PIXELS.double() / 255, target="normal")
    with pytest.raises(ValueError, match="pass layout="):
        metric.update(PIXELS[:, :1], target="normal")
    assert metric.counts.tolist() == [0, 0]
    narrow = UtilitySimilarity(scorer, "normal", layout="NHWC")
    narrow.update(PIXELS[:, :1])
    assert narrow.counts.tolist() == [9, 0]


def test_sums_of_another_target_are_refused(scorer: Scorer) -> None:
    metric, other = (UtilitySimilarity(scorer, name) for name in demo.CLASSES)
    other.update(PIXELS)
    for incoming in (other, other.metric_state):
        with pytest.raises(UserError, match="sums of another model or target"):
            metric.merge_state(incoming)
    for foreign in (MeanMetric(), {"sums": metric.sums}, 3):
        with pytest.raises(ValueError, match="Expected"):
            metric.merge_state(foreign)  # type: ignore[arg-type]
    other.persistent(True)
    metric.load_state_dict(other.state_dict())
    metric.update(PIXELS[:0])
    with pytest.raises(UserError, match="sums of another model or target"):
        metric.compute()


def test_without_images_the_values_are_nan(scorer: Scorer) -> None:
    metric = UtilitySimilarity(scorer, "normal")
    with pytest.warns(UserWarning, match="called before the ``update`` method"):
        values = metric.compute()
    assert values["ius"].isnan()
    assert float(values["scored"]) == 0


@pytest.mark.parametrize(
    ("scale", "advice"), [(lambda x: x * 2 - 1, r"\(x \+ 1\) / 2"), (lambda x: x * 255, "divide them by 255")]
)
def test_floats_of_another_range_are_told_of(scorer: Scorer, scale: object, advice: str) -> None:
    assert callable(scale)
    metric = UtilitySimilarity(scorer, "normal")
    unit = PIXELS.float() / 255
    metric.update(unit * 1.1 - 0.05)  # overshoots a little
    with pytest.warns(UserWarning, match=rf"expected floats in \[0, 1\], got .* {advice}"):
        metric.update(scale(unit))


def test_plot_draws_scores_alone(scorer: Scorer) -> None:
    metric = UtilitySimilarity(scorer, "abnormal")
    steps = [metric(PIXELS[i : i + 3]) for i in (0, 3, 6)]
    names = ["ius", *(f"share/{name}" for name in scorer.components)]
    for value, points in ((None, 1), (steps, 3)):
        figure, axis = metric.plot(value)
        lines = {line.get_label(): line.get_ydata() for line in axis.get_lines()}
        assert list(lines) == names
        assert {len(line) for line in lines.values()} == {points}
        figure.canvas.draw()
        plt.close(figure)
    figure, axis = plt.subplots()
    assert metric.plot(ax=axis) == (None, axis)
    plt.close(figure)


def test_plot_without_matplotlib_names_the_extra(scorer: Scorer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"a plot needs the extra: pip install -c constraints.txt '.\[plot\]'"):
        UtilitySimilarity(scorer, "normal").plot()


def test_torchmetrics_is_an_extra() -> None:
    code = "import sys, iuscore; assert 'torchmetrics' not in sys.modules; sys.modules['torchmetrics'] = None\n"
    done = python("-c", f"{code}import iuscore.metrics")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "ImportError: metrics need the extra: pip install -c constraints.txt '.[metrics]'"
    )
