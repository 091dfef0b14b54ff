"""Asks SLURM whether it would take the jobs of a sweep, before anything is written or sent."""

from pathlib import Path
from tempfile import TemporaryDirectory

from ablations.doctor_checks import out_of_service, wanted_partitions
from ablations.errors import BadInput
from ablations.first_script import controller_script, script_of
from ablations.invocation import command
from ablations.profile_file import Cluster
from ablations.sweep import Sweep
from slurm.commands import Slurm
from slurm.partition import PARTITIONS, nodes_of, parse_nodes, parse_partitions
from slurm.profile import Profile
from slurm.submission import NoAnswer, NoPlace, QueueFull, Refused, rehearse


def check_accepted(sweep: Sweep, cluster: Cluster, profile: str, *, store: Path, alone: bool) -> None:
    """Raises ``BadInput`` with SLURM's own words if SLURM would refuse the jobs; not if it cannot say at the moment.

    ``profile`` is the name the user gave; ``alone``: nobody waits for the jobs, so a small one looks after them.
    """
    slurm = Slurm(cluster.environment)
    refusal = _refusal(script_of(sweep, ["any"], cluster.profile, store=store), cluster.profile, slurm)
    if refusal is not None:
        doctor = command("doctor", "--profile", profile, store=store)
        raise BadInput(
            f"SLURM would not take the jobs of {sweep.name}: {refusal}; correct the profile {profile}, or `resources` "
            f"in {sweep.document.file}. `{doctor}` checks in more detail"
        )
    small = controller_script(sweep, cluster.profile, store=store) if alone else None
    if small is not None and (refusal := _refusal(small, cluster.profile, slurm)) is not None:
        raise BadInput(
            f"SLURM would not take the small job that looks after {sweep.name}: {refusal}; set its partition, qos and "
            f"flags under `controller` in the profile {profile}, or turn it off with `controller: false`"
        )


def _refusal(text: str, profile: Profile, slurm: Slurm) -> Refused | None:
    with TemporaryDirectory() as folder:
        try:
            rehearse(text, Path(folder) / "script.sh", slurm)
        except (NoAnswer, QueueFull):
            return None
        except Refused as error:
            # Where nodes are away, SLURM says the same about jobs that could run there later.
            return None if isinstance(error, NoPlace) and _some_are_away(profile, slurm) else error
    return None


def _some_are_away(profile: Profile, slurm: Slurm) -> bool:
    partitions = wanted_partitions(profile, parse_partitions(slurm.ask(*PARTITIONS).text))
    nodes = parse_nodes(slurm.ask(*nodes_of(",".join(one.name for one in partitions))).text)
    return bool(out_of_service(nodes))
