"""Write what was selected from a run: lists of uids, rows, links to images, and shards of their own."""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
import tempfile
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from iuscore._run.files import TEMPORARY_SUFFIX, atomic_write
from iuscore._run.regular_files import regular_only
from iuscore.engine.parts import FOLDER
from iuscore.engine.plan import make_plan
from iuscore.engine.run import PLAN_NAME, class_names
from iuscore.engine.selected_columns import VALUES_FOLDER, RunColumns
from iuscore.engine.settings import FROM_FOLDER
from iuscore.errors import UserError
from iuscore.explain.select.order import Places
from iuscore.images import MAX_PIXELS, Item, MaskedShards, Shard, ShardedSource, StoredFile, open_shards
from iuscore.images.listing import is_image_name
from iuscore.images.sample import StoredBytes, StoredNothing
from iuscore.progress import Progress
from iuscore.scoring import Scorer

if TYPE_CHECKING:
    import pyarrow as pa

_NUMBERED = re.compile(r"(?P<stem>.*)(?P<end>\.[^./]+)#(?P<number>\d+)", re.DOTALL)
_LONGEST = 200
_LINES = 100_000
_PIECE = 1 << 20
_NO_LINKS = {getattr(errno, name, 0) for name in ("EXDEV", "EPERM", "EMLINK", "ENOTSUP", "EOPNOTSUPP", "ENOSYS")}
_SIGNATURES = (
    (b"\x89PNG\r\n\x1a\n", ".png"),
    (b"\xff\xd8\xff", ".jpg"),
    (b"GIF8", ".gif"),
    (b"II*\0", ".tif"),
    (b"MM\0*", ".tif"),
    (b"BM", ".bmp"),
    (b"\xff\x4f\xff\x51", ".j2k"),
    (b"\0\0\0\x0cjP  ", ".jp2"),
)


def write_names(path: Path, names: pa.LargeStringArray) -> int:
    """One uid a line, in UTF-8; a line break in a name becomes ``\\n``, and how many names had one is returned."""
    changed = 0
    with atomic_write(path) as file:
        for start in range(0, len(names), _LINES):
            texts = names[start : start + _LINES].to_pylist()
            lines = [text.replace("\r", "\\r").replace("\n", "\\n") for text in texts]
            changed += sum(line != text for line, text in zip(lines, texts, strict=True))
            file.write("".join(f"{line}\n" for line in lines).encode())
    return changed


def write_rows(path: Path, columns: RunColumns, places: Places) -> None:
    """The rows of chosen images as one Parquet file, in the order of the run: scores, then values if any."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with atomic_write(path) as file:
        writer = None
        for part, rows, _ in columns.by_part(np.sort(places)):
            table = columns.part(FOLDER, part).replace_schema_metadata(None).take(pa.array(rows))
            if columns.pool.value is not None:
                values = columns.part(VALUES_FOLDER, part).take(pa.array(rows))
                for name in values.column_names:
                    if name not in table.column_names:
                        table = table.append_column(name, values.column(name))
            if writer is None:
                writer = pq.ParquetWriter(file, table.schema)
            writer.write_table(table)
        if writer is not None:
            writer.close()


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """A folder to fill, which is renamed to ``folder`` when the block ends, and removed with its files if it raises."""
    folder = Path(os.path.abspath(folder))
    folder.parent.mkdir(parents=True, exist_ok=True)
    filled = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}{TEMPORARY_SUFFIX}")
    filled.mkdir()
    try:
        yield filled
        if folder.is_dir():
            folder.rmdir()  # refuses a folder that holds something by now
        os.replace(filled, folder)
    except BaseException:
        shutil.rmtree(filled, ignore_errors=True)
        raise


def require_new_folder(option: str, folder: Path) -> None:
    """Raise unless ``folder`` is not there, or empty."""
    try:
        taken = folder.is_symlink() or (folder.exists() and (not folder.is_dir() or next(folder.iterdir(), None)))
    except OSError as error:
        raise UserError(f"{option}: cannot list {folder}: {error.strerror}") from None
    if taken:
        raise UserError(
            f"{option}: expected a new or an empty folder, since no file is overwritten, got {folder}: give another"
        )


class Chosen(NamedTuple):
    """One chosen image: where it lies, and the class it claims."""

    item: Item
    target: str


class ChosenImages:
    """The images of a run that were chosen, found again in their source.

    Args:
        columns: the run.
        places: of the chosen images.
        scorer: the model of the run, which knows what labels stand for.
        images: where the images are now; None: where they were.
        max_pixels: as it was given to the run.

    Raises:
        UserError: the images are gone or have changed.
    """

    def __init__(
        self, columns: RunColumns, places: Places, scorer: Scorer, images: Path | None, max_pixels: int | None
    ) -> None:
        self.columns, self.places = columns, np.sort(places)
        record = columns.record
        self.source = _opened(columns, scorer, images, max_pixels or MAX_PIXELS)
        with tempfile.TemporaryDirectory() as scratch:  # the folder of the run may be read-only
            plan = make_plan(self.source, record.identity.shard_size, Path(scratch, PLAN_NAME))
            if plan.signature != record.identity.source:
                raise UserError(
                    f"the images of {self.source.path} have changed since they were scored: {record.n_images} then, "
                    f"{plan.images} now; score them again, or give the unchanged "
                    "ones with --images, and --max-pixels as it was given to score"
                )
            self.shards = [(part, plan.shard(part)) for part, _, _ in columns.by_part(self.places)]

    def __len__(self) -> int:
        return len(self.places)

    def by_shard(self) -> Iterator[tuple[Shard, list[tuple[int, Chosen]]]]:
        """Each shard with chosen images, and these: (number in the shard, image)."""
        names = self.columns.pool.classes
        for (_, shard), (_, rows, where) in zip(self.shards, self.columns.by_part(self.places), strict=True):
            labels = dict(zip(rows.tolist(), self.columns.pool.labels[self.places[where]].tolist(), strict=True))
            items = enumerate(self.source.entries(shard))
            yield shard, [(i, Chosen(item, names[labels[i]])) for i, item in items if i in labels]


def _opened(columns: RunColumns, scorer: Scorer, images: Path | None, max_pixels: int) -> ShardedSource:
    record = columns.record
    labeled = record.identity.target == FROM_FOLDER
    source = open_shards(
        images or record.images,
        labeled=labeled,
        # Of a folder, the recorded path already has the split in it.
        split=record.split,
        column=record.column,
        max_pixels=max_pixels,
        bits=record.identity.bits,
        by_content=bool(record.by_content),
        labels_from=record.labels_from or "folder",
    )
    if labeled:
        source = source.named(class_names(scorer, record.identity.map))
    return MaskedShards(source, Path(record.masks)) if record.masks else source


def require_files(option: str, columns: RunColumns, images: Path | None) -> None:
    """Raise where the images are arrays, which are no files that could be linked or copied."""
    name = str(images or columns.record.images).lower()
    if name.endswith((".npy", ".npz")):
        raise UserError(
            f"{option}: expected image files, .tar or Parquet files, got arrays, {columns.record.images}: "
            "take the rows by their uids, which end in the number of the image"
        )


def stored_content(item: Item) -> Path | bytes:
    """The file of an image, or its bytes where it lies in an archive.

    Raises:
        UserError: it cannot be read now, or is no file.
    """
    stored = item.stored.fetched()
    if isinstance(stored, StoredFile):
        return stored.path
    if isinstance(stored, StoredBytes):
        return stored.content
    reason = stored.reason if isinstance(stored, StoredNothing) else "it is an array, and no image file"
    raise UserError(f"{item.uid} cannot be copied: {reason}")


def safe_names(uid: str, target: str) -> list[str]:
    """Names of folders and a file, below any folder, for an image; none leads out of it.

    The class comes first, and is not repeated where the uid begins with it.

    Example:
        >>> safe_names("benign/p1/1.png", "benign"), safe_names("x.tar/../../1.png#2", "benign")
        (['benign', 'p1', '1.png'], ['benign', 'x.tar', '_', '_', '1#2.png'])
    """
    if match := _NUMBERED.fullmatch(uid):  # a further member of one name: its extension comes last again
        uid = f"{match['stem']}#{match['number']}{match['end']}"
    names = [_safe(name) for name in uid.split("/") if name not in ("", ".")]
    top = _safe(target)
    return names if len(names) > 1 and names[0] == top else [top, *(names or ["_"])]


def _safe(name: str) -> str:
    """``name`` as the name of one file or folder on any system; one that is too long keeps its end."""
    unusable = '\\/:*?"<>|'
    found = "".join("_" if c in unusable or (unicodedata.category(c)[0] in "CZ" and c != " ") else c for c in name)
    found = "_" if not found.strip(". ") else found
    while len(found.encode()) > _LONGEST:
        found = found[len(found) // 4 :]
    return found


def extension_of(head: bytes) -> str:
    """The extension of an image file that begins with ``head``; empty if it is none that is known.

    Example:
        >>> extension_of(b"\\xff\\xd8\\xff..."), extension_of(b"P5 2 1 255 ab"), extension_of(b"text")
        ('.jpg', '.pgm', '')
    """
    if head[128:132] == b"DICM":
        return ".dcm"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return ".webp"
    if re.match(rb"P[1-6]\s", head):
        return {b"1": ".pbm", b"4": ".pbm", b"2": ".pgm", b"5": ".pgm"}.get(head[1:2], ".ppm")
    return next((end for beginning, end in _SIGNATURES if head.startswith(beginning)), "")


def beginning(content: Path | bytes) -> bytes:
    """The first 132 bytes of a file."""
    if isinstance(content, bytes):
        return content[:132]
    with open(content, "rb", opener=regular_only) as stream:
        return stream.read(132)


def link_images(folder: Path, chosen: ChosenImages, progress: Progress) -> tuple[int, int]:
    """Hard links to the images in sub-folders by class, copies where no link can be made.

    Args:
        folder: new or empty; it appears when all images are there.

    Returns:
        Number of links, and of copies.
    """
    links = 0
    progress.start("linking", len(chosen), "image")
    with new_folder(folder) as root:
        for _, images in chosen.by_shard():
            for _, (item, target) in images:
                links += _placed(root, item, target)
                progress.advance(1)
    progress.stop()
    return links, len(chosen) - links


def _placed(root: Path, item: Item, target: str) -> bool:
    """Put one image below ``root``; whether it is a link."""
    content = stored_content(item)
    names = safe_names(item.uid, target)
    if not is_image_name(names[-1]) and isinstance(content, bytes):
        names[-1] += extension_of(content[:132])
    path = root.joinpath(*names)
    path.parent.mkdir(parents=True, exist_ok=True)
    number = 1
    while os.path.lexists(path):  # two uids that became one name
        number += 1
        path = root.joinpath(*names[:-1], f"{number}_{names[-1]}")
    if isinstance(content, Path):
        source = os.path.realpath(content)  # a link to a link would be a link to a name
        try:
            os.link(source, path)
            return True
        except FileNotFoundError:
            raise UserError(f"{content} is gone: score the images again") from None
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
    with open(path, "xb") as copy:
        if isinstance(content, bytes):
            copy.write(content)
        else:
            with open(content, "rb", opener=regular_only) as stream:
                shutil.copyfileobj(stream, copy, _PIECE)
    return False
