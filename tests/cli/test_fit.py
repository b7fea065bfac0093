"""`iuscore fit`: where images may come from, what is written, and runs that are stopped and taken up again."""

from __future__ import annotations

import re
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import iuscore
import iuscore.cli
from iuscore import phantoms
from iuscore.fit import log, run, training
from iuscore.models import load_model
from tests.fixtures import (
    EXIT_INTERRUPTED,
    TINY,
    Command,
    class_folders,
    log_of,
    record_of,
    run_apart,
    signal_when_there,
    tree,
    write_images,
)

WEIGHTS = "model.safetensors"

WRITTEN = ["config.json", "log.jsonl", WEIGHTS, "reference_views.json", "reference_views.safetensors"]


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve gray images each of the classes a and b."""
    return class_folders(tmp_path_factory.mktemp("data") / "real")


def weights(folder: Path) -> bytes:
    return (folder / WEIGHTS).read_bytes()


def fit(command: Command, images: Path, out: Path, *options: object, epochs: int = 1) -> dict[str, Any]:
    ran = command("fit", images, "--out", out, *TINY, "--epochs", epochs, *options)
    assert ran.status == 0, ran.err
    return record_of(out)


class TestSources:
    def test_a_folder_per_class_is_split_at_random(self, command: Command, real: Path, tmp_path: Path) -> None:
        record = fit(command, real, tmp_path / "m")
        assert record["data"]["counts"] == {
            "train": {"a": 8, "b": 8},
            "val": {"a": 2, "b": 2},
            "test": {"a": 2, "b": 2},
        }
        assert record["model"]["classes"] == ["a", "b"]
        assert record["model"]["color"] == "gray"
        assert sorted(path.name for path in (tmp_path / "m").iterdir()) == WRITTEN

    def test_phantoms_with_their_splits(self, command: Command, tmp_path: Path) -> None:
        phantoms.write(tmp_path / "real", "endoscopy", n_per_class=10, size=16)
        record = fit(command, tmp_path / "real", tmp_path / "m", "--mode", "published")
        assert record["model"]["color"] == "color"
        assert record["model"]["mode"] == "published"
        assert record["model"]["map_sd"] == [1.0] * 4  # the published measure standardizes nothing
        assert record["data"]["origin"] == "folders train, val and test"
        assert record["data"]["counts"]["test"] == {"abnormal": 2, "normal": 2}

    def test_file_name_prefixes_are_classes(self, command: Command, tmp_path: Path) -> None:
        write_images(tmp_path / "real", [f"{c}_{i}.png" for c in ("aorta", "bone") for i in range(8)])
        assert fit(command, tmp_path / "real", tmp_path / "m")["model"]["classes"] == ["aorta", "bone"]

    def test_val_and_test_may_lie_elsewhere(self, command: Command, tmp_path: Path) -> None:
        for seed, part in enumerate(("t", "v", "e")):
            class_folders(tmp_path / part, n=4, seed=seed)
        record = fit(command, tmp_path / "t", tmp_path / "m", "--val", tmp_path / "v", "--test", tmp_path / "e")
        assert record["data"]["origin"] == "folders given"
        assert record["ceiling"]["paper"]["a"]["source"] == "test"
        record = fit(command, tmp_path / "t", tmp_path / "n", "--val", tmp_path / "v")
        assert record["test"] is None
        assert record["ceiling"]["paper"]["a"]["source"] == "leave-one-out"

    def test_shared_images_are_a_warning(self, command: Command, real: Path, tmp_path: Path) -> None:
        ran = command("fit", real, "--val", real, "--out", tmp_path / "m", *TINY, "--epochs", 1)
        assert ran.status == 0
        assert ran.said()[0].startswith("warning: train and val share 24 ")
        assert record_of(tmp_path / "m")["data"]["warnings"]

    def test_a_medmnist_file_keeps_its_splits(self, command: Command, tmp_path: Path) -> None:
        rng = np.random.default_rng(0)
        arrays: dict[str, Any] = {}
        for part, n in (("train", 12), ("val", 6), ("test", 6)):
            arrays[f"{part}_images"] = rng.integers(0, 256, (n, 20, 20), dtype=np.uint8)
            arrays[f"{part}_labels"] = (np.arange(n) % 2)[:, None]
        np.savez(tmp_path / "pneumonia.npz", **arrays)
        record = fit(command, tmp_path / "pneumonia.npz", tmp_path / "m", "--classes", "normal,pneumonia")
        assert record["model"]["classes"] == ["normal", "pneumonia"]
        assert record["data"]["counts"]["val"] == {"normal": 3, "pneumonia": 3}

    def test_groups_stay_in_one_part(self, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        seen: list[set[str]] = []
        prepare = run.prepare_source

        def noted(model: Any, part: Any, *args: Any, **options: Any) -> Any:
            seen.append({item.uid.split("_")[0] for item in part.items})
            return prepare(model, part, *args, **options)

        monkeypatch.setattr("iuscore.fit.run.prepare_source", noted)
        write_images(tmp_path / "r", [f"{c}/p{p}{c}_{i}.png" for c in "ab" for p in range(8) for i in range(3)])
        fit(command, tmp_path / "r", tmp_path / "m", "--group-by", "^p[^_]+")
        assert len(seen) == 3
        assert sum(map(len, seen)) == len(set.union(*seen)) == 16

    def test_classes_chooses_classes_and_their_order(self, command: Command, real: Path, tmp_path: Path) -> None:
        assert fit(command, real, tmp_path / "m", "--classes", "b, a")["model"]["classes"] == ["b", "a"]
        three = class_folders(tmp_path / "three", "abc", n=8)
        assert fit(command, three, tmp_path / "n", "--classes", "c,a")["model"]["classes"] == ["c", "a"]

    def test_three_classes_have_three_outputs(self, command: Command, tmp_path: Path) -> None:
        record = fit(command, class_folders(tmp_path / "r", "abc", n=8), tmp_path / "m")
        assert sorted(record["profiles"]["paper"]) == ["a", "b", "c"]
        assert 0 <= record["validation"]["auroc"] <= 1
        assert load_model(tmp_path / "m")[0].n_outputs == 3

    def test_color_of_images_decides_unless_an_option_does(self, command: Command, real: Path, tmp_path: Path) -> None:
        assert fit(command, real, tmp_path / "1", "--color", "color")["model"]["color"] == "color"
        rgb = class_folders(tmp_path / "rgb", n=6, channels=3)
        assert fit(command, rgb, tmp_path / "2", "--fractions", "0.5,0.5,0")["model"]["color"] == "color"
        assert fit(command, rgb, tmp_path / "3", "--fractions", "0.5,0.5,0", "--color", "gray")["test"] is None

    def test_unreadable_images_are_left_out(self, command: Command, tmp_path: Path) -> None:
        class_folders(tmp_path / "r", n=12)
        (tmp_path / "r/a/03.png").write_bytes(b"")
        ran = command("fit", tmp_path / "r", "--out", tmp_path / "m", *TINY, "--epochs", 1)
        assert ran.status == 1
        assert ran.said()[-2:] == [
            "left out: a/03.png: empty file (0 bytes)",
            "images that could not be read and were left out: 1",
        ]
        counts = record_of(tmp_path / "m")["data"]["counts"]
        assert sum(part["a"] for part in counts.values()) == 11
        ran = command("fit", tmp_path / "r", "--out", tmp_path / "s", *TINY, "--strict")
        assert ran.refusal() == "a/03.png: empty file (0 bytes) (--strict)"
        assert not (tmp_path / "s").exists()


class TestOutput:
    def test_same_seed_same_model(self, command: Command, real: Path, tmp_path: Path) -> None:
        torch.manual_seed(1)
        first = fit(command, real, tmp_path / "1", "--seed", 3, epochs=2)
        torch.manual_seed(2)
        second = fit(command, real, tmp_path / "2", "--seed", 3, epochs=2)
        fit(command, real, tmp_path / "3", "--seed", 4, epochs=2)
        assert weights(tmp_path / "1") == weights(tmp_path / "2") != weights(tmp_path / "3")
        assert first == second

    def test_says_first_how_long_it_takes(self, command: Command, real: Path, tmp_path: Path) -> None:
        ran = command("fit", real, "--out", tmp_path / "m", *TINY, "--size", "32x40", "--epochs", 1)
        time = r"\d[\d.]* (s|min|h)"
        assert re.fullmatch(f"about {time} an epoch and member on this machine, at most 1 epochs", ran.said()[0])
        assert re.match(r"model written to \S+: validation AUROC [\d.]+ on 4 images\ntest AUROC ", ran.out)
        assert ran.out.count("(ceiling, test)") == 2

    def test_the_log_has_a_line_for_each_epoch_and_member(self, command: Command, real: Path, tmp_path: Path) -> None:
        record = fit(command, real, tmp_path / "m", "--members", 2, "--seed", 5, epochs=2)
        entries = log_of(tmp_path / "m")
        assert [(e["member"], e["seed"], e["epoch"]) for e in entries] == [(0, 5, 1), (0, 5, 2), (1, 6, 1), (1, 6, 2)]
        assert set(entries[0]) == {
            "time", "member", "seed", "epoch", "train_loss", "val_loss", "val_auroc", "val_accuracy", "best_epoch"
        }  # fmt: skip
        assert [member["seed"] for member in record["members"]] == [5, 6]
        assert len(record["profiles"]["paper"]["a"]["member_means"]) == 2
        alone = fit(command, real, tmp_path / "n", "--seed", 5, epochs=2)
        first = {k: v for k, v in load_model(tmp_path / "m")[0].state_dict().items() if k.startswith("members.0.")}
        for name, value in load_model(tmp_path / "n")[0].state_dict().items():
            assert torch.equal(first[name], value)
        assert alone["members"][0] == record["members"][0]

    def test_tensorboard_events_are_written(self, command: Command, real: Path, tmp_path: Path) -> None:
        pytest.importorskip("tensorboard")
        fit(command, real, tmp_path / "m", "--tensorboard")
        (events,) = (tmp_path / "m/tensorboard").iterdir()
        assert b"member0/val_loss" in events.read_bytes()

    def test_an_existing_model_is_replaced_only_with_overwrite(
        self, command: Command, real: Path, tmp_path: Path
    ) -> None:
        fit(command, real, tmp_path / "m")
        before = tree(tmp_path)
        ran = command("fit", real, "--out", tmp_path / "m", *TINY)
        assert ran.refusal() == f"{tmp_path / 'm'} already holds a model: use --overwrite or another folder"
        ran = command("fit", real, "--out", tmp_path / "m", *TINY, "--resume")
        assert ran.refusal() == f"--resume: {tmp_path / 'm'} holds a finished model"
        assert tree(tmp_path) == before
        ran = command("fit", real, "--out", tmp_path / "m", *TINY, "--resume", "--overwrite")
        assert ran.refusal() == "--resume and --overwrite exclude each other: give one of them"
        ran = command("fit", real, "--out", tmp_path / "m", *TINY, "--overwrite", "--lr", "1e30")
        assert ran.said()[-1] == "iuscore: the training loss is not finite: lower the learning rate"
        assert tree(tmp_path) == {k: v for k, v in before.items() if k != "m/log.jsonl"}
        fit(command, real, tmp_path / "m", "--overwrite", "--seed", 9)
        assert weights(tmp_path / "m") != before[f"m/{WEIGHTS}"]
        assert len(log_of(tmp_path / "m")) == 1


def stop_at(monkeypatch: pytest.MonkeyPatch, place: str, call: int) -> None:
    """Send a real SIGINT to this process in the ``call``-th call of ``place``."""
    owner, name = {
        "batch": (log.TrainingLog, "batch"),
        "save": (training, "_save"),
        "profiles": (run, "_profiles"),
        "read": (run, "prepare_source"),
    }[place]
    original = getattr(owner, name)
    calls = 0

    def stopping(*args: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == call:
            signal.raise_signal(signal.SIGINT)
        return original(*args, **options)

    monkeypatch.setattr(owner, name, stopping)


OPTIONS = (*TINY, "--epochs", 3, "--patience", 9, "--members", 2)


@pytest.fixture(scope="module")
def whole(real: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whole") / "m"
    # In a separate process, which also shows that processes agree.
    assert run_apart("fit", real, "--out", out, *OPTIONS).status == 0
    return out


@pytest.fixture(scope="module")
def interrupted(real: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("interrupted") / "m"
    with pytest.MonkeyPatch.context() as patch:
        stop_at(patch, "batch", 4)
        patch.setattr(sys, "argv", ["iuscore", "fit", str(real), "--out", str(out), *map(str, OPTIONS)])
        with pytest.raises(SystemExit):
            iuscore.cli.main()
    return out


class TestStopped:
    """Two members, three epochs, two batches each; resuming must give the model of an uninterrupted training."""

    def finishes(self, command: Command, real: Path, out: Path, whole: Path) -> None:
        ran = command("fit", real, "--out", out, *OPTIONS, "--resume")
        assert ran.status == 0, ran.err
        assert weights(out) == weights(whole)
        assert record_of(out) == record_of(whole)
        strip = [{k: v for k, v in entry.items() if k != "time"} for entry in log_of(out)]
        assert strip == [{k: v for k, v in entry.items() if k != "time"} for entry in log_of(whole)]
        assert sorted(path.name for path in out.iterdir()) == WRITTEN

    @pytest.mark.parametrize(
        ("place", "call", "epochs"), [("batch", 4, [1]), ("save", 2, [2]), ("batch", 9, [3, 1]), ("save", 6, [3, 3])]
    )
    def test_keeps_the_best_so_far(
        self, command: Command, real: Path, tmp_path: Path, whole: Path, place: str, call: int, epochs: list[int]
    ) -> None:
        with pytest.MonkeyPatch.context() as patch:
            stop_at(patch, place, call)
            ran = command("fit", real, "--out", tmp_path / "m", *OPTIONS)
        finished = epochs == [3, 3]  # the last epoch was complete, so there is nothing left to do
        assert ran.status == (0 if finished else EXIT_INTERRUPTED)
        record = record_of(tmp_path / "m")
        assert [member["epochs"] for member in record["members"]] == epochs
        assert record["training"]["interrupted"] is not finished
        assert iuscore.load(tmp_path / "m").classes == ("a", "b")
        if finished:
            return
        assert ran.said()[-1] == f"interrupted: {tmp_path / 'm'} holds the best weights so far; --resume goes on"
        refused = command("fit", real, "--out", tmp_path / "m", *OPTIONS).refusal()
        assert "already holds an interrupted training: use --resume, --overwrite or another folder" in refused
        self.finishes(command, real, tmp_path / "m", whole)

    @pytest.mark.parametrize(("place", "call"), [("read", 2), ("batch", 2)])
    def test_an_interruption_before_the_first_epoch_leaves_nothing(
        self, command: Command, real: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, call: int
    ) -> None:
        stop_at(monkeypatch, place, call)
        ran = command("fit", real, "--out", tmp_path / "new/m", *OPTIONS)
        assert ran.status == EXIT_INTERRUPTED
        assert ran.said()[-1] == "interrupted: no epoch was complete, nothing is kept; the same command begins again"
        assert tree(tmp_path) == {}

    @pytest.mark.parametrize("options", [(), ("--resume",)])
    def test_resume_begins_again_where_no_epoch_is_kept(
        self, command: Command, real: Path, tmp_path: Path, whole: Path, options: tuple[str, ...]
    ) -> None:
        """Begins from the files that a kill in the first epoch leaves, and from an empty folder."""
        for out in (tmp_path / "killed", tmp_path / "new"):
            if out.name == "killed":
                (out / "training").mkdir(parents=True)
                (out / "training/member0.safetensors.tmp").write_bytes(b"half")
                (out / ".prepared-left").mkdir()
            ran = command("fit", real, "--out", out, *OPTIONS, *options)
            assert ran.status == 0, ran.err
            assert (f"nothing to resume in {out}: the training begins" in ran.said()) is bool(options)
            assert weights(out) == weights(whole)
            assert sorted(path.name for path in out.iterdir()) == WRITTEN

    def test_an_interruption_after_training_keeps_all_epochs(
        self, command: Command, real: Path, tmp_path: Path, whole: Path
    ) -> None:
        with pytest.MonkeyPatch.context() as patch:
            stop_at(patch, "profiles", 1)
            ran = command("fit", real, "--out", tmp_path / "m", *OPTIONS)
        assert ran.status == EXIT_INTERRUPTED
        assert ran.said()[-1] == f"interrupted: {tmp_path / 'm'} keeps the finished epochs; --resume goes on"
        self.finishes(command, real, tmp_path / "m", whole)

    @pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGKILL])
    def test_sigint_from_another_process_keeps_the_finished_epochs(
        self, command: Command, real: Path, tmp_path: Path, whole: Path, sign: signal.Signals
    ) -> None:
        marker, out = tmp_path / "there", tmp_path / "m"
        code = f"""
import pathlib, time
from iuscore.fit import log
batch, calls = log.TrainingLog.batch, []
def waiting(self, *args):
    calls.append(1)
    if len(calls) == 4:
        pathlib.Path({str(marker)!r}).touch()
        time.sleep(600)
    batch(self, *args)
log.TrainingLog.batch = waiting
"""
        ran = signal_when_there(sign, marker, "fit", real, "--out", out, *OPTIONS, code=code)
        if sign == signal.SIGINT:
            assert ran.status == EXIT_INTERRUPTED
            assert ran.said()[-1] == f"interrupted: {out} holds the best weights so far; --resume goes on"
            assert "Traceback" not in ran.err
            assert iuscore.load(out).classes == ("a", "b")
        else:
            assert ran.status == -signal.SIGKILL
            assert not (out / "config.json").exists()
            (out / ".prepared-left").mkdir()  # what a kill may leave at another instant
            (out / "training/member0.safetensors.tmp").write_bytes(b"half")
        self.finishes(command, real, out, whole)

    @pytest.mark.parametrize(
        ("change", "named"),
        [
            (("--epochs", 4), "--epochs was 3, now it is 4"),
            (("--lr", "0.5"), "--lr was 0.001, now it is 0.5"),
            (("--base-channels", 3), "--base-channels was 2, now it is 3"),
            (("--size", 24), "--size was [16, 16], now it is [24, 24]"),
            (("--mode", "published"), "--mode was 'clean', now it is 'published'"),
            (("--classes", "b,a"), "--classes was ['a', 'b'], now it is ['b', 'a']"),
            (("--seed", 1), "--seed was 0, now it is 1"),
            (("--fractions", "0.5,0.25,0.25"), "the train images are others than before"),
        ],
    )
    def test_resume_refuses_other_options(
        self, command: Command, real: Path, interrupted: Path, change: tuple[str, object], named: str
    ) -> None:
        before = tree(interrupted)
        ran = command("fit", real, "--out", interrupted, *OPTIONS, *change, "--resume")
        assert ran.status == 2
        assert ran.said()[-1].startswith(f"iuscore: --resume: {named}")
        assert ran.said()[-1].endswith("; use the same options and data, or another folder")
        assert tree(interrupted) == before

    def test_a_damaged_state_is_named(self, command: Command, real: Path, interrupted: Path) -> None:
        state = interrupted / "training/member0.safetensors"
        whole = state.read_bytes()
        for content in (b"", whole[: len(whole) // 2], b"not safetensors at all, but long enough for a header"):
            state.write_bytes(content)
            ran = command("fit", real, "--out", interrupted, *OPTIONS, "--resume")
            assert ran.status == 2
            assert ran.said()[-1].startswith(f"iuscore: {state}: damaged (")
        state.write_bytes(whole)

    def test_overwrite_replaces_an_interrupted_training(
        self, command: Command, real: Path, tmp_path: Path, whole: Path
    ) -> None:
        with pytest.MonkeyPatch.context() as patch:
            stop_at(patch, "batch", 4)
            command("fit", real, "--out", tmp_path / "m", *OPTIONS, "--seed", 7)
        bad = command("fit", tmp_path / "no", "--out", tmp_path / "m", *OPTIONS, "--overwrite")
        assert bad.refusal() == f"no such file or folder: {tmp_path / 'no'}"
        assert (tmp_path / "m/training/member0.safetensors").exists()
        ran = command("fit", real, "--out", tmp_path / "m", *OPTIONS, "--overwrite")
        assert ran.status == 0
        assert weights(tmp_path / "m") == weights(whole)
