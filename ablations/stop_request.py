"""A request to stop a sweep, for whoever carries it on, wherever that is: the file ``stop`` in the sweep's folder."""

from pathlib import Path


def request_stop(sweep: Path, *, kill: bool) -> None:
    """Raises ``OSError``."""
    (sweep / "stop").write_text("kill" if kill else "save")


def stop_requested(sweep: Path) -> int:
    """0: no; 1: what runs is to save its state first; 2: it is to be ended at once."""
    try:
        return 2 if (sweep / "stop").read_text() == "kill" else 1
    except FileNotFoundError:
        return 0


def clear_stop(sweep: Path) -> None:
    """Somebody wants the sweep again. Raises ``OSError``."""
    (sweep / "stop").unlink(missing_ok=True)
