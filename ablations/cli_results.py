"""Commands that show the results of sweeps."""

from pathlib import Path
from typing import Annotated

import typer

from ablations.cli_options import DEFAULT_STORE, Json, Store, StudyUrl, Sweep, SweepOrAll, TrackingUri
from ablations.mlflow_access import tracking_address

app = typer.Typer(rich_markup_mode=None)


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
            "--output", "-o", file_okay=False, help="Folder to write to. [default: in the store]", show_default=False
        ),
    ] = None,
    images: Annotated[bool, typer.Option(help="Also write PNG, SVG and PDF, where a Chrome is found.")] = True,
    from_mlflow: Annotated[
        str | None,
        typer.Option(
            "--from-mlflow",
            metavar="URI",
            callback=tracking_address,
            help="Build it from what this MLflow has, into SWEEP-report. [default: the records in the store]",
            show_default=False,
        ),
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Rebuild it whenever there are new records, until the sweep ends.")
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
    sweep: SweepOrAll = None,
    store: Store = DEFAULT_STORE,
    tracking_uri: TrackingUri = None,
    json_output: Json = False,
) -> int:
    """Bring MLflow up to date from the records of one sweep, or of all.

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
    """Register the winning model in MLflow, so that it can be loaded by name."""
    from ablations.register import register as register_model

    return register_model(sweep, trial, name=name, store=store, tracking_uri=tracking_uri, json_output=json_output)


@app.command()
def dashboard(
    sweep: SweepOrAll = None,
    store: Store = DEFAULT_STORE,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port on this machine.")] = 5000,
    tracking_uri: TrackingUri = None,
    study: StudyUrl = None,
) -> int:
    """Open MLflow on the runs of a sweep, and Optuna's dashboard on the study of a search."""
    from ablations.dashboard import dashboard as open_dashboard

    return open_dashboard(sweep, store=store, port=port, tracking_uri=tracking_uri, study_url=study)
