"""gdcm in a process of its own: on damaged data it ends the process that it runs in.

Run as a program, this file is that process: it answers each DICOM file that it is sent with the first frame.
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
import struct
import subprocess
import threading
import warnings
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

_LENGTH = struct.Struct("<?Q")


class GdcmError(Exception):
    """gdcm could not decode the file; the message says why, as far as it says so."""


class _Process:
    """The process, with what it needs to be asked."""

    def __init__(self) -> None:
        self.owner = os.getpid()
        self.child = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )

    def ask(self, content: bytes) -> NDArray[Any]:
        assert self.child.stdin is not None
        assert self.child.stdout is not None
        _send(self.child.stdin, True, content)
        good, answer = _receive(self.child.stdout)
        if not good:
            raise GdcmError(answer.decode())
        return np.load(io.BytesIO(answer), allow_pickle=False)  # type: ignore[no-any-return]

    def close(self) -> None:
        for pipe in (self.child.stdin, self.child.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):  # what could not be sent
                    pipe.close()
        if self.owner == os.getpid():
            self.child.wait()


_lock = threading.Lock()
_running: _Process | None = None


def first_frame(content: bytes) -> NDArray[Any]:
    """[height, width] as stored, or [height, width, 3] as RGB, of the DICOM file ``content``; raises GdcmError.

    The process is started at the first call and again after it has died.
    """
    global _running
    with _lock:
        if _running is None or _running.owner != os.getpid():
            _running = _Process()
        try:
            return _running.ask(content)
        except (EOFError, OSError) as error:
            _stop()
            raise GdcmError("gdcm gave up on it") from error
        except GdcmError:
            raise
        except BaseException:  # such as Ctrl-C: the answer to this file would be taken for that to the next one
            _stop()
            raise


def _stop() -> None:
    global _running
    if _running is not None:
        _running.close()
    _running = None


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
    pixels = importlib.import_module("pydicom.pixels")
    warnings.simplefilter("ignore")
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever gdcm has to say goes nowhere
    with contextlib.suppress(EOFError, BrokenPipeError):  # the one who asks is gone
        while True:
            content = _receive(sys.stdin.buffer)[1]
            try:
                frame = pixels.pixel_array(io.BytesIO(content), index=0, decoding_plugin="gdcm")
                answer = io.BytesIO()
                np.save(answer, frame)
            except Exception as error:  # pydicom lets out whatever its plugins raise
                _send(answers, False, _short(error).encode())
            else:
                _send(answers, True, answer.getvalue())


def _short(error: Exception) -> str:
    """pydicom puts the words of its plugins below its own."""
    lines = str(error).splitlines() or [type(error).__name__]
    return lines[1].strip() if lines[0].endswith(":") and len(lines) > 1 else lines[0]


if __name__ == "__main__":
    _serve()
