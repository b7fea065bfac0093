"""Which of several processes this one is, by the variables that torchrun and Slurm set."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import NamedTuple

from iuscore.errors import UserError

_VARIABLES = (("RANK", "WORLD_SIZE", "LOCAL_RANK"), ("SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID"))


class Rank(NamedTuple):
    """Place among ``world`` processes, and among those of this machine."""

    rank: int
    world: int
    local: int


def require_alone(environment: Mapping[str, str] = os.environ) -> None:
    """Raise where torchrun or srun started several processes: without ``--launcher torchrun`` each would do everything.

    Raises:
        UserError: they did.

    Example:
        >>> require_alone({"RANK": "0", "WORLD_SIZE": "1"})
    """
    # Not SLURM_NTASKS, which a batch script has before any srun.
    for started_by, name in (("torchrun", "WORLD_SIZE"), ("srun", "SLURM_STEP_NUM_TASKS")):
        world = environment.get(name, "")
        if world.isdecimal() and int(world) > 1 and (name != "WORLD_SIZE" or "RANK" in environment):
            raise UserError(
                f"{started_by} started {world} processes ({name}), each of which would score all images: add "
                "--launcher torchrun"
            )


def rank_of(environment: Mapping[str, str] = os.environ) -> Rank:
    """This process's rank.

    Raises:
        UserError: neither torchrun nor Slurm started it, or what they say makes no sense.

    Example:
        >>> rank_of({"SLURM_PROCID": "3", "SLURM_NTASKS": "8", "SLURM_LOCALID": "1"})
        Rank(rank=3, world=8, local=1)
    """
    for names in _VARIABLES:
        if names[0] in environment and names[1] in environment:
            try:
                rank, world, local = (int(environment.get(name, "0")) for name in names)
            except ValueError:
                rank, world, local = 0, 0, 0
            if not 0 <= rank < world:
                said = ", ".join(f"{name}={environment.get(name)}" for name in names)
                raise UserError(f"--launcher torchrun: expected a rank below the number of processes, got {said}")
            return Rank(rank, world, local)
    expected = " or ".join(" and ".join(names[:2]) for names in _VARIABLES)
    raise UserError(f"--launcher torchrun: expected {expected} in the environment: start it with torchrun or srun")
