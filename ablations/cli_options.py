"""Options that several commands have. Heavy modules are imported by the command that needs them."""

from pathlib import Path
from typing import Annotated

import typer

from ablations.mlflow_access import tracking_address

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
SweepOrAll = Annotated[str | None, typer.Argument(help="A sweep's name, or its file.", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")]
Workers = Annotated[
    int | None,
    typer.Option(min=1, help="Jobs to run in parallel. [default: one per core, or per GPU]", show_default=False),
]
TrackingUri = Annotated[
    str | None,
    typer.Option(
        callback=tracking_address,
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


def store_folder(store: Path | None, profile: str | None) -> Path:
    """The store's folder: the one that was named, else the profile's, else the default."""
    if store is None and profile is not None:
        from ablations.profile_file import store_of

        store = store_of(profile)
    return store or DEFAULT_STORE
