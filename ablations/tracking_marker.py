"""How much of one run MLflow has: ``tracked.json`` beside the records that it shows. May be deleted at any time."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ablations.store import write_json

DATABASE = "mlflow.db"
"""File in the store where runs are kept unless a tracking server is named."""


@dataclass(kw_only=True)
class Marker:
    """What of one run has been sent to one server."""

    path: Path
    uri: str
    run: str = ""
    experiment: str = ""
    sending: bool = False
    """Points were on their way when this was written; only the server knows which arrived."""
    steps: dict[str, int] = field(default_factory=dict)
    """Last step sent, by metric."""
    points: str = ""
    """Digest of the points up to these steps."""
    parameters: list[str] = field(default_factory=list)
    """Names of those sent; they can never be changed."""
    name: str = ""
    tags: str = ""
    """Digest of the tags sent."""
    data: str = ""
    """Digest of the names and keys of the data sent."""
    artifacts: dict[str, str] = field(default_factory=dict)
    """Digests of the artifacts sent, by name."""
    status: str = ""
    seen: dict[str, Any] = field(default_factory=dict)
    """What the records looked like when all of them had been sent."""

    @classmethod
    def read(cls, path: Path, uri: str) -> "Marker":
        """The marker at ``path``; a new one where there is none, none that can be read, or one of another server."""
        try:
            known = json.loads(path.read_bytes())
            return cls(path=path, **known) if known["uri"] == uri else cls(path=path, uri=uri)
        except (FileNotFoundError, ValueError, TypeError, KeyError):
            return cls(path=path, uri=uri)

    def write(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_json(self.path, {name: value for name, value in asdict(self).items() if name != "path"})
