"""Functions that the benchmarks of whole jobs share: image files, models, and peers that run as processes.

    python benchmarks/_pipeline.py decode FOLDER [WORKERS]   # read and decode only
    python benchmarks/_pipeline.py loader FOLDER [WORKERS]   # read and decode with PyTorch's DataLoader and Pillow only
    python benchmarks/_pipeline.py published FOLDER MODEL    # the steps of the published script, one image at a time

Each prints the number of images that it processed.
"""

from __future__ import annotations

import io
import resource
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

SIDE = 256
CLASSES = ("normal", "abnormal")


def photographs(n: int) -> Iterator[np.ndarray[Any, Any]]:
    """n phantoms [256, 256, 3] with sensor noise; one in eight is drawn, the others are rotated or flipped copies."""
    from iuscore import phantoms

    rng = np.random.default_rng(0)
    for done in range(0, n, 512):
        drawn = phantoms.draw("endoscopy", "normal", -(-min(512, n - done) // 8), size=SIDE, seed=done)
        for i in range(min(512, n - done)):
            image = drawn[i // 8] if i % 8 < 4 else drawn[i // 8][:, ::-1]
            noisy = np.rot90(image, i % 4).astype(np.int16) + rng.integers(-4, 5, image.shape, dtype=np.int16)
            yield noisy.clip(0, 255).astype(np.uint8)


def encoded(image: np.ndarray[Any, Any], kind: str) -> bytes:
    """A file: "jpg" of quality 90, or "png"."""
    stream = io.BytesIO()
    if kind == "jpg":
        Image.fromarray(image).save(stream, "JPEG", quality=90)
    else:
        Image.fromarray(image).save(stream, "PNG")
    return stream.getvalue()


def write_folder(folder: Path, n: int, kind: str, distinct: int = 4000) -> Path:
    """n files; beyond ``distinct`` files they are hard links, so that all of them fit in the file cache."""
    names: list[Path] = []
    for i, image in enumerate(photographs(min(n, distinct))):
        path = folder / f"{i // 1000:03d}" / f"{i % 1000:03d}.{kind}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(image, kind))
        names.append(path)
    for i in range(distinct, n):
        path = folder / f"{i // 1000:03d}" / f"{i % 1000:03d}.{kind}"
        path.parent.mkdir(exist_ok=True)
        path.hardlink_to(names[i % distinct])
    return folder


def write_tars(folder: Path, n: int, per_tar: int = 10_000, distinct: int = 4000) -> Path:
    """n JPEG files in tar shards by the conventions of WebDataset."""
    folder.mkdir(parents=True)
    contents = [encoded(image, "jpg") for image in photographs(min(n, distinct))]
    for start in range(0, n, per_tar):
        with tarfile.open(folder / f"images-{start // per_tar:05d}.tar", "w") as tar:
            for i in range(start, min(start + per_tar, n)):
                member = tarfile.TarInfo(f"{i:09d}.jpg")
                member.size = len(contents[i % distinct])
                tar.addfile(member, io.BytesIO(contents[i % distinct]))
    return folder


def texture_model(folder: Path) -> Path:
    """A texture model of three members, at its usual size."""
    from iuscore import phantoms
    from iuscore.fit import fit, open_splits

    phantoms.write(folder / "real", "endoscopy", n_per_class=60, size=128)
    return fit(open_splits(folder / "real"), folder / "texture", model="texture", classes=CLASSES).folder


def epu_model(folder: Path, base: int, hidden: int) -> Path:
    """A model of a published size, after a short training.

    Training does not change the speed. But scores of random weights would not show how much a lower precision changes
    real scores, so the model is trained until the contributions of the classes differ.
    """
    from iuscore import phantoms
    from iuscore.fit import EPUOptions, TrainingOptions, fit, open_splits

    real = folder / f"real{base}"
    phantoms.write(real, "endoscopy", n_per_class=24, size=128)
    options = EPUOptions(size=(128, 128), base_channels=base, hidden_units=hidden, mode="published")
    training = TrainingOptions(epochs=4, optimizer="adamw", learning_rate=0.05 / (base + 32))
    return fit(
        open_splits(real), folder / f"epu{base}", classes=CLASSES, model_options=options, training=training
    ).folder


def timed(command: list[object]) -> tuple[float, float]:
    """(elapsed seconds, CPU seconds including child processes) of a command that must succeed."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, command))} ended with {done.returncode}:\n{done.stderr[-3000:]}")
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def score_command(model: Path, images: Path, out: Path, *options: object) -> list[object]:
    """``iuscore score`` of everything against one class."""
    command = [sys.executable, "-m", "iuscore", "score", model, images, "--target", CLASSES[0], "--out", out, "--quiet"]
    return [*command, *options]


def peer(*arguments: object) -> list[object]:
    """A command that runs this file."""
    return [sys.executable, Path(__file__).resolve(), *arguments]


# ---- Peers -----------------------------------------------------------------------------------------------------------


def _decode_part(folder: str, first: int, step: int) -> int:
    from iuscore.images import open_shards, read_item

    source = open_shards(folder)
    shards = [shard for shard in source.shards(512) if shard.index % step == first]
    return sum(read_item(item).pixels is not None for shard in shards for item in source.items(shard))


def decode(folder: str, workers: str = "2") -> int:
    """The engine without the model: the same processes, sources and decoders."""
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    context = get_context("forkserver")
    context.set_forkserver_preload(["iuscore.engine.local"])
    n = int(workers)
    with ProcessPoolExecutor(n, mp_context=context) as pool:
        return sum(pool.map(_decode_part, [folder] * n, range(n), [n] * n))


class _Files(torch.utils.data.Dataset[torch.Tensor]):
    def __init__(self, folder: str) -> None:
        self.paths = sorted(Path(folder).rglob("*.*"))

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, i: int) -> torch.Tensor:
        with Image.open(self.paths[i]) as image:
            return torch.from_numpy(np.array(image.convert("RGB")))


def loader(folder: str, workers: str = "2") -> int:
    """The usual way to feed a model."""
    batches = torch.utils.data.DataLoader(_Files(folder), batch_size=64, num_workers=int(workers))
    return sum(len(batch) for batch in batches)


def published(folder: str, model: str) -> int:
    """The steps of the published script, rewritten with kornia and PyTorch: decode, maps, forward pass, one by one."""
    import kornia
    from torch import Tensor

    from iuscore.models import load_model

    ensemble, record = load_model(model)
    (member,) = ensemble.members
    baseline = torch.tensor(record.profiles["paper"][CLASSES[0]].mean)

    def stretched(x: Tensor) -> Tensor:
        return (x - x.min()) / (x.max() - x.min() + 1e-6)

    def maps(pixels: Tensor) -> Tensor:
        resized = torch.nn.functional.interpolate(pixels, (128, 128), mode="bicubic", align_corners=False)[0]
        rgb = torch.stack([stretched(channel) for channel in resized])[None]
        lab = kornia.color.rgb_to_lab(rgb)
        gray = kornia.color.rgb_to_grayscale(rgb)
        edges = kornia.filters.sobel(gray)
        light = kornia.filters.gaussian_blur2d(gray, (7, 7), (3.0, 3.0))
        return torch.cat([stretched(m) for m in (lab[:, 1:2], lab[:, 2:3], edges, light)], dim=1)

    done = 0
    with torch.no_grad():
        for path in sorted(Path(folder).rglob("*.*")):
            with Image.open(path) as image:
                pixels = torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)[None].float()
            found = maps(pixels)
            outputs = [torch.tanh(net(found[:, i : i + 1])) for i, net in enumerate(member.subnets)]
            torch.nn.functional.cosine_similarity(baseline, torch.cat(outputs, dim=1)[0], dim=0).item()
            done += 1
    return done


if __name__ == "__main__":
    print({"decode": decode, "loader": loader, "published": published}[sys.argv[1]](*sys.argv[2:]))
