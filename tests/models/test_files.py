"""Model folders: what is written, what comes back, and what is said of a damaged one."""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor

from iuscore.errors import UserError
from iuscore.models import EPUCNN, Ensemble, ModelRecord, load_model, save_model
from iuscore.models.base import KINDS, register_kind
from iuscore.models.record import Figures, MemberRecord, config_sha256

CLASSES = ["normal", "polyp"]
MAPS = torch.rand(3, 4, 8, 8, generator=torch.Generator().manual_seed(0))


def small(seed: int = 0, classes: list[str] = CLASSES) -> EPUCNN:
    torch.manual_seed(seed)
    return EPUCNN(classes, size=(8, 8), base_channels=2, hidden_units=3).eval()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    record = ModelRecord(members=(MemberRecord(seed=0), MemberRecord(seed=1)))
    return save_model(tmp_path / "model", Ensemble([small(0), small(1)]), record=record)


def edit(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    config = json.loads(path.read_text())
    for key, value in changes.items():
        if value is ...:
            del config[key]
        else:
            config[key] = value
    if "config_sha256" in config and "config_sha256" not in changes:
        config["config_sha256"] = config_sha256(config)
    path.write_text(json.dumps(config))


def edit_weights(folder: Path, change: Callable[[dict[str, Tensor]], Any]) -> None:
    """Change tensors and correct the hash, as in a valid file from elsewhere."""
    path = folder / "model.safetensors"
    tensors = safetensors.torch.load(path.read_bytes())
    change(tensors)
    content = safetensors.torch.save(tensors)
    path.write_bytes(content)
    edit(folder, weights_sha256=hashlib.sha256(content).hexdigest())


class TestRoundTrip:
    def test_a_saved_model_loads_with_the_same_bits(self, folder: Path) -> None:
        model, record = load_model(folder)
        original = Ensemble([small(0), small(1)])
        assert torch.equal(model(MAPS), original(MAPS))
        assert torch.equal(model.member_contributions(MAPS), original.member_contributions(MAPS))
        for name, value in original.state_dict().items():
            assert torch.equal(model.state_dict()[name], value)
            assert model.state_dict()[name].dtype == value.dtype
        assert not any(module.training for module in model.modules())
        assert all(p.requires_grad and p.device.type == "cpu" for p in model.parameters())
        assert record.members == (MemberRecord(seed=0), MemberRecord(seed=1))

    def test_loaded_model_can_be_trained(self, folder: Path) -> None:
        model, _ = load_model(folder)
        model.train()
        inputs = torch.rand(4, 4, 8, 8)
        model(inputs).sum().backward()
        torch.optim.SGD(model.parameters(), lr=0.1).step()
        assert not torch.equal(model.bias, Ensemble([small(0), small(1)]).bias)

    def test_single_model_comes_back_as_ensemble_of_one(self, tmp_path: Path) -> None:
        save_model(tmp_path, small(classes=["a", "b", "c"]), record=ModelRecord())
        model, record = load_model(tmp_path)
        assert len(model.members) == 1
        assert torch.equal(model(MAPS), small(classes=["a", "b", "c"])(MAPS))
        assert record.members == (MemberRecord(),)

    def test_loaded_record_can_be_saved_again(self, folder: Path, tmp_path: Path) -> None:
        model, record = load_model(folder)
        save_model(tmp_path / "copy", model, record=record)
        for name in ("config.json", "model.safetensors"):
            assert (tmp_path / "copy" / name).read_bytes() == (folder / name).read_bytes()

    def test_a_model_folder_holds_weights_and_config(self, folder: Path) -> None:
        assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors"]
        config = json.loads((folder / "config.json").read_text())
        assert (config["format"], config["kind"]) == (2, "epu")
        assert config["model"] == small().config()
        content = (folder / "model.safetensors").read_bytes()
        assert config["weights_sha256"] == hashlib.sha256(content).hexdigest()
        names = set(safetensors.torch.load(content))
        assert names == {f"members.{i}.{name}" for i in range(2) for name in small().state_dict()}

    def test_config_is_strict_json(self, tmp_path: Path) -> None:
        record = ModelRecord(
            validation=Figures(auroc=math.nan), members=(MemberRecord(val_loss=-math.inf, train_loss=0.5),)
        )
        save_model(tmp_path, small(), record=record)
        config = json.loads((tmp_path / "config.json").read_text(), parse_constant=pytest.fail)
        assert config["validation"]["auroc"] is None
        assert (config["members"][0]["val_loss"], config["members"][0]["train_loss"]) == (None, 0.5)

    def test_loading_leaves_the_random_state_alone(self, folder: Path) -> None:
        before = torch.get_rng_state()
        load_model(folder)
        assert torch.equal(torch.get_rng_state(), before)

    def test_a_second_kind_shares_the_files(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        class Other(EPUCNN):
            kind = "other"

        monkeypatch.setitem(KINDS, "other", Other)
        model = Other(CLASSES, size=(8, 8), base_channels=2, hidden_units=3).eval()
        save_model(tmp_path, model, record=ModelRecord())
        loaded, record = load_model(tmp_path)
        assert record.kind == "other"
        assert isinstance(loaded.members[0], Other)
        assert torch.equal(loaded(MAPS), model(MAPS))

    def test_a_kind_cannot_be_registered_twice(self) -> None:
        class Thief(EPUCNN):
            kind = "epu"

        with pytest.raises(ValueError, match="kind 'epu' is taken by EPUCNN"):
            register_kind(Thief)


class TestSaving:
    def test_crash_between_the_files_is_noticed(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        replace = os.replace

        def die_at_config(source: Any, target: Any) -> None:
            if Path(target).name == "config.json":
                raise OSError("power cut")
            replace(source, target)

        monkeypatch.setattr(os, "replace", die_at_config)
        with pytest.raises(OSError, match="power cut"):
            save_model(folder, Ensemble([small(2), small(3)]), record=ModelRecord())
        assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors"]
        with pytest.raises(UserError, match=r"model\.safetensors: changed since config\.json was written"):
            load_model(folder)

    def test_failed_write_leaves_the_old_model(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def full(_: int) -> None:
            raise OSError(errno.ENOSPC, "no space left")

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="no space left"):
            save_model(folder, small(2), record=ModelRecord())
        monkeypatch.undo()
        assert len(list(folder.iterdir())) == 2
        assert torch.equal(load_model(folder)[0](MAPS), Ensemble([small(0), small(1)])(MAPS))

    def test_what_cannot_be_loaded_is_not_saved(self, tmp_path: Path) -> None:
        diverged = small()
        with torch.no_grad():
            diverged.bias.fill_(math.nan)
        with pytest.raises(UserError, match=r"not saved: members\.0\.bias is not finite"):
            save_model(tmp_path / "new", diverged, record=ModelRecord())
        with pytest.raises(ValueError, match=r"record\.members: expected 1, got 2"):
            save_model(tmp_path / "new", small(), record=ModelRecord(members=(MemberRecord(),) * 2))
        assert not (tmp_path / "new").exists()
        (tmp_path / "file").touch()
        with pytest.raises(UserError, match="file is a file: give the folder"):
            save_model(tmp_path / "file", small(), record=ModelRecord())


def cut(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def flip(folder: Path) -> None:
    path = folder / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def text(folder: Path, content: str) -> None:
    (folder / "config.json").write_text(content)


MODEL = small().config()
BIAS = "members.1.bias"

DAMAGES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "no config": (lambda f: (f / "config.json").unlink(), r"no .*config\.json: not a model folder"),
    "no weights": (
        lambda f: (f / "model.safetensors").unlink(),
        r"no .*model\.safetensors: a model is two files",
    ),
    "empty config": (lambda f: text(f, ""), r"config\.json: not JSON .*; copy the model folder again"),
    "half a config": (lambda f: text(f, '{"format": 1,'), r"config\.json: not JSON"),
    "NaN in config": (lambda f: text(f, '{"format": NaN}'), r"config\.json: not JSON \(NaN is not allowed\)"),
    "binary config": (lambda f: (f / "config.json").write_bytes(b"\xff\xfe\x80"), r"config\.json: not JSON"),
    "deep config": (lambda f: text(f, "[" * 100_000), r"config\.json: not JSON"),
    "config is a list": (lambda f: text(f, "[1]"), 'no "format", so this is not an iuscore model'),
    "no format": (lambda f: edit(f, format=...), 'no "format", so this is not an iuscore model'),
    "newer format": (
        lambda f: edit(f, format=3),
        r"format: 3 is newer than 2, the newest this version reads; upgrade iuscore",
    ),
    "odd format": (lambda f: edit(f, format="1"), "format: expected 1 or 2, got '1'"),
    "true format": (lambda f: edit(f, format=True), "format: expected 1 or 2, got True"),
    "no kind": (lambda f: edit(f, kind=...), "kind: is missing"),
    "unknown kind": (lambda f: edit(f, kind="mlp9"), "unknown kind 'mlp9', known are epu.*; upgrade iuscore"),
    "kind is a number": (lambda f: edit(f, kind=3), "kind: expected text, got 3"),
    "no model": (lambda f: edit(f, model=...), "model: is missing"),
    "model lacks a key": (
        lambda f: edit(f, model={"classes": CLASSES}),
        "\"model\": a model of kind 'epu' needs base_channels",
    ),
    "model has a key more": (lambda f: edit(f, model={**MODEL, "x": 1}), "kind 'epu' has no x"),
    "model out of range": (lambda f: edit(f, model={**MODEL, "size": [1, 1]}), '"model": size: expected'),
    "model of enormous size": (lambda f: edit(f, model={**MODEL, "base_channels": 10**40}), '"model": '),
    "model of terabytes": (lambda f: edit(f, model={**MODEL, "base_channels": 10**4}), "another model"),
    "no members": (lambda f: edit(f, members=[]), "members: is missing or empty"),
    "no hash": (lambda f: edit(f, weights_sha256=...), "weights_sha256: is missing"),
    "a member less": (
        lambda f: edit(f, members=[{}]),
        r"members\.1\..* and \d+ more unexpected; the weights belong",
    ),
    "a member more": (lambda f: edit(f, members=[{}] * 3), r"members\.2\.bias.* and \d+ more missing"),
    "weights cut short": (cut, r"model\.safetensors: cut short or damaged"),
    "weights empty": (lambda f: (f / "model.safetensors").write_bytes(b""), "cut short or damaged"),
    "weights are text": (
        lambda f: (f / "model.safetensors").write_bytes(b"PK" * 500),
        "cut short or damaged",
    ),
    "a bit flipped": (
        flip,
        r"model\.safetensors: changed since config\.json was written \(its SHA-256 differs\)",
    ),
    "tensor missing": (
        lambda f: edit_weights(f, lambda t: t.pop(BIAS)),
        f"{BIAS} missing; the weights belong",
    ),
    "tensor extra": (
        lambda f: edit_weights(f, lambda t: t.update(x=torch.ones(1))),
        "x unexpected; the weights",
    ),
    "wrong shape": (
        lambda f: edit_weights(f, lambda t: t.update({BIAS: torch.ones(2)})),
        rf"{BIAS}: expected float32 \[1\], got float32 \[2\]",
    ),
    "wrong dtype": (
        lambda f: edit_weights(f, lambda t: t.update({BIAS: torch.ones(1).half()})),
        rf"{BIAS}: expected float32 \[1\], got float16 \[1\]",
    ),
    "not finite": (
        lambda f: edit_weights(f, lambda t: t.update({BIAS: torch.tensor([math.inf])})),
        f"{BIAS} is not finite; fit the model again",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_of_a_folder_is_named_in_one_line(folder: Path, damage: str) -> None:
    act, message = DAMAGES[damage]
    act(folder)
    with pytest.raises(UserError, match=message) as caught:
        load_model(folder)
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no model folder .*missing: give the folder that 'iuscore fit' wrote"):
        load_model(tmp_path / "missing")
