"""The command ``iuscore``: parse, call, print. Nothing else in the package prints."""

from __future__ import annotations

import logging
import sys
import warnings
from pathlib import Path

import click

from iuscore._run.files import is_disk_error
from iuscore.cli._common import (
    EXIT_INTERRUPTED,
    EXIT_USER,
    SEED,
    Command,
    PrintableFormatter,
    ProgressBar,
    printable,
    say,
)
from iuscore.cli._compare import compare
from iuscore.cli._explain import explain
from iuscore.cli._fit import fit, import_reference
from iuscore.cli._score import plot_features, score, verify
from iuscore.cli._select import select
from iuscore.errors import UserError


def _print_version(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value:
        from iuscore._environment import package_version

        say(f"iuscore {package_version()}")
        ctx.exit()


@click.group(
    invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"], "show_default": True}
)
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version, help="Print the version."
)
@click.option("-v", "--verbose", is_flag=True, help="Print more, such as why a back end is missing.")
@click.pass_context
def cli(context: click.Context, verbose: bool) -> None:
    """How useful a synthetic medical image is for training a classifier, and why."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help(), err=True)
        context.exit(EXIT_USER)
    handler = logging.StreamHandler()
    handler.setFormatter(PrintableFormatter("%(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO if verbose else logging.WARNING, handlers=[handler])
    warnings.formatwarning = lambda message, *_, **__: f"warning: {printable(str(message))}\n"


@cli.command()
def doctor() -> None:
    """Say which back ends exist, which one each op uses, and why one is missing."""
    from iuscore._environment import report_lines

    for line in report_lines():
        say(line)


@cli.command(cls=Command)
@click.option("--out", type=click.Path(path_type=Path), help="Keep the phantoms and the model here.")
@click.option("--seed", type=SEED, default=0)
def demo(out: Path | None, seed: int) -> None:
    """Draw phantoms, fit both models, and score a faithful and five defective sets; no data, no network."""
    from iuscore.demo import run_demo, table_lines

    for line in table_lines(run_demo(out, seed=seed, progress=ProgressBar())):
        say(line)


for command in (fit, score, compare, select, explain, verify, plot_features, import_reference):
    cli.add_command(command)


def main() -> None:
    """Entry point. A user's mistake gives one line and exit status 2; Ctrl-C gives 130."""
    try:
        status = cli.main(prog_name="iuscore", standalone_mode=False)
    except UserError as error:
        say(f"iuscore: {' '.join(str(error).split())}", err=True)
        status = EXIT_USER
    except click.ClickException as error:
        say(f"iuscore: {error.format_message()}", err=True)
        status = EXIT_USER
    except (KeyboardInterrupt, click.Abort):
        say("iuscore: interrupted", err=True)
        status = EXIT_INTERRUPTED
    except OSError as error:
        advice = "; mend that and run the same command again" if is_disk_error(error) else ""
        say(f"iuscore: {error.strerror or error}{f': {error.filename}' if error.filename else ''}{advice}", err=True)
        status = EXIT_USER
    except (MemoryError, RuntimeError) as error:
        import torch

        # PyTorch raises a plain RuntimeError if the CPU's memory is full; any other RuntimeError is a bug of iuscore.
        if not isinstance(error, MemoryError | torch.OutOfMemoryError) and "can't allocate memory" not in str(error):
            raise
        reason = (str(error).splitlines() or ["no room"])[0]
        say(f"iuscore: not enough memory, use a smaller --size or --batch-size: {reason}", err=True)
        status = EXIT_USER
    sys.exit(status if isinstance(status, int) else 0)
