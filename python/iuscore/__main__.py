"""The command ``iuscore``, also as ``python -m iuscore``."""

import gc
import signal

from iuscore.cli import main


def run() -> None:
    """The command line in a process of its own."""
    try:
        main()
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # all is done
        gc.freeze()  # or the interpreter's end would visit every object of the libraries


if __name__ == "__main__":
    run()
