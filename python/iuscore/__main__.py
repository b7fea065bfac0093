"""The command ``iuscore``, also as ``python -m iuscore``."""

import gc
import signal
import sys

from iuscore._run.signals import deferred_interrupts


def run() -> None:
    """The command line in a process of its own."""
    try:
        with deferred_interrupts(repeated=True):
            from iuscore.cli import main
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
    try:
        main()
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # all is done
        gc.freeze()  # or the interpreter's end would visit every object of the libraries


if __name__ == "__main__":
    run()
