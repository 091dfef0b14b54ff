"""What a development cluster is, and the configuration files that SLURM, munge and MariaDB read for it, as text only.

The settings are those that make a cluster on one machine quick to try things on: no control groups, short waits, every
finished job visible for an hour. None of them is an option.
"""

from dataclasses import dataclass
from pathlib import Path

PARTITIONS = ("low", "lowg", "high")
"""``high`` takes nodes away from the other two, whose jobs are queued again; ``lowg`` warns them first."""
MEMORY_MIB = 4000
"""Memory of each node. Believed, not measured or enforced: nodes share this machine's memory."""


class DevclusterError(RuntimeError):
    """The cluster does not work. Says why and what to do."""


class DevclusterRefused(DevclusterError):
    """What was asked cannot be done here or with this cluster; nothing was changed."""


@dataclass(frozen=True, kw_only=True)
class Shape:
    """How large a cluster is, and whether it has accounting."""

    nodes: int = 2
    cpus: int = 4
    """CPUs of each node. Believed, not measured: nodes share this machine's cores."""
    gpus: int = 4
    """GPUs of each node, in name only: a job gets ``CUDA_VISIBLE_DEVICES`` and no device."""
    accounting: bool = False
    """Whether there is ``sacct``, that is slurmdbd and a MariaDB of its own."""

    def __post_init__(self) -> None:
        if min(self.nodes, self.cpus, self.gpus) < 1:
            raise ValueError(f"a cluster has at least one node, each with a CPU and a GPU: {self}")

    def __str__(self) -> str:
        ways = "with accounting" if self.accounting else "without accounting"
        return f"{self.nodes} nodes of {self.cpus} CPUs and {self.gpus} GPUs, {ways}"


@dataclass(frozen=True, kw_only=True)
class Ports:
    controller: int
    accounting: int
    nodes: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """One cluster and where its files are. What is below ``run`` is removed when the cluster is taken down."""

    root: Path
    """A short name of its folder, without spaces: SLURM's files have no quotes and sockets have short names."""
    shape: Shape
    ports: Ports
    user: str
    first_job_id: int

    @property
    def slurm_conf(self) -> Path:
        return self.root / "slurm.conf"

    @property
    def run(self) -> Path:
        return self.root / "run"

    @property
    def munge_key(self) -> Path:
        return self.run / "munge.key"

    @property
    def munge_socket(self) -> Path:
        return self.run / "munge.socket"

    @property
    def database(self) -> Path:
        return self.run / "database"

    @property
    def database_socket(self) -> Path:
        return self.run / "database.socket"

    @property
    def nodes(self) -> tuple[str, ...]:
        return tuple(f"n{number + 1}" for number in range(self.shape.nodes))

    def log(self, daemon: str) -> Path:
        return self.root / "logs" / f"{daemon}.log"


def slurm_conf(cluster: Cluster) -> str:
    shape, run = cluster.shape, cluster.run
    nodes = "\n".join(
        f"NodeName={name} NodeHostname=localhost NodeAddr=127.0.0.1 Port={port} "
        f"CPUs={shape.cpus} RealMemory={MEMORY_MIB} Gres=gpu:{shape.gpus} State=UNKNOWN"
        for name, port in zip(cluster.nodes, cluster.ports.nodes, strict=True)
    )
    return f"""\
# Written by `ablate devcluster up`, and again when it brings the cluster up anew: changes are lost.
ClusterName=devcluster
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort={cluster.ports.controller}
# Every daemon listens on the addresses named here alone: on the loopback interface.
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny

SlurmUser={cluster.user}
SlurmdUser={cluster.user}
AuthType=auth/munge
CredType=cred/munge
# A job that is queued again waits until its old credential has expired: two minutes by default.
AuthInfo=socket={cluster.munge_socket},cred_expire=5

StateSaveLocation={run}/state
SlurmdSpoolDir={run}/spool-%n
SlurmctldPidFile={run}/slurmctld.pid
SlurmdPidFile={run}/slurmd-%n.pid
SlurmctldLogFile={cluster.log("slurmctld")}
SlurmdLogFile={cluster.log("slurmd-%n")}

# Believe what the nodes below say of themselves, and need neither control groups nor MPI.
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
# A node that was lost is used again as soon as it answers; it is lost after a minute of silence.
ReturnToService=2
SlurmdTimeout=60

SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
DefMemPerCPU={MEMORY_MIB // shape.cpus}
GresTypes=gpu
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=2,bf_interval=2,batch_sched_delay=0

PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SlurmctldParameters=preempt_send_user_signal
JobRequeue=1
# Exit code 75 says: I saved my state, run me again.
RequeueExit=75
KillWait=5
MinJobAge=3600
# Small on purpose, so that splitting arrays is exercised.
MaxArraySize=10
FirstJobId={cluster.first_job_id}

{_accounting(cluster)}
JobCompType=jobcomp/none
# Nobody gets mail.
MailProg=/bin/true

{nodes}
PartitionName=low Nodes=ALL Default=YES MaxTime=INFINITE State=UP PriorityTier=1 PreemptMode=REQUEUE GraceTime=0
PartitionName=lowg Nodes=ALL MaxTime=INFINITE State=UP PriorityTier=1 PreemptMode=REQUEUE GraceTime=6
PartitionName=high Nodes=ALL MaxTime=INFINITE State=UP PriorityTier=10 PreemptMode=OFF
"""


def _accounting(cluster: Cluster) -> str:
    if not cluster.shape.accounting:
        return "AccountingStorageType=accounting_storage/none\nJobAcctGatherType=jobacct_gather/none"
    return (
        "AccountingStorageType=accounting_storage/slurmdbd\n"
        "AccountingStorageHost=127.0.0.1\n"
        f"AccountingStoragePort={cluster.ports.accounting}\n"
        f"AccountingStoragePass={cluster.munge_socket}\n"  # what SLURM calls munge's socket here
        "AccountingStorageTRES=gres/gpu\n"
        "JobAcctGatherType=jobacct_gather/linux"
    )


def gres_conf(cluster: Cluster) -> str:
    """SLURM wants a device file for each GPU: links to /dev/null, named as the driver's files are."""
    return "".join(
        f"NodeName={name} Name=gpu File={cluster.run}/gpus/nvidia{index}\n"
        for name in cluster.nodes
        for index in range(cluster.shape.gpus)
    )


def slurmdbd_conf(cluster: Cluster) -> str:
    return f"""\
DbdHost=localhost
DbdAddr=127.0.0.1
DbdPort={cluster.ports.accounting}
CommunicationParameters=NoInAddrAny
SlurmUser={cluster.user}
AuthType=auth/munge
AuthInfo=socket={cluster.munge_socket}
LogFile={cluster.log("slurmdbd")}
PidFile={cluster.run}/slurmdbd.pid
StorageType=accounting_storage/mysql
# Through the socket of MYSQL_UNIX_PORT, which only this user can reach, so that there is no password.
StorageHost=localhost
StorageUser=root
StorageLoc=slurm_acct_db
"""
