"""Settings that all shards of a run share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from iuscore.engine.plan import Plan
from iuscore.explain.value import ReferenceViews

FROM_FOLDER = "from-folder"


@dataclass(frozen=True)
class Settings:
    """Settings that all shards of a run share. Only ``target`` and ``run`` change the content of a part.

    Attributes:
        out: folder of the run.
        run: identity of the run.
        plan: the shards of the run.
        target: class to compare all images with, or "from-folder".
        sample: see `iuscore.engine.parts.sample_size`.
        batch_size: images scored at once.
        device: torch device of the model.
        strict: raise at the first unreadable image.
        mask_size: see `iuscore.models.AdditiveModel.mask_size`.
        group_by: pattern that finds the group of an image in its name; None where the images have no groups.
        reference: real images that the value of images is judged by; None: views are not written.
    """

    out: Path
    run: str
    plan: Plan
    target: str
    sample: int
    batch_size: int
    device: str
    strict: bool
    mask_size: tuple[int, int] | None = None
    group_by: str | None = None
    reference: ReferenceViews | None = None
