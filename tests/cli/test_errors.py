"""Mistakes on the command line: one line, exit status 2, and no files left behind."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from iuscore import UserError
from iuscore.cli._common import check_device
from tests.fixtures import TINY, Command, class_folders, run_apart, tree, write_images


@pytest.fixture
def real(tmp_path: Path) -> Path:
    return class_folders(tmp_path / "real", n=6)


FIT_ERRORS = [
    ("--size nine", "Invalid value for '--size': expected a number such as 128, or HEIGHTxWIDTH such as 96x128, got"),
    ("--size ²", "Invalid value for '--size': expected a number such as 128"),
    ("--size 1x2x3", "Invalid value for '--size': expected a number such as 128"),
    ("--size 0", "size: expected (height, width), each at least 8, got [0, 0]"),
    ("--size 4x16", "size: expected (height, width), each at least 8, got [4, 16]"),
    ("--base-channels 0", "base_channels: expected an integer of at least 1, got 0"),
    ("--hidden-units -3", "hidden_units: expected an integer of at least 1, got -3"),
    ("--epochs 0", "epochs: expected at least 1, got 0"),
    ("--epochs many", "Invalid value for '--epochs': 'many' is not a valid integer."),
    ("--patience 0", "patience: expected at least 1, got 0"),
    ("--batch-size 1", "batch_size: expected at least 2, got 1"),
    ("--lr 0", "learning_rate: expected a positive number, got 0.0"),
    ("--lr nan", "learning_rate: expected a positive number, got nan"),
    ("--momentum 1", "momentum: expected a number in [0, 1), got 1.0"),
    ("--weight-decay -1", "weight_decay: expected 0 or more, got -1.0"),
    ("--weight-decay inf", "weight_decay: expected 0 or more, got inf"),
    ("--lr 1e30 --batch-size 2", "the training loss is not finite: lower the learning rate"),
    ("--lr 1e30 --batch-size 64", "the validation loss is not finite: lower the learning rate"),
    ("--seed -1", "Invalid value for '--seed': -1 is not in the range 0<=x<=4294967295."),
    ("--seed 4294967296", "Invalid value for '--seed': 4294967296 is not in the range"),
    ("--members 0", "Invalid value for '--members': 0 is not in the range 1<=x<=1000."),
    ("--fractions 1,2", "Invalid value for '--fractions': expected three numbers such as 0.7,0.15,0.15, got '1,2'"),
    ("--fractions nan,nan,nan", "Invalid value for '--fractions': expected three numbers such as 0.7,0.15,0.15, got"),
    ("--fractions 0.5,0.5,0.5", "fractions: expected shares of train, val and test that sum to 1"),
    ("--fractions 1,0,0", "fractions: expected shares of train, val and test that sum to 1, train and val above 0"),
    ("--group-by (", "group_by: '(' is not a regular expression: "),
    ("--group-by nothing", "group_by: "),
    ("--classes a,c", "no images of class 'c' in "),
    ("--classes a", "only one class folder with images in REAL: a; two or more are needed"),
    ("--classes ,", "classes: expected a list of class names, got []"),
    ("--classes a,A", "classes: a name comes twice in a, A"),
    ("--color blue", "Invalid value for '--color': 'blue' is not one of 'auto', 'color', 'gray'."),
    (
        "--mode paper",
        "Invalid value for '--mode': 'paper' is not one of 'clean', 'published'; did you mean 'published'?",
    ),
    ("--model cnn", "Invalid value for '--model': 'cnn' is not "),
    ("--device nowhere", "--device nowhere: "),
    ("--device meta", "--device meta: expected a device that computes, such as cpu or cuda"),
    ("--size 99999", "size: expected (height, width), each at most 16384, got [99999, 99999]"),
    ("--hidden-units 99999999", "hidden_units: expected at most 65536, got 99999999"),
    ("--base-channels 99999999999999999999", "base_channels: expected at most 65536, got 1.0e+20"),
    ("--size 16384 --hidden-units 65536", "the model would have "),
    ("--batch-size 999999999", "batch_size: expected at most 65536, got 1e+09"),
    ("--group-by a --groups folder", "--group-by and --groups exclude each other: give one of them"),
    ("--groups folder", "--groups folder: a/00.png in REAL lies in no folder of its patient below its class folder"),
    (
        "--groups OUT",
        "--groups: no file OUT: expected a CSV file with the columns file and group, the word folder, or column:NAME",
    ),
    ("--exclude *.tif", "--exclude: '*.tif' fits none of the 12 images, which are called like a/00.png"),
    ("--exclude *.png", "--exclude: nothing is left of REAL: all of its 12 images fit"),
    ("--val OUT", "no such file or folder: OUT"),
    ("--labels-from prefix", "no class can be read from "),
    ("--sise 3", "No such option"),
]


@pytest.mark.parametrize(("options", "line"), FIT_ERRORS, ids=[options for options, _ in FIT_ERRORS])
def test_mistakes_in_the_arguments_of_fit_leave_no_files(
    command: Command, real: Path, tmp_path: Path, options: str, line: str
) -> None:
    before = tree(tmp_path)
    out = tmp_path / "new" / "model"
    given = [option.replace("REAL", str(real)).replace("OUT", str(out)) for option in options.split()]
    ran = command("fit", real, "--out", out, *TINY, "--epochs", 2, *given)
    starts = line.replace("OUT", str(out)).replace("REAL", str(real))
    if "about" in ran.err:  # found in training, after the line that says how long it takes
        assert ran.status == 2
        assert [said.startswith("iuscore: ") for said in ran.said()] == [False, False, True]
        assert ran.said()[-1].startswith(f"iuscore: {starts}")
    else:
        assert ran.refusal().startswith(starts)
    assert tree(tmp_path) == before


def test_unusable_images_of_fit_are_refused(command: Command, tmp_path: Path) -> None:
    def refusal(images: Path, *options: object) -> str:
        before = tree(tmp_path)
        said = command("fit", images, "--out", tmp_path / "m", *TINY, *options).refusal()
        assert tree(tmp_path) == before
        return said.replace(str(tmp_path), "T")

    assert refusal(tmp_path / "no") == "no such file or folder: T/no"
    (tmp_path / "empty").mkdir()
    assert refusal(tmp_path / "empty").startswith("no images in T/empty: looked for *.png, ")
    class_folders(tmp_path / "one", "a")
    assert refusal(tmp_path / "one") == "only one class folder with images in T/one: a; two or more are needed"
    class_folders(tmp_path / "few", n=1)
    assert "T/few" in refusal(tmp_path / "few") or "class" in refusal(tmp_path / "few")
    class_folders(tmp_path / "ab", n=6)
    class_folders(tmp_path / "abc", "abc", n=6)
    said = refusal(tmp_path / "abc", "--val", tmp_path / "ab")
    assert said == "classes differ: training images are a, b, c, val images are a, b"
    assert "one.txt" in refusal(write_text(tmp_path / "one.txt"))
    assert refusal(write_text(tmp_path / "damaged.npz")) == (
        "T/damaged.npz: damaged or no .npz archive: File is not a zip file"
    )
    np.savez(tmp_path / "foreign.npz", x=np.zeros(3))
    assert refusal(tmp_path / "foreign.npz") == "T/foreign.npz has no train_images: it has x"
    bad = class_folders(tmp_path / "bad", n=6)
    for path in (bad / "b").iterdir():
        path.write_bytes(b"")
    assert refusal(bad) == "no readable train image of class 'b'"
    single = write_images(tmp_path / "single", ["a.png"])
    assert refusal(single / "a.png")


def write_text(path: Path) -> Path:
    path.write_text("hello")
    return path


def test_fit_refuses_a_file_as_output_folder(command: Command, real: Path, tmp_path: Path) -> None:
    path = write_text(tmp_path / "file")
    said = command("fit", real, "--out", path, *TINY).refusal()
    assert said == f"{path} is a file: give a folder to write the model to"
    assert command("fit", real, "--out", path / "below", *TINY).refusal().startswith("Not a directory: ")
    assert path.read_text() == "hello"


def test_fit_without_memory_suggests_smaller_options(
    command: Command, real: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("iuscore.fit.run.prepare_source", lambda *_, **__: torch.empty(2**60))
    said = command("fit", real, "--out", tmp_path / "m", *TINY).refusal()
    assert said.startswith("not enough memory, use a smaller --size or --batch-size: ")
    assert not (tmp_path / "m").exists()


def test_fit_without_tensorboard_names_the_extra(
    command: Command, real: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "torch.utils.tensorboard", None)
    said = command("fit", real, "--out", tmp_path / "m", *TINY, "--tensorboard").refusal()
    assert said == "--tensorboard needs the extra: pip install -c constraints.txt '.[tensorboard]'"
    assert not (tmp_path / "m").exists()


class TestScore:
    def refusal(self, command: Command, tmp_path: Path, *arguments: object) -> str:
        before = tree(tmp_path)
        if "--target" not in arguments:
            arguments = (*arguments, "--target", "a")
        said = command("score", *arguments, "--out", tmp_path / "new" / "out").refusal()
        assert tree(tmp_path) == before
        return said.replace(str(tmp_path), "T")

    def test_unusable_images_are_refused(self, command: Command, fitted: Path, tmp_path: Path) -> None:
        assert self.refusal(command, tmp_path, fitted, tmp_path / "no") == "no such file or folder: T/no"
        (tmp_path / "empty").mkdir()
        said = self.refusal(command, tmp_path, fitted, tmp_path / "empty")
        assert said.startswith("no images in T/empty: looked for *.png, ")
        assert "T/x.txt is no image file" in self.refusal(command, tmp_path, fitted, write_text(tmp_path / "x.txt"))
        image = write_images(tmp_path, ["a.png"]) / "a.png"
        assert self.refusal(command, tmp_path, fitted, image, "--split", "val")
        assert "val" in self.refusal(command, tmp_path, fitted, tmp_path, "--split", "val")
        said = self.refusal(command, tmp_path, fitted, write_text(tmp_path / "x.npz"), "--split", "val")
        assert said == "T/x.npz: damaged or no .npz archive: File is not a zip file"

    def test_unusable_targets_are_refused(self, command: Command, fitted: Path, tmp_path: Path) -> None:
        class_folders(tmp_path / "ac", "ac", n=1)
        write_images(tmp_path / "flat", ["a.png"])
        known = "the model has profiles of a, b"
        target: tuple[str, ...] = ("--target", "c")
        said = self.refusal(command, tmp_path, fitted, tmp_path / "ac", *target)
        assert said == f"target: no class 'c': {known}"
        target = ("--target", "from-folder", "--labels-from", "folder")
        said = self.refusal(command, tmp_path, fitted, tmp_path / "ac", *target)
        hint = "say what it stands for, such as --map c=a"
        assert said == f"T/ac: label 'c' is no class of the model (a, b): {hint}"
        said = self.refusal(command, tmp_path, fitted, tmp_path / "flat", *target)
        assert said.startswith("no class folders in T/flat")
        assert "such as a.png, begin with the class, give --labels-from prefix" in said
        said = self.refusal(command, tmp_path, fitted, tmp_path / "flat/a.png", *target)
        assert said == "T/flat/a.png lies in no class folder: give the folder above the class folders"

    def test_unusable_model_folders_are_refused(self, command: Command, fitted: Path, tmp_path: Path) -> None:
        images = write_images(tmp_path / "images", ["a.png"])

        def refusal(model: Path) -> str:
            return self.refusal(command, tmp_path, model, images)

        assert refusal(tmp_path / "no").startswith("no model folder T/no: ")
        torch.save({"x": torch.zeros(2)}, tmp_path / "model.pt")
        assert refusal(tmp_path / "model.pt").startswith("no model folder T/model.pt: ")
        assert refusal(images).startswith("no T/images/config.json: not a model folder")
        model = tmp_path / "copy"
        shutil.copytree(fitted, model)
        shutil.copy(tmp_path / "model.pt", model / "model.safetensors")
        assert refusal(model).startswith("T/copy/model.safetensors: cut short or damaged (")
        whole = (fitted / "model.safetensors").read_bytes()
        (model / "model.safetensors").write_bytes(whole[:-1])
        assert refusal(model).startswith("T/copy/model.safetensors: cut short or damaged (")
        (model / "model.safetensors").write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        assert refusal(model).startswith("T/copy/model.safetensors: changed since config.json was written")
        (model / "model.safetensors").write_bytes(whole)
        text = (fitted / "config.json").read_text()
        for content in ("", "hello", text[: len(text) // 2], "[1, 2]", '{"format": 99}', "\x00\xff"):
            (model / "config.json").write_text(content)
            assert refusal(model).startswith("T/copy/config.json: ")
        changed = text.replace('"member_means"', '"other"')
        (model / "config.json").write_text(changed)
        assert "config.json: changed since it was written (its SHA-256 differs); copy the model" in refusal(model)
        (model / "config.json").write_text(changed.replace('"config_sha256"', '"nothing"'))
        assert "config.json: profiles.paper.a.member_means: is missing; copy the model folder" in refusal(model)
        (model / "config.json").write_text(text.replace('"profiles', '"other').replace('"config_sha256"', '"nothing"'))
        assert refusal(model) == "space: the model has no 'paper' profiles (it has: none)"

    def test_a_file_as_output_folder_is_refused(self, command: Command, fitted: Path, tmp_path: Path) -> None:
        images, path = write_images(tmp_path / "images", ["a.png"]), write_text(tmp_path / "file")
        said = command("score", fitted, images, "--target", "a", "--out", path).refusal()
        assert said == f"{path} is a file: give a folder to write the scores to"
        ran = command("score", fitted, images, "--target", "a", "--out", path / "below")
        assert (ran.status, ran.said()[-1].startswith("iuscore: Not a directory: ")) == (2, True)

    @pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write everywhere")
    def test_a_read_only_output_folder_is_refused(self, command: Command, fitted: Path, tmp_path: Path) -> None:
        images = write_images(tmp_path / "images", ["a.png"])
        (tmp_path / "locked").mkdir(mode=0o500)
        ran = command("score", fitted, images, "--target", "a", "--out", tmp_path / "locked")
        assert (ran.status, ran.said()[-1].startswith("iuscore: Permission denied: ")) == (2, True)

    def test_options_that_cannot_work_are_refused(
        self, command: Command, fitted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        images = write_images(tmp_path / "images", ["a.png"])
        said = self.refusal(command, tmp_path, fitted, images, "--batch-size", 0)
        assert said == "Invalid value for '--batch-size': 0 is not in the range 1<=x<=65536."
        for device in ("meta", "gpu", "cpu:99999", "cuda:99999", "mps", "cuda:x"):
            said = self.refusal(command, tmp_path, fitted, images, "--device", device)
            assert said.startswith(f"--device {device}: ")
            assert len(said) < 120
        said = self.refusal(command, tmp_path, fitted, images, "--ray-address", "auto")
        assert (
            said == "--ray-address: only --launcher ray has a cluster, not local: leave it out, or give --launcher ray"
        )
        assert self.refusal(command, tmp_path, fitted, images, "--space", "x").startswith("Invalid value for '--space'")
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
        said = self.refusal(command, tmp_path, fitted, images, "--plot")
        assert said == "a plot needs the extra: pip install -c constraints.txt '.[plot]'"


@pytest.mark.parametrize(
    ("there", "device", "said"),
    [
        (1, "cuda:1", "expected cuda or cuda:0: PyTorch finds 1 GPU on this machine"),
        (4, "cuda:4", "expected cuda:0 to cuda:3: PyTorch finds 4 GPUs on this machine"),
        (0, "cuda", "PyTorch finds no GPU on this machine: use cpu; iuscore doctor says what is there"),
    ],
)
def test_missing_gpus_are_named(monkeypatch: pytest.MonkeyPatch, there: int, device: str, said: str) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: there)
    with pytest.raises(UserError) as refused:
        check_device(device)
    assert str(refused.value) == f"--device {device}: {said}"


def test_import_of_unusable_folders_is_refused(command: Command, fitted: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for folder in (tmp_path / "no", tmp_path / "empty"):
        assert str(folder) in command("import-reference", folder, "--out", tmp_path / "m").refusal()
    said = command("import-reference", tmp_path / "empty", "--out", fitted).refusal()
    assert said == f"{fitted} already holds a model: give another folder"
    assert not (tmp_path / "m").exists()


def test_missing_arguments_and_unknown_commands_are_named(command: Command) -> None:
    assert command("score").refusal() == "Missing argument 'MODEL'."
    assert command("scoer").refusal().startswith("No such command 'scoer'.")
    nothing = command()
    assert (nothing.status, nothing.out) == (2, "")
    assert nothing.err.startswith("Usage: iuscore")
    for option in ("--help", "-h"):
        assert command(option).status == 0
    for name in ("fit", "score", "demo", "doctor", "import-reference"):
        assert command(name, "--help").out.startswith(f"Usage: iuscore {name} ")
    assert command("--version").status == 0


def test_doctor_lists_version_and_back_ends(command: Command) -> None:
    ran = command("doctor")
    assert ran.status == 0
    assert ran.out.startswith("iuscore ")
    assert "perceptual_maps on cpu: cpu" in ran.out


def test_exit_status_of_the_process(tmp_path: Path) -> None:
    ran = run_apart("score", tmp_path / "no", tmp_path, "--target", "a", "--out", tmp_path / "out")
    assert ran.refusal().startswith(f"no model folder {tmp_path / 'no'}: ")
    assert ran.err.count("\n") == 1
