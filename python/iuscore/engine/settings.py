"""What every shard of a run has in common."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from iuscore.engine.plan import Plan

FROM_FOLDER = "from-folder"


@dataclass(frozen=True)
class Settings:
    """What every shard of a run has in common. Only ``target`` and ``run`` enter the results.

    Attributes:
        out: folder of the run.
        run: its identity.
        plan: its shards.
        target: class to compare all images with, or "from-folder".
        sample: see `iuscore.engine.parts.sample_size`.
        batch_size: images at once.
        device: where the model runs.
        strict: raise at the first unreadable image.
        mask_size: see `iuscore.models.AdditiveModel.mask_size`.
        group_by: pattern that finds the group of an image in its name; None: images have none.
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
