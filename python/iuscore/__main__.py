"""The command ``iuscore``, also as ``python -m iuscore``."""

import gc
import signal
import sys

from iuscore._run.signals import deferred_interrupts


def run() -> None:
    """Run the command line as the main program of this process."""
    try:
        with deferred_interrupts(repeated=True):
            from iuscore.cli import main
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
    try:
        main()
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C has no effect any more: the work is done
        gc.freeze()  # without it, the interpreter would visit every object of the libraries at its end


if __name__ == "__main__":
    run()
