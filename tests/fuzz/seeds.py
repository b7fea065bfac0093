"""The corpus that fuzzing begins with.

``python -m tests.fuzz.seeds`` writes it anew; inputs that failed lie beside it.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import safetensors.torch
from PIL import Image

from iuscore.engine.records import RunIdentity, RunRecord
from tests.fuzz.targets import zero_model, zero_record

CORPUS = Path(__file__).parent / "corpus"


def _pixels(*shape: int, dtype: Any = np.uint8) -> Any:
    return (np.arange(np.prod(shape)) * 37 % 251).astype(dtype).reshape(shape)


def _saved(image: Image.Image, form: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def images() -> Iterator[tuple[str, bytes]]:
    """Every format that is read, gray and color, small."""
    gray, color = Image.fromarray(_pixels(6, 5)), Image.fromarray(_pixels(6, 5, 3))
    deep = Image.fromarray(_pixels(6, 5, dtype=np.uint16) * 200)
    for name, image in (("gray", gray), ("color", color)):
        for form in ("PNG", "JPEG", "BMP", "TIFF", "GIF", "WEBP", "PPM"):
            yield f"{name}.{form.lower()}", _saved(image, form)
    yield "progressive.jpeg", _saved(color, "JPEG", progressive=True)
    yield (
        "rotated.jpeg",
        _saved(color, "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"),
    )
    yield "deep.png", _saved(deep, "PNG")
    yield "deep.tiff", _saved(deep, "TIFF")
    yield "float.tiff", _saved(Image.fromarray(_pixels(6, 5).astype(np.float32) / 255), "TIFF")
    yield "lzw.tiff", _saved(color, "TIFF", compression="tiff_lzw")
    yield "alpha.png", _saved(Image.fromarray(_pixels(6, 5, 4)), "PNG")
    yield "palette.png", _saved(color.convert("P"), "PNG")
    yield "bits.png", _saved(gray.convert("1"), "PNG")
    yield "frames.gif", _saved(gray, "GIF", save_all=True, append_images=[gray.rotate(90)])


def dicoms() -> Iterator[tuple[str, bytes]]:
    """Windows, tables and byte orders."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

    def file(syntax: str, **attributes: Any) -> bytes:
        found = Dataset()
        found.file_meta = FileMetaDataset()
        found.file_meta.TransferSyntaxUID = syntax
        found.file_meta.MediaStorageSOPClassUID = found.SOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
        found.file_meta.MediaStorageSOPInstanceUID = found.SOPInstanceUID = "1.2.3"
        found.Rows, found.Columns, found.SamplesPerPixel = 4, 5, 1
        found.PhotometricInterpretation = "MONOCHROME2"
        found.BitsAllocated, found.BitsStored, found.HighBit, found.PixelRepresentation = 16, 12, 11, 0
        found.add_new(0x7FE00010, "OW", (_pixels(4, 5, dtype=np.uint16) * 16).tobytes())
        for name, value in attributes.items():
            setattr(found, name, value)
        stream = io.BytesIO()
        found.save_as(stream, enforce_file_format=True)
        return stream.getvalue()

    table = Dataset()
    table.add_new(0x00283002, "US", [4, 0, 16])
    table.add_new(0x00283006, "OW", np.array([0, 100, 1000, 65535], np.uint16).tobytes())
    yield "plain.dcm", file(ExplicitVRLittleEndian)
    yield "implicit.dcm", file(ImplicitVRLittleEndian)
    yield "deflated.dcm", file(DeflatedExplicitVRLittleEndian)
    yield (
        "window.dcm",
        file(ExplicitVRLittleEndian, WindowCenter=2000, WindowWidth=1000, RescaleSlope=2, RescaleIntercept=-5),
    )
    yield "inverted.dcm", file(ExplicitVRLittleEndian, PhotometricInterpretation="MONOCHROME1")
    yield "table.dcm", file(ExplicitVRLittleEndian, VOILUTSequence=[table])


def tars() -> Iterator[tuple[str, bytes]]:
    """Samples with classes, long names, links."""
    pgm = b"P5 2 1 255 \x00\xc8"

    def archive(form: int, *members: tuple[str, bytes]) -> bytes:
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w", format=form) as tar:
            for name, content in members:
                info = tarfile.TarInfo(name)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
        return stream.getvalue()

    pair = (("1.pgm", pgm), ("1.cls", b"a"))
    yield "ustar.tar", archive(tarfile.USTAR_FORMAT, *pair, ("2.cls", b"b"), ("2.pgm", pgm))
    yield "gnu.tar", archive(tarfile.GNU_FORMAT, *pair, ("d/" * 60 + "3.pgm", pgm))
    yield "pax.tar", archive(tarfile.PAX_FORMAT, *pair, ("d/" * 60 + "ä.pgm", pgm))
    yield "twice.tar", archive(tarfile.USTAR_FORMAT, *pair, *pair)


def parquets() -> Iterator[tuple[str, bytes]]:
    """Bytes, structs and class names, plain and compressed."""
    png = _saved(Image.fromarray(_pixels(2, 2)), "PNG")

    def table(value: pa.Table, **options: Any) -> bytes:
        stream = io.BytesIO()
        pq.write_table(value, stream, **options)
        return stream.getvalue()

    plain = pa.table({"image": [png, png], "label": ["a", "b"]})
    struct = pa.table({"image": pa.array([{"bytes": png, "path": "1.png"}, None]), "label": [0, 1]})
    features = {"info": {"features": {"label": {"names": ["a", "b"], "_type": "ClassLabel"}}}}
    yield "plain.parquet", table(plain, compression="none")
    yield "zstd.parquet", table(plain, compression="zstd", row_group_size=1)
    yield "struct.parquet", table(struct.replace_schema_metadata({"huggingface": json.dumps(features)}))


def arrays() -> Iterator[tuple[str, bytes]]:
    """Arrays of images: gray, color, deep, float, in Fortran's order."""
    for name, array in (
        ("gray", _pixels(2, 4, 4)),
        ("color", _pixels(2, 4, 4, 3)),
        ("deep", _pixels(2, 4, 4, dtype=np.uint16)),
        ("float", _pixels(2, 4, 4).astype(np.float32) / 255),
        ("fortran", np.asfortranarray(_pixels(2, 4, 4))),
    ):
        stream = io.BytesIO()
        np.save(stream, array)
        yield f"{name}.npy", stream.getvalue()


def configs() -> Iterator[tuple[str, bytes]]:
    """A model's configuration; the target puts the hash of the weights in the place of WEIGHTS."""
    model = {"format": 1, "kind": "epu", "model": zero_model().config(), "weights_sha256": "WEIGHTS"}
    yield "epu.json", json.dumps({**zero_record(), **model}).encode()


def weights() -> Iterator[tuple[str, bytes]]:
    """Weights of that model, and a header alone."""
    state = {f"members.0.{name}": value.contiguous() for name, value in zero_model().state_dict().items()}
    yield "whole.safetensors", safetensors.torch.save(state)
    yield "empty.safetensors", safetensors.torch.save({})


def runs() -> Iterator[tuple[str, bytes]]:
    """A run's record, and JSON that is none."""
    zeros = "0" * 64
    identity = RunIdentity(zeros, "paper", "a", "exact", 4, zeros, arithmetic=2)
    record = RunRecord(zeros, identity, images="images", n_images=9, n_shards=3, model="model")
    yield "run.json", json.dumps(record.to_json()).encode()
    yield "list.json", b"[[1, 2], null]"


def references() -> Iterator[tuple[str, bytes]]:
    """A published configuration, plain and with an alias."""
    net = "{architecture: base_one, input_channels: 1, pred_activation: tanh, base_channels: 64, fc_hidden_units: 64}"
    data = "{label_mapping: {a: 0, b: 1}, data_mode: rgb, resize_dims: [128, 128]}"
    for name, mark, again in (("plain", "", net), ("alias", "&net ", "*net")):
        yield (
            f"{name}.yaml",
            (
                f"model:\n  num_classes: 1\n  num_subnetworks: 4\n  epu_activation: sigmoid\n"
                f"  subnetwork_config: {mark}{net}\n  other: {again}\n"
                f"data_params:\n  data_preprocessing: {data}\ntrain_params: {{epochs: 3}}\n"
            ).encode(),
        )


def calls() -> Iterator[tuple[str, bytes]]:
    """Calls of each op."""
    for op in range(6):
        for kind in range(3):
            yield f"op{op}-{kind}", bytes([op, kind, 1, 8, 8, 1, kind, 4, 7] + [3 * kind + 1] * 24)


SEEDS = {
    "image": images, "dicom": dicoms, "tar": tars, "parquet": parquets, "npy": arrays, "npz": arrays, "config": configs,
    "weights": weights, "run": runs, "reference": references, "ops": calls,
}  # fmt: skip


def write() -> None:
    """Write the corpus."""
    for target, seeds in SEEDS.items():
        folder = CORPUS / target
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in seeds():
            (folder / name).write_bytes(content)


if __name__ == "__main__":
    write()
