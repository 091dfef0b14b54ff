"""Commands that plan, run, follow and end sweeps."""

from typing import Annotated

import typer

from ablations.cli_options import (
    DEFAULT_STORE,
    Json,
    Quiet,
    Store,
    StoreOrProfiles,
    StudyUrl,
    Sweep,
    SweepFile,
    TrackingUri,
    Workers,
    store_folder,
)

app = typer.Typer(rich_markup_mode=None)


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

    return show_plan(
        sweep, store=store_folder(store, profile), profile=profile, workers=workers, json_output=json_output
    )


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
    quiet: Quiet = False,
) -> int:
    """Run a sweep to its end, or continue it.

    Running it again continues where it left off and reuses what is finished.
    """
    from ablations.run import run_sweep

    return run_sweep(
        sweep,
        store=store_folder(store, profile),
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
        bool, typer.Option("--dry-run", help="Print the batch scripts and submit nothing; needs no SLURM.")
    ] = False,
    study: StudyUrl = None,
    json_output: Json = False,
) -> int:
    """Submit a sweep to a SLURM cluster and return: it continues by itself.

    Submitting it again continues it, with the program and the sweep file as they are now.
    """
    from ablations.dry_run import show_scripts
    from ablations.submit import submit as submit_sweep

    place = store_folder(store, profile)
    if dry_run:
        return show_scripts(sweep, store=place, profile=profile, workers=workers, json_output=json_output)
    return submit_sweep(sweep, store=place, profile=profile, workers=workers, json_output=json_output, study_url=study)


@app.command()
def watch(
    sweep: Sweep,
    store: Store = DEFAULT_STORE,
    tracking_uri: TrackingUri = None,
    json_output: Json = False,
    quiet: Quiet = False,
) -> int:
    """Show a sweep live until it ends, then update MLflow and write the report. Ctrl-C stops only the watching."""
    from ablations.watch import watch as watch_sweep

    return watch_sweep(sweep, store=store, tracking_uri=tracking_uri, json_output=json_output, quiet=quiet)


@app.command()
def advance(
    sweep: Sweep,
    store: Store = DEFAULT_STORE,
    json_output: Json = False,
    just_ended: Annotated[bool, typer.Option("--just-ended", hidden=True)] = False,
) -> int:
    """Record which jobs of a submitted sweep have ended, and submit the next ones. Jobs do this by themselves."""
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
    failed: Annotated[bool, typer.Option("--failed", help="Retry all that failed; this is the default.")] = False,
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
    kill: Annotated[bool, typer.Option("--kill", help="End jobs at once, without saving their state.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
    json_output: Json = False,
) -> int:
    """End the running and waiting jobs of a sweep, or some of its trials. Running jobs save their state first."""
    from ablations.cancel import cancel as cancel_sweep

    return cancel_sweep(sweep, trials or (), store=store, kill=kill, yes=yes, json_output=json_output)


@app.command()
def status(sweep: Sweep, store: Store = DEFAULT_STORE, json_output: Json = False) -> int:
    """Show how far a sweep has got, and what failed."""
    from ablations.status import status as show_status

    return show_status(sweep, store=store, json_output=json_output)


@app.command()
def logs(
    sweep: Sweep,
    trial: Annotated[
        str | None,
        typer.Argument(help="Key of a trial or a stage. [default: list them]", show_default=False),
    ] = None,
    store: Store = DEFAULT_STORE,
    attempt: Annotated[
        int | None, typer.Option(min=1, help="Number of the attempt. [default: the last]", show_default=False)
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Keep printing as the log grows.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=1, help="How many lines from the end.")] = 100,
    json_output: Json = False,
) -> int:
    """Print the log of a trial."""
    from ablations.logs import logs as show_logs

    return show_logs(
        sweep, store=store, trial=trial, attempt=attempt, follow=follow, lines=lines, json_output=json_output
    )
