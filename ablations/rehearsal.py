"""Asks SLURM whether it would take the jobs of a sweep, before anything is written or sent."""

from pathlib import Path
from tempfile import TemporaryDirectory

from ablations.doctor_checks import out_of_service, wanted_partitions
from ablations.errors import BadInput
from ablations.first_script import script_of
from ablations.invocation import command
from ablations.profile_file import Cluster
from ablations.sweep import Sweep
from slurm.commands import Slurm
from slurm.partition import PARTITIONS, nodes_of, parse_nodes, parse_partitions
from slurm.profile import Profile
from slurm.submission import NoAnswer, NoPlace, QueueFull, Refused, rehearse


def check_accepted(sweep: Sweep, cluster: Cluster, profile: str, *, store: Path) -> None:
    """Raises ``BadInput`` where SLURM would refuse the jobs, in its own words; not where it cannot say at this moment.

    ``profile`` is the name the user gave.
    """
    slurm = Slurm(cluster.environment)
    text = script_of(sweep, ["any"], cluster.profile, store=store)
    with TemporaryDirectory() as folder:
        try:
            rehearse(text, Path(folder) / "script.sh", slurm)
            return
        except (NoAnswer, QueueFull):
            return
        except Refused as error:
            refusal = error
    if isinstance(refusal, NoPlace) and _some_are_away(cluster.profile, slurm):
        return  # it says the same of jobs that could run there later
    doctor = command("doctor", "--profile", profile, store=store)
    raise BadInput(
        f"SLURM would not take the jobs of {sweep.name}: {refusal}; correct the profile {profile}, or `resources` in "
        f"{sweep.document.file}. `{doctor}` looks closer"
    )


def _some_are_away(profile: Profile, slurm: Slurm) -> bool:
    partitions = wanted_partitions(profile, parse_partitions(slurm.ask(*PARTITIONS).text))
    nodes = parse_nodes(slurm.ask(*nodes_of(",".join(one.name for one in partitions))).text)
    return bool(out_of_service(nodes))
