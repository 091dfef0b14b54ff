"""The ``ablate`` command: parses and calls, nothing else. What is heavy is imported by the command that needs it."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from ablations.errors import EXIT_CODES, OK, STOPPED, UNEXPECTED, AblationError
from ablations.store import store_errors

_EPILOG = "Exit codes:\n\n" + "\n\n".join(f"{code}  {meaning}" for code, meaning in EXIT_CODES.items())


def _exit(code: int, **options: object) -> None:
    raise typer.Exit(code)


app = typer.Typer(
    name="ablate",
    result_callback=_exit,
    help="Ablation experiments on multimodal language models: one sweep file becomes trained models and figures.",
    epilog=_EPILOG,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Store = Annotated[
    Path, typer.Option(file_okay=False, help="The folder that keeps all finished work.", envvar="ABLATE_STORE")
]
StoreOrProfiles = Annotated[
    Path | None,
    typer.Option(
        file_okay=False,
        help="The folder that keeps all finished work. [default: the profile's, else store]",
        envvar="ABLATE_STORE",
        show_default=False,
    ),
]
SweepFile = Annotated[Path, typer.Argument(help="A sweep file (YAML).", show_default=False)]
Sweep = Annotated[str, typer.Argument(help="A sweep's name, or its file.", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
Workers = Annotated[
    int | None,
    typer.Option(min=1, help="Jobs side by side. [default: one for each core, or each GPU]", show_default=False),
]


def _tracking_address(uri: str | None) -> str | None:
    from ablations.mlflow_access import tracking_address

    return tracking_address(uri)


TrackingUri = Annotated[
    str | None,
    typer.Option(
        callback=_tracking_address,
        envvar="MLFLOW_TRACKING_URI",
        help="Where MLflow keeps the runs. [default: in the store]",
        show_default=False,
    ),
]
StudyUrl = Annotated[
    str | None,
    typer.Option(
        "--study",
        metavar="URL",
        envvar="ABLATE_STUDY",
        help="The database that keeps the study of a search. [default: a file in the store]",
        show_default=False,
    ),
]
DEFAULT_STORE = Path("store")
_INTERRUPTED = 130  # what Typer makes of Ctrl-C


def _place(store: Path | None, profile: str | None) -> Path:
    if store is None and profile is not None:
        from ablations.profile_file import store_of

        store = store_of(profile)
    return store or DEFAULT_STORE


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


@app.command()
def plan(
    sweep: SweepFile,
    store: StoreOrProfiles = None,
    profile: Annotated[
        str | None,
        typer.Option(
            help="Plan for a SLURM cluster, with its batch script: a profile's name or file. [default: this machine]",
            show_default=False,
        ),
    ] = None,
    workers: Workers = None,
    json_output: Json = False,
) -> int:
    """Show what a sweep would run and cost.

    Trials, shared stages, what is finished already, parameters, FLOPs and an estimate of the time. Runs nothing.
    """
    from ablations.preview import plan as show_plan

    return show_plan(sweep, store=_place(store, profile), profile=profile, workers=workers, json_output=json_output)


@app.command()
def run(
    sweep: SweepFile,
    store: StoreOrProfiles = None,
    profile: Annotated[
        str | None,
        typer.Option(
            help="Run the jobs on a SLURM cluster: a profile's name or file. [default: on this machine]",
            show_default=False,
        ),
    ] = None,
    workers: Workers = None,
    tracking_uri: TrackingUri = None,
    study: StudyUrl = None,
    json_output: Json = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")] = False,
) -> int:
    """Run a sweep to its end, or continue it.

    Running it again continues where it was and reuses what is finished.
    """
    from ablations.run import run_sweep

    return run_sweep(
        sweep,
        store=_place(store, profile),
        workers=workers,
        tracking_uri=tracking_uri,
        json_output=json_output,
        quiet=quiet,
        profile=profile,
        study_url=study,
    )


@app.command()
def submit(
    sweep: SweepFile,
    profile: Annotated[str, typer.Option(help="The cluster: a profile's name or file.", show_default=False)],
    store: StoreOrProfiles = None,
    workers: Workers = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the batch scripts and send nothing; needs no SLURM.")
    ] = False,
    study: StudyUrl = None,
    json_output: Json = False,
) -> int:
    """Submit a sweep to a SLURM cluster and leave: it goes on by itself.

    Submitting it again continues it, with the program and the sweep file as they are now.
    """
    from ablations.dry_run import show_scripts
    from ablations.submit import submit as submit_sweep

    place = _place(store, profile)
    if dry_run:
        return show_scripts(sweep, store=place, profile=profile, workers=workers, json_output=json_output)
    return submit_sweep(sweep, store=place, profile=profile, workers=workers, json_output=json_output, study_url=study)


@app.command()
def watch(
    sweep: Sweep,
    store: Store = DEFAULT_STORE,
    tracking_uri: TrackingUri = None,
    json_output: Json = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")] = False,
) -> int:
    """Show a sweep live until it ends, then write MLflow and the report. Ctrl-C ends the watching alone."""
    from ablations.watch import watch as watch_sweep

    return watch_sweep(sweep, store=store, tracking_uri=tracking_uri, json_output=json_output, quiet=quiet)


@app.command()
def advance(
    sweep: Sweep,
    store: Store = DEFAULT_STORE,
    json_output: Json = False,
    just_ended: Annotated[bool, typer.Option("--just-ended", hidden=True)] = False,
) -> int:
    """Take in what ended of a submitted sweep, and submit what comes next. Jobs do that by themselves."""
    from ablations.submit import advance_sweep

    return advance_sweep(sweep, store=store, json_output=json_output, just_ended=just_ended)


@app.command()
def retry(
    sweep: Sweep,
    trials: Annotated[
        list[str] | None,
        typer.Argument(
            help="Keys of failed or cancelled trials, or ARM:SEED. [default: all that failed]", show_default=False
        ),
    ] = None,
    failed: Annotated[bool, typer.Option("--failed", help="All that failed, as without it.")] = False,
    store: Store = DEFAULT_STORE,
    json_output: Json = False,
) -> int:
    """Try failed or cancelled trials of a submitted sweep again, with the program it was submitted with."""
    from ablations.retry import retry as retry_trials

    return retry_trials(sweep, trials or (), failed=failed, store=store, json_output=json_output)


@app.command()
def cancel(
    sweep: Sweep,
    trials: Annotated[
        list[str] | None,
        typer.Argument(help="Keys of trials, or ARM:SEED. [default: all of the sweep]", show_default=False),
    ] = None,
    store: Store = DEFAULT_STORE,
    kill: Annotated[bool, typer.Option("--kill", help="At once, without saving state.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    json_output: Json = False,
) -> int:
    """End what runs or waits of a sweep, or of some of its trials. Running jobs save their state first."""
    from ablations.cancel import cancel as cancel_sweep

    return cancel_sweep(sweep, trials or (), store=store, kill=kill, yes=yes, json_output=json_output)


@app.command()
def status(sweep: Sweep, store: Store = DEFAULT_STORE, json_output: Json = False) -> int:
    """Say how far a sweep is, and what failed."""
    from ablations.status import status as show_status

    return show_status(sweep, store=store, json_output=json_output)


@app.command()
def logs(
    sweep: Sweep,
    trial: Annotated[
        str | None,
        typer.Argument(help="Key of a trial or a stage. [default: lists them]", show_default=False),
    ] = None,
    store: Store = DEFAULT_STORE,
    attempt: Annotated[int | None, typer.Option(min=1, help="Number. [default: the last]", show_default=False)] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as the log grows.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=1, help="How many lines from the end.")] = 100,
    json_output: Json = False,
) -> int:
    """Print the log of a trial."""
    from ablations.logs import logs as show_logs

    return show_logs(
        sweep, store=store, trial=trial, attempt=attempt, follow=follow, lines=lines, json_output=json_output
    )


@app.command()
def report(
    sweeps: Annotated[
        list[str],
        typer.Argument(
            metavar="SWEEP...", help="A sweep's name, or its file; several are compared.", show_default=False
        ),
    ],
    store: Store = DEFAULT_STORE,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", file_okay=False, help="Folder to write. [default: in the store]", show_default=False
        ),
    ] = None,
    images: Annotated[bool, typer.Option(help="Also write PNG, SVG and PDF, where a Chrome is found.")] = True,
    from_mlflow: Annotated[
        str | None,
        typer.Option(
            "--from-mlflow",
            metavar="URI",
            callback=_tracking_address,
            help="Make it of what this MLflow has, into SWEEP-report. [default: the records in the store]",
            show_default=False,
        ),
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Again whenever records are new, until the sweep ends.")
    ] = False,
    json_output: Json = False,
) -> int:
    """Rebuild a sweep's figures, tables and HTML page; or compare several sweeps on one."""
    from ablations.report import report as make_report

    return make_report(
        sweeps, store=store, output=output, images=images, json_output=json_output, from_mlflow=from_mlflow, watch=watch
    )


@app.command()
def sync(
    sweep: Annotated[str | None, typer.Argument(help="A sweep's name, or its file.", show_default=False)] = None,
    store: Store = DEFAULT_STORE,
    tracking_uri: TrackingUri = None,
    json_output: Json = False,
) -> int:
    """Bring MLflow up to date from the records, of one sweep or of all.

    Running it again writes nothing twice.
    """
    from ablations.sync import sync as sync_sweeps

    return sync_sweeps(sweep, store=store, tracking_uri=tracking_uri, json_output=json_output)


@app.command()
def register(
    sweep: Sweep,
    trial: Annotated[
        str | None,
        typer.Argument(
            help="Key of a trial, or ARM:SEED. [default: the one with the best objective]", show_default=False
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="The model's name in the registry. [default: the sweep's]", show_default=False)
    ] = None,
    store: Store = DEFAULT_STORE,
    tracking_uri: TrackingUri = None,
    json_output: Json = False,
) -> int:
    """Put the model that won into MLflow's registry, to be loaded by name."""
    from ablations.register import register as register_model

    return register_model(sweep, trial, name=name, store=store, tracking_uri=tracking_uri, json_output=json_output)


@app.command()
def dashboard(
    sweep: Annotated[str | None, typer.Argument(help="A sweep's name, or its file.", show_default=False)] = None,
    store: Store = DEFAULT_STORE,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port on this machine.")] = 5000,
    tracking_uri: TrackingUri = None,
    study: StudyUrl = None,
) -> int:
    """Open MLflow on the runs of a sweep, and Optuna's dashboard on the study of a search."""
    from ablations.dashboard import dashboard as open_dashboard

    return open_dashboard(sweep, store=store, port=port, tracking_uri=tracking_uri, study_url=study)


@app.command()
def init(
    path: Annotated[Path, typer.Argument(help="The file to write.")] = Path("sweep.yaml"),
    force: Annotated[bool, typer.Option("--force", help="Replace the file if it is there.")] = False,
) -> int:
    """Write a commented sweep file to start from."""
    from ablations.starter import init as write_starter

    return write_starter(path, force=force)


@app.command()
def schema() -> int:
    """Print the JSON Schema of sweep files, for editors."""
    from ablations.schema import print_schema

    print_schema()
    return OK


@app.command()
def doctor(
    profile: Annotated[str, typer.Option(help="The profile of a SLURM cluster: its name or file.", show_default=False)],
    store: StoreOrProfiles = None,
    gpus: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="GPUs that the job asks for. [default: 1 if the profile has a gpu_type, else 0]",
            show_default=False,
        ),
    ] = None,
    wait: Annotated[int, typer.Option(min=1, help="Seconds in which the job must start.")] = 300,
    json_output: Json = False,
) -> int:
    """Check that a cluster's profile works, by asking SLURM and by running one small job.

    The job leaves nothing behind. Ctrl-C cancels it.
    """
    from ablations.doctor import doctor as examine

    return examine(profile, store=_place(store, profile), gpus=gpus, wait=wait, json_output=json_output)


devcluster = typer.Typer(
    help="A real SLURM cluster on this machine, with pretended GPUs, to try things on. Needs SLURM's packages.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.add_typer(devcluster, name="devcluster")
ClusterFolder = Annotated[
    Path | None,
    typer.Option(
        "--folder", help="The cluster's folder. [default: ~/.local/state/ablate/devcluster]", show_default=False
    ),
]


@devcluster.command("up")
def devcluster_up(
    folder: ClusterFolder = None,
    nodes: Annotated[
        int | None,
        typer.Option(min=1, max=32, help="Nodes, of 4 CPUs and 4 GPUs each. [default: 2]", show_default=False),
    ] = None,
    accounting: Annotated[bool, typer.Option("--accounting", help="With sacct: slurmdbd and MariaDB.")] = False,
    json_output: Json = False,
) -> int:
    """Bring the cluster up, or start what is dead of it."""
    from ablations.devcluster import up

    return up(folder, nodes=nodes, accounting=accounting, json_output=json_output)


@devcluster.command("down")
def devcluster_down(folder: ClusterFolder = None, json_output: Json = False) -> int:
    """End the cluster with all its jobs. Its logs stay."""
    from ablations.devcluster import down

    return down(folder, json_output=json_output)


@devcluster.command("status")
def devcluster_status(folder: ClusterFolder = None, json_output: Json = False) -> int:
    """Say what of the cluster is alive. Exit code 4 where it is not all of it."""
    from ablations.devcluster import status

    return status(folder, json_output=json_output)


def main() -> None:
    """The console script. A mistake of the user ends with a message and an exit code, never with a traceback."""
    try:
        with store_errors(DEFAULT_STORE):
            app()
    except SystemExit as end:
        if end.code == _INTERRUPTED:
            sys.exit(_complain("stopped; the same command continues", STOPPED))
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
    return _complain(f"{type(error).__name__}: {error}\nThis is a fault of ablate; --debug shows where.", UNEXPECTED)
