"""Keeps a search going: arms are asked for while others run, scores are reported, hopeless arms are given up.

The study is opened when there is work; a search whose trials have all ended needs none. Whatever is asked for is in
``plan.json`` before it runs, so a search that is killed continues with the same arms.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ablations.advance import Dispatcher
from ablations.errors import SweepError
from ablations.plan import Plan, make_plan
from ablations.points import DRAWS
from ablations.search_arms import NameArm, SearchArm, arm_at, arm_namer, search_arms
from ablations.stages import Chains
from ablations.store import Warn
from ablations.sweep import Search, Sweep

if TYPE_CHECKING:
    from ablations.study import Study

_GLANCE = 1.0
"""Seconds between two looks at intermediate scores."""


class SearchDriver:
    def __init__(self, sweep: Sweep, folder: Path, *, store: Path, save: Callable[[Plan], None], warn: Warn) -> None:
        """``save`` writes ``plan.json``."""
        if not isinstance(sweep.design, Search):
            raise ValueError(f"{sweep.name} is not a search")
        self._sweep = sweep
        self._design = sweep.design
        self._folder = folder
        self._store = store
        self._save = save
        self._warn = warn
        self._chains = Chains()
        self._arms = self._read()
        self._study: Study | None = None
        self._name: NameArm | None = None
        self._exhausted = False
        self._given_up: set[str] = set()
        self._ended = 0
        self._looked = 0.0

    def plan(self) -> Plan:
        """The arms so far. Raises ``SweepError`` for a search that cannot have any."""
        arms = [arm_at(self._sweep, arm.values, self._chains) for arm in self._arms]
        return make_plan(self._sweep, suggested=[arm for arm in arms if arm is not None], chains=self._chains)

    @property
    def complete(self) -> bool:
        """No further arm will be asked for."""
        return self._exhausted or len(self._arms) >= self._design.arms

    def step(self, dispatcher: Dispatcher, *, capacity: int, now: float) -> None:
        """Report what is new, give arms up, and ask for new ones while there is room. Raises ``OSError``, and
        ``SweepError`` where not one arm is found."""
        if self._study is None:
            if self.complete and not dispatcher.num_unfinished:
                return
            self._open(dispatcher)
        glance = self._design.pruner != "none" and now - self._looked >= _GLANCE
        if glance or len(dispatcher.records) != self._ended:
            self._looked, self._ended = now, len(dispatcher.records)
            self._update(dispatcher)
        while not self.complete and dispatcher.num_unfinished < capacity:
            self._ask(dispatcher)

    def _read(self) -> Sequence[SearchArm]:
        return search_arms(self._sweep, self._folder, self._store)

    def _open(self, dispatcher: Dispatcher) -> None:
        from ablations.study import Study  # imports Optuna

        self._save(self.plan())  # of the sweep as it is now: its arms may have got other trials
        self._study = Study.open(self._folder, self._sweep, self._read(), warn=self._warn)
        self._take_in(self._study.arms, dispatcher)  # some of them asked for just before a kill
        self._name = arm_namer(self._sweep, self._chains, self._arms)

    def _update(self, dispatcher: Dispatcher) -> None:
        assert self._study is not None
        for arm in self._study.update(self._read()) - self._given_up:
            self._given_up.add(arm)
            dispatcher.prune(arm)

    def _ask(self, dispatcher: Dispatcher) -> None:
        assert self._study is not None
        assert self._name is not None
        if self._study.ask(1, self._name):
            self._take_in(self._study.arms, dispatcher)
        elif self._arms:
            self._exhausted = True
        else:
            raise SweepError(
                self._sweep.document.problem(
                    ("axes",), f"not one of {DRAWS:,} points is allowed and can be run; loosen the constraints"
                )
            )

    def _take_in(self, arms: Sequence[SearchArm], dispatcher: Dispatcher) -> None:
        self._arms = arms
        plan = self.plan()
        self._save(plan)
        dispatcher.extend(plan)
