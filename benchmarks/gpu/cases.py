"""What is measured on a GPU, in which order, and the least time each case could take. Nothing here needs a GPU.

The floor of a case is the longest of three times, each for all items of the batch:

    bytes        (bytes read once + bytes written once) / bandwidth of the GPU's memory
    atomics      increments of shared-memory counters / (16 a clock x multiprocessors x clock)
    arithmetic   float32 multiplication-additions / (128 a clock x multiprocessors x clock); of whole numbers 64 a clock

16 a clock is what a multiprocessor does where no two lanes of a warp meet in a bank (two clocks a warp); random bins
bring it to about 10, so half of such a floor is a good kernel. Work on chip that is none of the three - color spaces,
entropies, reductions - is taken as free.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Content = Literal["noise", "medical", "constant"]
CONTENTS: tuple[Content, ...] = ("noise", "medical", "constant")
SIDES = (128, 224, 512)
BATCHES = (1, 16, 256, 4096, 65536)
# Threads of a block to try, of ops whose workspace does not depend on them; csrc/ops names the most.
BLOCK_WIDTHS = {
    "color_histogram": (128, 256, 512),
    "glcm": (128, 256, 384),
    "glcm_features": (128, 256, 384),
    "image_views": (64, 128, 256),
    "perceptual_maps": (256, 384, 768),
    "texture_stats": (128, 256, 512),
}
USUAL = (128, 4096)  # side and batch of every variant's first case
LARGEST_GRAPH_BATCH = 256  # up to here a call costs more than its kernel, so a replayed graph is timed too
ANGLES = 4
ATOMICS_A_CLOCK = 16
FMA_A_CLOCK = 128

# op: variants, the first of which goes through all sides, batches and contents.
VARIANTS: dict[str, tuple[dict[str, Any], ...]] = {
    "texture_stats": ({"kind": "color"}, {"kind": "gray"}),
    "glcm_features": ({"levels": 32}, {"levels": 256}, {"levels": 64}),
    "glcm": ({"levels": 32}, {"levels": 256}),
    "color_histogram": ({"space": "rgb", "bins": 256}, {"space": "lab", "bins": 64}),
    "image_views": ({"kind": "color"}, {"kind": "gray"}),
    "perceptual_maps": ({"kind": "color"}, {"kind": "gray"}, {"kind": "color", "mode": "published"}),
    "resize": ({"size": (64, 64)},),
    "additive_mlp": ({"inputs": 64, "hidden": (64, 32)}, {"inputs": 64, "hidden": (64, 32), "gradients": True}),
    "additive_lookup": ({"inputs": 64, "points": 4097},),
}
OF_ROWS = {"additive_mlp", "additive_lookup"}
ONE_CHANNEL = {"glcm", "glcm_features"}
TEXTURE_DISTANCES = 2
GLCM_FEATURES = 10  # of the preset of scikit-image
MAP_SIDE = 128
VIEWS_POSITIONS = 27 * 27
VIEWS_FILTERS = 64


@dataclass(frozen=True)
class Case:
    """One op on one batch. Items are images of `side` x `side` pixels; rows of inputs where side is 0."""

    op: str
    side: int
    batch: int
    content: Content = "noise"
    options: Mapping[str, Any] = field(default_factory=dict)
    threads: int = 0  # of a block; 0: the launcher's choice
    graph: bool = False  # a CUDA graph is replayed, so the call from Python costs nothing
    torch: bool = False  # the torch implementation is timed on the same GPU

    @property
    def channels(self) -> int:
        return 1 if self.op in ONE_CHANNEL or self.options.get("kind") == "gray" else 3

    @property
    def input_bytes(self) -> int:
        """Of one item: uint8 pixels, float32 inputs."""
        return self.side**2 * self.channels if self.side else 4 * int(self.options["inputs"])


@dataclass(frozen=True)
class Work:
    """What one item cannot do without."""

    bytes: int
    increments: int = 0
    fma: int = 0


@dataclass(frozen=True)
class Gpu:
    """What a floor needs to know."""

    name: str
    bandwidth: float  # bytes a second
    multiprocessors: int
    clock: float  # of a multiprocessor, a second


def work(case: Case) -> Work:
    """Of one item of the case."""
    pixels = case.side**2
    options = case.options
    if case.op == "color_histogram":
        return Work(case.input_bytes + 3 * options["bins"] * 4, 3 * pixels)
    if case.op == "glcm":
        return Work(case.input_bytes + ANGLES * options["levels"] ** 2 * 4, ANGLES * pixels)
    if case.op == "glcm_features":
        return Work(case.input_bytes + ANGLES * GLCM_FEATURES * 4, ANGLES * pixels)
    if case.op == "texture_stats":
        planes = 6 if options["kind"] == "color" else 2
        values = planes * (32 + 8 + 1) + TEXTURE_DISTANCES * ANGLES * GLCM_FEATURES + 64
        return Work(case.input_bytes + 4 * values, (planes + TEXTURE_DISTANCES * ANGLES) * pixels)
    if case.op == "image_views":
        terms = 36 * case.channels
        return Work(case.input_bytes + 4 * (64 * case.channels + 512), fma=VIEWS_POSITIONS * VIEWS_FILTERS * terms)
    if case.op == "perceptual_maps":
        return Work(case.input_bytes + 4 * MAP_SIDE**2 * 2 + 16)
    if case.op == "resize":
        height, width = options["size"]
        taps = 4 * case.side // width  # of an output, in either direction
        sums = case.channels * width * (case.side + height)
        return Work(case.input_bytes + case.channels * height * width, fma=2 * taps * sums)
    inputs = options["inputs"]
    outputs = 4 * (inputs + 1)
    if case.op == "additive_lookup":  # tables stay in the caches
        return Work(case.input_bytes + outputs)
    h1, h2 = options["hidden"]
    if options.get("gradients"):  # of all weights, after a forward pass; hidden layers are computed again
        return Work(case.input_bytes + outputs, fma=inputs * (3 * h1 + 4 * h1 * h2 + 3 * h2))
    return Work(case.input_bytes + outputs, fma=inputs * (h1 + h1 * h2 + h2))


def floor(case: Case, gpu: Gpu) -> dict[str, Any]:
    """Least milliseconds for the batch, and what sets them."""
    of_item = work(case)
    clocks = gpu.multiprocessors * gpu.clock
    milliseconds = {
        "bytes": 1e3 * case.batch * of_item.bytes / gpu.bandwidth,
        "atomics": 1e3 * case.batch * of_item.increments / (ATOMICS_A_CLOCK * clocks),
        "arithmetic": 1e3 * case.batch * of_item.fma / (FMA_A_CLOCK * clocks),
    }
    limit = max(milliseconds, key=lambda name: milliseconds[name])
    return {"floor_ms": milliseconds[limit], "limit": limit, "floors_ms": milliseconds}


def _sides(op: str) -> tuple[int, ...]:
    return (0,) if op in OF_ROWS else SIDES


def _contents(op: str) -> tuple[Content, ...]:
    return ("noise",) if op in OF_ROWS else CONTENTS


def _all() -> Iterator[Case]:
    for op, variants in VARIANTS.items():
        for side in _sides(op):
            for batch in BATCHES:
                for content in _contents(op):
                    compared = content == "noise" and batch in (256, 4096)
                    yield Case(op, side, batch, content, variants[0], torch=compared)
                if batch <= LARGEST_GRAPH_BATCH:
                    yield Case(op, side, batch, "noise", variants[0], graph=True)
        side = 0 if op in OF_ROWS else USUAL[0]
        for variant in variants[1:]:
            for content in _contents(op)[:2]:
                yield Case(op, side, USUAL[1], content, variant, torch=content == "noise")  # type: ignore[arg-type]
        for threads in BLOCK_WIDTHS.get(op, ()):
            yield Case(op, side, USUAL[1], "noise", variants[0], threads)


def cases() -> list[Case]:
    """Each variant's usual case first, then from small to large: where time runs out the largest are left out."""

    def order(case: Case) -> tuple[bool, int]:
        usual = case.side in (0, USUAL[0]) and case.batch == USUAL[1] and case.content == "noise" and not case.threads
        return not usual, case.batch * case.input_bytes

    return sorted(_all(), key=order)
