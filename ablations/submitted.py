"""A submission, frozen: a process that carries the sweep on, days later and on another node, needs nothing else.

``submitted.pickle`` in the sweep's folder is for the very code that was submitted, whose copy it names;
``submitted.json`` is for everybody else.
"""

import pickle
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ablations.errors import BadInput
from ablations.profile_file import Cluster
from ablations.store import write_json
from ablations.sweep import Sweep


@dataclass(frozen=True, kw_only=True)
class Submitted:
    sweep: Sweep
    profile: str
    """As the user gave it."""
    cluster: Cluster
    workers: int | None
    """Most jobs at a time, if that is less than the profile allows."""
    code: Path
    """The copy of the program that jobs run."""
    provenance: Mapping[str, Any]
    """For the records."""
    time: float = field(default_factory=time.time)

    def save(self, folder: Path) -> None:
        """Raises ``OSError``."""
        half = folder / ".submitted.pickle"
        half.write_bytes(pickle.dumps(self))
        half.rename(folder / "submitted.pickle")
        about = {
            "profile": self.profile,
            "poll_seconds": self.cluster.profile.poll_seconds,
            "gpus": self.sweep.resources.gpus * self.sweep.resources.nodes,
            "code": str(self.code),
            "submitted": round(self.time, 3),
            **self.provenance,
        }
        write_json(folder / "submitted.json", about)


def load_submitted(folder: Path) -> Submitted:
    """The submission of a sweep. Raises ``BadInput`` if there is none, or it is from another version of the program."""
    try:
        loaded = pickle.loads((folder / "submitted.pickle").read_bytes())
    except FileNotFoundError:
        raise BadInput(f"{folder.name} was not submitted to a cluster; use `ablate submit` for that") from None
    except Exception as error:  # whatever a pickle of other code raises
        raise BadInput(
            f"{folder / 'submitted.pickle'} is from another version of the program ({error}); submit the sweep again"
        ) from None
    if not isinstance(loaded, Submitted):
        raise BadInput(f"{folder / 'submitted.pickle'} does not hold a submission; submit the sweep again")
    return loaded
