"""The small job that looks after the others: it is in the queue from the first job on until nothing is left to do.

It looks when the jobs that were there at the last look have ended, in whatever way, or after a while if there were
none. Its own script then queues it again, however its look went: that takes no new place in the queue, so no limit on
jobs is in its way. It takes its place before the first job does.
"""

from collections.abc import Mapping, Sequence

from slurm.commands import Slurm
from slurm.home import Home
from slurm.queue import Seen
from slurm.script import FOLLOWER, FOLLOWER_WHEN, Site, follower_script
from slurm.submission import NoAnswer, QueueFull, Refused, send

_MOST_NUMBERS = 100
"""Most jobs that it waits for at a time: the length of a command line is limited."""


class Follower:
    def __init__(self, site: Site, home: Home, slurm: Slurm) -> None:
        self._site = site
        self._home = home
        self._slurm = slurm
        self._number, self._when = home.folder / FOLLOWER, home.folder / FOLLOWER_WHEN

    @property
    def known(self) -> bool:
        """Whether there is one, as far as the folder says."""
        return self._number.exists()

    def ensure(self, seen: Mapping[str, Seen] | None) -> str:
        """Send one unless it is in the queue. ``seen``: what is in the queue, if that is known. Returns why SLURM does
        not take it; empty if it does. Raises ``OSError``."""
        if self._site.afterwards is None or self._site.profile.controller is False:
            return ""
        if self.known and (seen is None or _is_there(seen.get(self._number.read_text()))):
            return ""
        self.end()
        self._home.claim()
        text = follower_script(self._site, self._site.afterwards, self._home.folder)
        try:
            self._number.write_text(send(text, self._home.folder / "follower.sh", self._slurm))
        except (NoAnswer, QueueFull, Refused) as error:
            return str(error)
        return ""

    def wait_for(self, numbers: Sequence[str]) -> None:
        """Have it look next when the jobs with these numbers have ended. Raises ``OSError``."""
        if not self.known:
            return
        if numbers:
            self._when.write_text("Dependency=afterany:" + ":".join(numbers[:_MOST_NUMBERS]))
        else:
            self._when.unlink(missing_ok=True)

    def end(self) -> None:
        """End it, because it is no longer wanted; one that is looking at the moment ends by itself. Raises
        ``OSError``."""
        if self.known:
            self._slurm.ask("scancel", "--state=PENDING", self._number.read_text())
            self._number.unlink(missing_ok=True)
            self._when.unlink(missing_ok=True)


def _is_there(found: Seen | None) -> bool:
    return found is not None and not found.ended and not found.stuck
