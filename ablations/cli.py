"""The ``ablate`` command: parses and calls, nothing else. Heavy modules are imported by the command that needs them."""

import os
import sys
from typing import Annotated

import typer

from ablations import cli_results, cli_running, cli_setup
from ablations.cli_options import DEFAULT_STORE
from ablations.errors import EXIT_CODES, STOPPED, UNEXPECTED, AblationError
from ablations.store import store_errors

_INTERRUPTED = 130  # what Typer makes of Ctrl-C
_EPILOG = "Exit codes:\n\n" + "\n\n".join(f"{code}  {meaning}" for code, meaning in EXIT_CODES.items())


def _exit(code: int, **options: object) -> None:
    raise typer.Exit(code)


app = typer.Typer(
    name="ablate",
    result_callback=_exit,
    help="Ablation experiments on multimodal language models: from one sweep file to trained models and figures.",
    epilog=_EPILOG,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"ablate {version('mm-ablations')}")
        raise typer.Exit


@app.callback()
def _options(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.", envvar="ABLATE_DEBUG")] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Show the version.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    if debug:
        os.environ["ABLATE_DEBUG"] = "1"


for part in (cli_running.app, cli_results.app, cli_setup.app):
    app.add_typer(part)


def main() -> None:
    """The console script. A user's mistake ends with a message and an exit code, never with a traceback."""
    try:
        with store_errors(DEFAULT_STORE):
            app()
    except SystemExit as end:
        if end.code == _INTERRUPTED:
            sys.exit(_complain("stopped; run the same command again to continue", STOPPED))
        raise
    except AblationError as error:
        sys.exit(_complain(str(error), error.exit_code))
    except Exception as error:
        sys.exit(_fault(error))


def _complain(message: str, code: int) -> int:
    if os.environ.get("ABLATE_DEBUG"):
        import traceback

        traceback.print_exc()
    print(f"ablate: {message}" if "\n" not in message else f"ablate:\n{message}", file=sys.stderr)
    return code


def _fault(error: Exception) -> int:
    return _complain(f"{type(error).__name__}: {error}\nThis is a bug in ablate; --debug shows where.", UNEXPECTED)
