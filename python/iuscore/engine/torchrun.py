"""The rank of this process, from the environment variables that torchrun and Slurm set."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import NamedTuple

from iuscore.errors import UserError

_VARIABLES = (("RANK", "WORLD_SIZE", "LOCAL_RANK"), ("SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID"))


class Rank(NamedTuple):
    """Rank of a process among ``world`` processes, and its ``local`` rank among the processes on this machine."""

    rank: int
    world: int
    local: int


def require_alone(environment: Mapping[str, str] = os.environ) -> None:
    """Raise if torchrun or srun started several processes, each of which would score all images.

    For commands without ``--launcher torchrun``.

    Raises:
        UserError: the variables of torchrun or srun name more than one process.

    Example:
        >>> require_alone({"RANK": "0", "WORLD_SIZE": "1"})
    """
    # Not SLURM_NTASKS, which Slurm sets in a batch script without srun too.
    for started_by, name in (("torchrun", "WORLD_SIZE"), ("srun", "SLURM_STEP_NUM_TASKS")):
        world = environment.get(name, "")
        if world.isdecimal() and int(world) > 1 and (name != "WORLD_SIZE" or "RANK" in environment):
            raise UserError(
                f"{started_by} started {world} processes ({name}), each of which would score all images: add "
                "--launcher torchrun"
            )


def rank_of(environment: Mapping[str, str] = os.environ) -> Rank:
    """The rank of this process.

    Raises:
        UserError: neither torchrun nor Slurm started this process, or their variables are no valid rank.

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
                got = ", ".join(f"{name}={environment.get(name)}" for name in names)
                raise UserError(f"--launcher torchrun: expected a rank below the number of processes, got {got}")
            return Rank(rank, world, local)
    expected = " or ".join(" and ".join(names[:2]) for names in _VARIABLES)
    raise UserError(f"--launcher torchrun: expected {expected} in the environment: start it with torchrun or srun")
