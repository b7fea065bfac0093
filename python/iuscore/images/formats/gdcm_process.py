"""Compressed DICOM files and JPEG 2000 in a process of its own: on damaged data gdcm ends the process that it runs in.

That process has a limit of memory, and of time for each file: a small file of either kind can ask for both without end.
What other libraries set in this process does not reach it.

Run as a program, this file is that process: it answers each file that it is sent with the first frame.
"""

from __future__ import annotations

import sys

if __name__ == "__main__":
    del sys.path[0]  # this folder, whose modules have names that others have too

import atexit
import contextlib
import importlib
import io
import os
import signal
import struct
import subprocess
import threading
import warnings
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

_LENGTH = struct.Struct("<?Q")
MAX_SECONDS = 120.0
_MAX_MEMORY = 8 << 30


class GdcmError(Exception):
    """gdcm could not decode the file; the message says why, as far as it says so.

    Attributes:
        passing: whether something other than the file ended it, such as a lack of memory.
    """

    passing = False


class _Gone(GdcmError):
    """The process has died."""


class _Process:
    """The process, with what it needs to be asked."""

    def __init__(self) -> None:
        self.owner = os.getpid()
        self.child = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )

    def ask(self, content: bytes, by_gdcm: bool, who: str) -> NDArray[Any]:
        assert self.child.stdin is not None
        assert self.child.stdout is not None
        late = threading.Event()

        def end() -> None:
            late.set()
            self.child.kill()

        timer = threading.Timer(MAX_SECONDS, end)
        timer.daemon = True
        timer.start()
        try:
            _send(self.child.stdin, by_gdcm, content)
            good, answer = _receive(self.child.stdout)
        except (EOFError, OSError) as error:
            killed = self.close() in (-signal.SIGKILL, -signal.SIGTERM)
            if late.is_set():
                raise _Gone(f"decoding took more than {MAX_SECONDS:g} s") from error
            gone = _Gone(f"{who} was killed while it decoded it" if killed else f"{who} gave up on it")
            gone.passing = killed
            raise gone from error
        finally:
            timer.cancel()
        if not good:
            raise GdcmError(answer.decode())
        return np.load(io.BytesIO(answer), allow_pickle=False)  # type: ignore[no-any-return]

    def close(self) -> int | None:
        """End it; its exit status, where this process is the one that may ask."""
        for pipe in (self.child.stdin, self.child.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):  # a broken pipe
                    pipe.close()
        return self.child.wait() if self.owner == os.getpid() else None


_lock = threading.Lock()
_running: _Process | None = None


def first_frame(content: bytes, *, by_gdcm: bool = True) -> NDArray[Any]:
    """[height, width] as stored, or [height, width, 3] as RGB, of the DICOM file ``content``; raises GdcmError.

    ``by_gdcm``: by gdcm and no other decoder that pydicom finds.
    The process is started at the first call and again after it has died.
    """
    return _asked(content, by_gdcm, "gdcm")


def jpeg_2000(content: bytes) -> NDArray[Any]:
    """[height, width] or [height, width, channels] as Pillow has it, of a JPEG 2000 file; raises GdcmError."""
    return _asked(content, False, "its decoder")


def _asked(content: bytes, by_gdcm: bool, who: str) -> NDArray[Any]:
    global _running
    with _lock:
        if _running is None or _running.owner != os.getpid():
            _running = _Process()
        try:
            return _running.ask(content, by_gdcm, who)
        except _Gone:
            _running = None
            raise
        except GdcmError:
            raise
        except BaseException:  # such as Ctrl-C: the answer to this file would be taken for that to the next one
            _stop()
            raise


def _stop() -> int | None:
    global _running
    status = None if _running is None else _running.close()
    _running = None
    return status


atexit.register(_stop)


def _send(stream: IO[bytes], good: bool, content: bytes) -> None:
    stream.write(_LENGTH.pack(good, len(content)))
    stream.write(content)
    stream.flush()


def _receive(stream: IO[bytes]) -> tuple[bool, bytes]:
    good, size = _LENGTH.unpack(_exactly(stream, _LENGTH.size))
    return good, _exactly(stream, size)


def _exactly(stream: IO[bytes], size: int) -> bytes:
    content = stream.read(size)
    if len(content) < size:
        raise EOFError
    return content


def _serve() -> None:
    with contextlib.suppress(ImportError, OSError, ValueError):  # where there is no such limit, or a lower one
        resource = importlib.import_module("resource")
        resource.setrlimit(resource.RLIMIT_AS, (_MAX_MEMORY, _MAX_MEMORY))
    warnings.simplefilter("ignore")
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what gdcm prints is dropped
    with contextlib.suppress(EOFError, BrokenPipeError):  # the asking process has ended
        while True:
            by_gdcm, content = _receive(sys.stdin.buffer)
            try:
                frame = _decoded(content, by_gdcm)
                answer = io.BytesIO()
                np.save(answer, frame)
            except Exception as error:  # pydicom lets out whatever its plugins raise
                _send(answers, False, _short(error).encode())
            else:
                _send(answers, True, answer.getvalue())


def _decoded(content: bytes, by_gdcm: bool) -> NDArray[Any]:
    if content[128:132] == b"DICM":
        pixels = importlib.import_module("pydicom.pixels")
        plugin = "gdcm" if by_gdcm else ""
        return pixels.pixel_array(io.BytesIO(content), index=0, decoding_plugin=plugin)  # type: ignore[no-any-return]
    image: Any = importlib.import_module("PIL.Image")
    image.MAX_IMAGE_PIXELS = None  # the asking process has checked the size
    return np.array(image.open(io.BytesIO(content), formats=["JPEG2000"]))


def _short(error: Exception) -> str:
    """pydicom puts the words of its plugins below its own."""
    if isinstance(error, MemoryError):
        return "not enough memory to decode it"
    lines = str(error).splitlines() or ["its content contradicts itself"]
    return lines[1].strip() if lines[0].endswith(":") and len(lines) > 1 else lines[0]


if __name__ == "__main__":
    _serve()
