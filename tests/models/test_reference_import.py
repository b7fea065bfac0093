"""Import of models of the published implementation, and the messages where a file does not fit."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from iuscore.errors import UserError
from iuscore.models import EPUCNN, import_reference, save_model

CLASSES = ["normal", "polyp"]
MAPS = torch.rand(3, 4, 8, 8, generator=torch.Generator().manual_seed(0))


def small(classes: list[str] = CLASSES) -> EPUCNN:
    torch.manual_seed(0)
    return EPUCNN(classes, size=(8, 8), base_channels=2, hidden_units=3).eval()


PUBLISHED = (
    ("blocks.0.convs", "block_one.conv_layers"),
    ("blocks.1.convs", "block_two.conv_layers"),
    ("blocks.2.convs", "block_three.conv_layers"),
    ("blocks.0.norm", "block_one._batch_norm"),
    ("blocks.1.norm", "block_two._batch_norm"),
    ("blocks.2.norm", "block_three._batch_norm"),
    ("hidden.0", "head._dense_layers.0"),
    ("hidden.1", "head._dense_layers.3"),
    ("out", "head._dense_layers.6"),
    ("subnets", "subnetworks"),
)


def published_name(name: str) -> str:
    for ours, theirs in PUBLISHED:
        name = name.replace(ours, theirs)
    return name


def published(folder: Path, classes: list[str], **changes: Any) -> EPUCNN:
    """Write a folder as the published scripts do; dotted names in ``changes`` go to the YAML."""
    model = small(classes=classes)
    outputs = model.n_outputs
    net = {"architecture": "base_one", "input_channels": 1, "base_channels": 2, "fc_hidden_units": 3}
    data = {"data_mode": "rgb", "resize_dims": [8, 8], "label_mapping": {n: i for i, n in enumerate(classes)}}
    config: dict[str, Any] = {
        "model": {
            "num_subnetworks": 4,
            "num_classes": outputs,
            "epu_activation": "sigmoid" if outputs == 1 else "softmax",
            "subnetwork_config": {**net, "pred_activation": "tanh"},
        },
        "train_params": {"epochs": 3, "mode": "binary", "nested": {"a": 1}},
        "data_params": {"data_preprocessing": data},
    }
    for part in (config["model"], config["model"]["subnetwork_config"], data):
        for key in set(part) & set(changes):
            part[key] = changes[key]
            if changes[key] is ...:
                del part[key]
    folder.mkdir(exist_ok=True)
    (folder / "epu_config.yaml").write_text(yaml.safe_dump(config))
    torch.save({published_name(k): v for k, v in model.state_dict().items()}, folder / "ckpt.pt")
    for i, name in enumerate(classes):
        np.save(folder / f"cb_vector_{name}.npy", np.full((4, outputs), i + 0.5, np.float32))
    return model


class TestImport:
    @pytest.mark.parametrize("classes", [CLASSES, ["a", "b", "c"]])
    def test_an_imported_model_computes_the_same(self, tmp_path: Path, classes: list[str]) -> None:
        original = published(tmp_path, classes)
        model, record = import_reference(tmp_path)
        assert torch.equal(model(MAPS), original(MAPS))
        assert model.config()["model"] == {**original.config(), "mode": "published"}
        assert [record.profiles["paper"][name].mean[0] for name in classes] == [i + 0.5 for i in range(len(classes))]
        assert record.training.published["epochs"] == 3
        assert "nested" not in record.training.published
        save_model(tmp_path / "model", model, record=record)

    def test_labels_decide_the_order(self, tmp_path: Path) -> None:
        published(tmp_path, CLASSES, label_mapping={"polyp": 1, "normal": 0})
        assert import_reference(tmp_path)[0].classes == ("normal", "polyp")

    def test_weights_without_baselines_of_many_classes(self, tmp_path: Path) -> None:
        published(tmp_path, ["a", "b", "c"])
        for path in tmp_path.glob("*.npy"):
            path.unlink()
        assert import_reference(tmp_path)[1].profiles == {"paper": {}}

    def test_checkpoint_under_its_published_name(self, tmp_path: Path) -> None:
        published(tmp_path, CLASSES)
        (tmp_path / "ckpt.pt").rename(tmp_path / "ckpt_run1.pt")
        import_reference(tmp_path)
        (tmp_path / "ckpt_run2.pt").touch()
        with pytest.raises(UserError, match=r"several checkpoints \(ckpt_run1\.pt, ckpt_run2\.pt\); rename"):
            import_reference(tmp_path)

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"data_mode": ...}, "data_mode is missing"),
            ({"data_mode": "hsv"}, "data_mode: expected rgb, gray or grayscale, got 'hsv'"),
            ({"architecture": "vgg"}, "architecture: only 'base_one' can be imported, got 'vgg'"),
            ({"pred_activation": "sigmoid"}, "pred_activation: only 'tanh' can be imported"),
            ({"input_channels": 3}, "input_channels: only 1 can be imported, got 3"),
            ({"num_subnetworks": 3}, "num_subnetworks: only 4 can be imported"),
            ({"num_classes": 2}, "num_classes 2 does not fit the 2 classes of label_mapping"),
            ({"label_mapping": {"a": 0, "b": 2}}, "label_mapping: expected class names with labels 0, 1"),
            ({"label_mapping": ["a", "b"]}, "label_mapping: expected class names"),
            ({"base_channels": 4}, r"base_channels is 4, but ckpt\.pt has 2; give the configuration"),
            ({"fc_hidden_units": 5}, r"hidden\.0\.weight: expected float32 \[5, 8\], got float32 \[3, 8\]"),
            (
                {"resize_dims": [16, 16]},
                r"hidden\.0\.weight: expected float32 \[3, 32\], got float32 \[3, 8\]",
            ),
            ({"resize_dims": [4, 4]}, "size: expected"),
        ],
    )
    def test_another_architecture_is_refused_by_its_key(
        self, tmp_path: Path, changes: dict[str, Any], message: str
    ) -> None:
        published(tmp_path, CLASSES, **changes)
        with pytest.raises(UserError, match=message) as caught:
            import_reference(tmp_path)
        assert str(tmp_path) in str(caught.value)

    @pytest.mark.parametrize(
        ("name", "content", "message"),
        [
            ("ckpt.pt", None, r"no .*ckpt\.pt: copy the checkpoint"),
            ("ckpt.pt", b"", r"ckpt\.pt: damaged, or more than plain weights"),
            ("ckpt.pt", b"PK\x03\x04 junk", r"ckpt\.pt: damaged, or more than plain weights"),
            ("epu_config.yaml", None, r"no .*epu_config\.yaml: copy it"),
            ("epu_config.yaml", b"model: [", r"epu_config\.yaml: not YAML"),
            ("epu_config.yaml", b"\x80\x81", r"epu_config\.yaml: not YAML"),
            ("epu_config.yaml", b"hello", r"epu_config\.yaml: expected the published configuration, got str"),
            ("epu_config.yaml", b"model: 3", r"epu_config\.yaml: .* is missing"),
            ("cb_vector_polyp.npy", None, r"no .*cb_vector_polyp\.npy: copy the baseline of class 'polyp'"),
            ("cb_vector_polyp.npy", b"junk", r"cb_vector_polyp\.npy: not a NumPy array of numbers"),
        ],
    )
    def test_missing_and_damaged_files_are_named(
        self, tmp_path: Path, name: str, content: bytes | None, message: str
    ) -> None:
        published(tmp_path, CLASSES)
        (tmp_path / name).unlink()
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match=message) as caught:
            import_reference(tmp_path)
        assert "\n" not in str(caught.value)

    def test_a_truncated_checkpoint_is_refused(self, tmp_path: Path) -> None:
        published(tmp_path, CLASSES)
        content = (tmp_path / "ckpt.pt").read_bytes()
        (tmp_path / "ckpt.pt").write_bytes(content[: len(content) // 2])
        with pytest.raises(UserError, match=r"ckpt\.pt: damaged, or more than plain weights"):
            import_reference(tmp_path)

    def test_a_checkpoint_with_code_is_refused(self, tmp_path: Path) -> None:
        published(tmp_path, CLASSES)
        torch.save(small(), tmp_path / "ckpt.pt")
        with pytest.raises(UserError, match=r"ckpt\.pt: damaged, or more than plain weights"):
            import_reference(tmp_path)

    def test_a_checkpoint_of_another_model_is_refused(self, tmp_path: Path) -> None:
        published(tmp_path, CLASSES)
        torch.save({"epoch": 3, "state": {}}, tmp_path / "ckpt.pt")
        with pytest.raises(UserError, match="expected a state dict of plain tensors"):
            import_reference(tmp_path)
        torch.save({"weight": torch.ones(3)}, tmp_path / "ckpt.pt")
        with pytest.raises(UserError, match="not the published EPU-CNN"):
            import_reference(tmp_path)

    @pytest.mark.parametrize(
        ("vector", "message"),
        [
            (np.ones((3, 1)), r"expected shape \(4, 1\), got \(3, 1\)"),
            (np.ones((4, 2)), r"expected shape \(4, 1\), got \(4, 2\)"),
            (np.full((4, 1), np.nan), "expected finite floating point numbers"),
            (np.ones((4, 1), int), "expected finite floating point numbers"),
            (np.array([{}] * 4), "not a NumPy array of numbers"),
        ],
    )
    def test_a_baseline_of_another_shape_is_refused(self, tmp_path: Path, vector: np.ndarray, message: str) -> None:
        published(tmp_path, CLASSES)
        np.save(tmp_path / "cb_vector_polyp.npy", vector, allow_pickle=True)
        with pytest.raises(UserError, match=message):
            import_reference(tmp_path)


class TestHostile:
    """Hostile files are refused in one line, within bounded time and memory."""

    def refused(self, folder: Path) -> str:
        with pytest.raises(UserError) as caught:
            import_reference(folder)
        text = str(caught.value)
        assert "\n" not in text
        assert len(text) < 500 + len(str(folder))
        return text.replace(str(folder), "F")

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"fc_hidden_units": 10**18}, "hidden_units: expected at most 65536, got 1.0e+18"),
            ({"fc_hidden_units": 10**400}, "hidden_units: expected at most 65536, got a number of about 400 digits"),
            ({"fc_hidden_units": True}, "hidden_units: expected an integer of at least 1, got True"),
            ({"base_channels": 10**30}, "base_channels: expected at most 65536, got 1.0e+30"),
            ({"resize_dims": [10**12, 10**12]}, "size: expected (height, width), each at most 16384, got "),
            ({"resize_dims": [16384, 16384], "fc_hidden_units": 65536}, "the model would have "),
            ({"resize_dims": "16"}, "size: expected (height, width), each at least 8, got '16'"),
            ({"resize_dims": {"h": 8}}, "size: expected (height, width), each at least 8, got {'h': 8}"),
            ({"data_mode": ["rgb"] * 1000}, "data_mode: expected rgb, gray or grayscale, got ['rgb', 'rgb', "),
            ({"architecture": "x" * 10_000}, "architecture: only 'base_one' can be imported, got 'xxx"),
            ({"num_classes": [[[[1]]]] * 50}, "num_classes [[[...]], "),
            ({"label_mapping": {"../../x": 0, "b": 1}}, "can stand in the name of a file, got '../../x'"),
            ({"label_mapping": {"a\0b": 0, "b": 1}}, "can stand in the name of a file, got 'a\\x00b'"),
            ({"label_mapping": {"a\nb": 0, "b": 1}}, "can stand in the name of a file, got 'a\\nb'"),
            ({"label_mapping": {"a" * 5000: 0, "b": 1}}, "at most 200 letters"),
        ],
    )
    def test_absurd_settings_are_refused(self, tmp_path: Path, changes: dict[str, Any], message: str) -> None:
        published(tmp_path, CLASSES)
        config = yaml.safe_load((tmp_path / "epu_config.yaml").read_text())
        data = config["data_params"]["data_preprocessing"]
        for part in (config["model"], config["model"]["subnetwork_config"], data):
            for key in set(part) & set(changes):
                part[key] = changes[key]
        (tmp_path / "epu_config.yaml").write_text(yaml.safe_dump(config))
        assert message in self.refused(tmp_path)

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ("a: &a [1, *a]", "not YAML (line 1: an alias of what it stands in)"),
            ("a: 1\nb: 2\na: 3", "not YAML (line 1: a comes twice)"),
            ("model:\n  a: 1\n  a: 1", "not YAML (line 2: a comes twice)"),
            ("a: [" + "1, " * 20_000 + "1]", "not YAML (more than 10000 values, with aliases written out)"),
            ("[" * 5000, "not YAML (nested too deeply)"),
            ("a: " + "9" * 5000, "not YAML ("),
            ("model: !!python/object/apply:os.system ['exit']", "not YAML (could not determine a constructor"),
            ("x" * 300_000, "expected at most 262144 bytes, got 300000"),
        ],
    )
    def test_hostile_yaml_is_refused(self, tmp_path: Path, content: str, message: str) -> None:
        published(tmp_path, CLASSES)
        (tmp_path / "epu_config.yaml").write_text(content)
        assert f"F/epu_config.yaml: {message}" in self.refused(tmp_path)

    def test_aliases_of_aliases_are_refused(self, tmp_path: Path) -> None:
        """One kilobyte of YAML that expands to ten billion values."""
        published(tmp_path, CLASSES)
        lines = ["a0: &a0 [x,x,x,x,x,x,x,x,x,x]"]
        lines += [f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 10)]
        (tmp_path / "epu_config.yaml").write_text("\n".join(lines))
        assert "more than 10000 values, with aliases written out" in self.refused(tmp_path)

    def test_aliases_that_pyyaml_writes_are_read(self, tmp_path: Path) -> None:
        """PyYAML writes a list that occurs twice in the settings as an alias."""
        published(tmp_path, CLASSES)
        config = yaml.safe_load((tmp_path / "epu_config.yaml").read_text())
        config["train_params"]["size"] = config["data_params"]["data_preprocessing"]["resize_dims"]
        (tmp_path / "epu_config.yaml").write_text(yaml.safe_dump(config))
        assert "*id001" in (tmp_path / "epu_config.yaml").read_text()
        import_reference(tmp_path)

    @pytest.mark.parametrize(
        ("make", "message"),
        [
            (lambda: torch.eye(3).to_sparse(), "expected a dense tensor, got one that is sparse"),
            (lambda: torch.eye(3).to_sparse_csr(), "expected a dense tensor, got one that is sparse"),
            (lambda: torch.zeros(3, device="meta"), "expected a dense tensor, got one that is without numbers"),
            (lambda: torch.zeros(1).expand(10**10), "[10000000000] is more than the file holds"),
            (lambda: torch.zeros(3), "x unexpected"),
        ],
    )
    @pytest.mark.filterwarnings("ignore:Sparse")
    def test_unusual_tensors_are_refused(self, tmp_path: Path, make: Any, message: str) -> None:
        published(tmp_path, CLASSES)
        state = torch.load(tmp_path / "ckpt.pt", weights_only=True)
        torch.save({**state, "x": make()}, tmp_path / "ckpt.pt")
        assert message in self.refused(tmp_path)

    def test_the_refusal_of_code_gives_no_advice_to_trust_it(self, tmp_path: Path) -> None:
        published(tmp_path, CLASSES)
        for content in (small(), {"a": Path("x")}):
            torch.save(content, tmp_path / "ckpt.pt")
            said = self.refused(tmp_path)
            assert said == (
                "F/ckpt.pt: damaged, or more than plain weights, which could run code and is not read; copy it again, "
                "or save model.state_dict() where it was trained"
            )
        (tmp_path / "ckpt.pt").write_bytes(pickle.dumps(Path("x")))
        assert self.refused(tmp_path) == said

    def test_a_compressed_checkpoint_is_refused(self, tmp_path: Path) -> None:
        published(tmp_path, CLASSES)
        with zipfile.ZipFile(tmp_path / "ckpt.pt", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("archive/data.pkl", bytes(50_000_000))
        assert "ckpt.pt: damaged, or more than plain weights" in self.refused(tmp_path)

    @pytest.mark.parametrize(
        ("vector", "message"),
        [
            (np.full((4, 1), 1e300), "expected finite floating point numbers up to 1e+15"),
            (np.ones((300, 300)), "expected at most 262144 bytes, got 720128"),
        ],
    )
    def test_unusable_baselines_are_refused(self, tmp_path: Path, vector: np.ndarray, message: str) -> None:
        published(tmp_path, CLASSES)
        np.save(tmp_path / "cb_vector_polyp.npy", vector)
        assert message in self.refused(tmp_path)

    def test_a_baseline_header_that_claims_more_than_the_file_is_refused(self, tmp_path: Path) -> None:
        published(tmp_path, CLASSES)
        path = tmp_path / "cb_vector_polyp.npy"
        for shape in ((10**9, 10**9), (10**40,), (-1,)):
            with path.open("wb") as stream:
                header = {"descr": "<f4", "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_1_0(stream, header)
            assert "F/cb_vector_polyp.npy: " in self.refused(tmp_path)
