"""Named pipes, devices, sockets and folders in the place of files: nobody waits for them, and what they are is said."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from iuscore.errors import UserError
from iuscore.fit.groups import _read
from iuscore.images import open_shards, open_source
from iuscore.models.reference import _find_checkpoint
from tests.images.sharded_sources import fill
from tests.project.tree import python

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")


def a_socket(path: Path) -> None:
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(os.path.relpath(path))
    listening.close()


KINDS: dict[str, Callable[[Path], object]] = {
    "a named pipe": os.mkfifo,
    "a device": lambda path: path.symlink_to("/dev/zero"),
    "a socket": a_socket,
    "a folder": lambda path: path.mkdir(),
}


@pytest.fixture(params=KINDS)
def odd(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, Path]:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "odd.png"
    KINDS[request.param](path)
    return request.param, path


_WATCHED = "import sys, faulthandler; faulthandler.dump_traceback_later(30, exit=True)\n"


def in_a_process(code: str, *arguments: object) -> str:
    """Output of a process, which fails the test where it waits for ever."""
    done = python("-c", _WATCHED + code, *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


def test_an_image(odd: tuple[str, Path]) -> None:
    kind, path = odd
    code = (
        "from pathlib import Path\nfrom iuscore.images.sample import Item, StoredFile, read_item\n"
        "sample = read_item(Item('a', None, None, StoredFile(Path(sys.argv[1]))))\n"
        "print(sample.error, sample.passing)"
    )
    assert in_a_process(code, path) == f"cannot be opened: expected a file, got {kind} False"


def test_a_mask(odd: tuple[str, Path]) -> None:
    kind, path = odd
    fill(path.parent / "images", "odd.png", "ok.png")
    masks = fill(path.parent / "masks", "ok.pgm")
    shutil.move(path, masks / "odd.png")
    code = (
        "import os\nfrom iuscore.images import open_shards, open_source, read_item\n"
        "os.chdir(sys.argv[1])\n"
        "from iuscore.images.masks import MaskedShards, with_masks\n"
        "source = MaskedShards(open_shards('images'), 'masks')\n"
        "found = [read_item(item).error for shard in source.shards(9) for item in source.items(shard)]\n"
        "found += [sample.error for sample in with_masks(open_source('images'), 'masks')]\n"
        "print(*found, sep='\\n')"
    )
    assert (
        in_a_process(code, path.parent).splitlines()
        == [f"mask: cannot be opened: expected a file, got {kind}", "None"] * 2
    )


def test_other_files(odd: tuple[str, Path]) -> None:
    _, path = odd
    code = (
        "from pathlib import Path\nfrom iuscore.images.listing import is_image_file\n"
        "from iuscore.images.sample import StoredFile\nfrom iuscore.explain.plot import is_own_picture\n"
        "path = Path(sys.argv[1])\n"
        "print(is_own_picture(path), StoredFile(path).digest() == f'unreadable: {path}')\n"
        "print(is_image_file(path.rename(path.with_name('odd')), True))\n"
    )
    assert in_a_process(code, path).split() == ["False", "True", "False"]


ARCHIVES: tuple[Callable[[Path], object], ...] = (lambda path: list(open_shards(path).shards(9)), open_source)
OTHERS: dict[str, tuple[Callable[[Path], object], ...]] = {
    ".csv": (_read,),
    ".pt": (lambda path: _find_checkpoint(path.parent),),
}


@pytest.mark.timeout(100)
def test_archives_tables_and_checkpoints(odd: tuple[str, Path]) -> None:
    _, path = odd
    for name in ("odd.npz", "odd.npy", "odd.tar", "odd.parquet", "odd.csv", "ckpt.pt"):
        path = path.rename(path.parent / name)
        for way in OTHERS.get(path.suffix, ARCHIVES):
            with pytest.raises(UserError) as caught:
                way(path)
            assert len(str(caught.value)) < 400, name
