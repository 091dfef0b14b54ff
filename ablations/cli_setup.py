"""Commands to begin with: a sweep file, its schema, a cluster that works."""

from pathlib import Path
from typing import Annotated

import typer

from ablations.cli_options import Json, StoreOrProfiles, store_folder
from ablations.errors import OK

app = typer.Typer(rich_markup_mode=None)


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
    wait: Annotated[int, typer.Option(min=1, help="Seconds to wait for the job to start.")] = 300,
    json_output: Json = False,
) -> int:
    """Check that a cluster's profile works, by asking SLURM and by running one small job.

    The job leaves nothing behind. Ctrl-C cancels it.
    """
    from ablations.doctor import doctor as examine

    return examine(profile, store=store_folder(store, profile), gpus=gpus, wait=wait, json_output=json_output)


devcluster = typer.Typer(
    help="A real SLURM cluster on this machine, with simulated GPUs, for trying things out. Needs SLURM's packages.",
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
    accounting: Annotated[bool, typer.Option("--accounting", help="Also run slurmdbd and MariaDB, for sacct.")] = False,
    json_output: Json = False,
) -> int:
    """Start the cluster, or those of its daemons that are dead."""
    from ablations.devcluster import up

    return up(folder, nodes=nodes, accounting=accounting, json_output=json_output)


@devcluster.command("down")
def devcluster_down(folder: ClusterFolder = None, json_output: Json = False) -> int:
    """Stop the cluster and all its jobs. Its logs are kept."""
    from ablations.devcluster import down

    return down(folder, json_output=json_output)


@devcluster.command("status")
def devcluster_status(folder: ClusterFolder = None, json_output: Json = False) -> int:
    """Show which parts of the cluster are alive. Exit code 4 unless all of them are."""
    from ablations.devcluster import status

    return status(folder, json_output=json_output)
