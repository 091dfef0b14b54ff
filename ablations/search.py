"""Keeps a search going: arms are asked for while others run, scores are reported, hopeless arms are given up.

The study is opened when there is work; a search whose trials have all ended needs none. Whatever is asked for is in
``plan.json`` before it runs, so a search that is killed continues with the same arms. A search whose database cannot be
reached continues as well: with a study in memory, made from the records, until the database is back and brought up to
date.
"""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ablations.advance import Dispatcher
from ablations.errors import StudyAway, SweepError
from ablations.plan import Plan, make_plan
from ablations.points import DRAWS
from ablations.search_arms import NameArm, SearchArm, arm_at, arm_namer, search_arms
from ablations.stages import Chains
from ablations.store import Store, Warn
from ablations.sweep import Search, Sweep

if TYPE_CHECKING:
    from ablations.study import Study
    from ablations.study_place import StudyPlace

STUDY_VARIABLE = "ABLATE_STUDY"
"""The environment variable with the database of studies, for the jobs of a submitted sweep."""

_GLANCE = 1.0
"""Seconds between two looks at intermediate scores."""
_TRY_AGAIN = 60.0
"""Seconds between two attempts to reach a database that is away."""


def check_study(sweep: Sweep, url: str) -> None:
    """Make sure that the study of a search can be kept in this database. Raises ``BadInput``, ``StudyAway``."""
    if isinstance(sweep.design, Search):
        from ablations.study_place import check_database  # imports Optuna

        check_database(url)


class SearchDriver:
    def __init__(
        self,
        sweep: Sweep,
        folder: Path,
        *,
        store: Path,
        save: Callable[[Plan], None],
        warn: Warn,
        study_url: str | None = None,
    ) -> None:
        """``save`` writes ``plan.json``. ``study_url``: the database of the study; by default it is a file."""
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
        self._study_url = study_url
        self._place: StudyPlace | None = None
        self._study: Study | None = None
        self._again = math.inf
        """When to try again to reach a database that is away."""
        self._name: NameArm | None = None
        self._exhausted = False
        self._given_up: set[str] = set()
        self._ended = 0
        self._looked = 0.0

    def plan(self) -> Plan:
        """The plan of the arms so far. Raises ``SweepError`` for a search that cannot have any."""
        arms = [arm_at(self._sweep, arm.values, self._chains) for arm in self._arms]
        return make_plan(self._sweep, suggested=[arm for arm in arms if arm is not None], chains=self._chains)

    @property
    def complete(self) -> bool:
        """Whether no further arm will be asked for."""
        return self._exhausted or len(self._arms) >= self._design.arms

    def step(self, dispatcher: Dispatcher, *, capacity: int, now: float) -> None:
        """Report what is new, give arms up, and ask for new ones while there is room. Raises ``OSError``, and
        ``SweepError`` if not a single arm is found."""
        if self._study is None:
            if self.complete and not dispatcher.num_unfinished:
                return
            self._open(dispatcher, now)
        elif now >= self._again:
            self._catch_up(now)
        try:
            self._go_on(dispatcher, capacity=capacity, now=now)
        except StudyAway as away:
            self._do_without(away, now)

    def conclude(self) -> None:
        """Tell the study how the last arms ended. Raises ``OSError``."""
        if self._study is None:
            return
        try:
            assert self._place is not None
            self._opened(self._place)
        except StudyAway as away:
            self._warn(f"{away}; the study there lacks the latest results, which the records have")

    def _go_on(self, dispatcher: Dispatcher, *, capacity: int, now: float) -> None:
        glance = self._design.pruner != "none" and now - self._looked >= _GLANCE
        if glance or len(dispatcher.records) != self._ended:
            self._looked, self._ended = now, len(dispatcher.records)
            self._update(dispatcher)
        while not self.complete and dispatcher.num_unfinished < capacity:
            self._ask(dispatcher)

    def _read(self) -> Sequence[SearchArm]:
        return search_arms(self._sweep, self._folder, self._store)

    def _open(self, dispatcher: Dispatcher, now: float) -> None:
        from ablations.study_place import study_place  # imports Optuna

        self._save(self.plan())  # for the sweep as it is now: its arms may have other trials
        self._place = study_place(self._sweep.name, store=Store(self._store), url=self._study_url)
        try:
            self._study = self._opened(self._place)
            arms = self._study.arms
        except StudyAway as away:
            arms = self._do_without(away, now).arms
        self._take_in(arms, dispatcher)  # some may have been asked for just before a kill
        self._name = arm_namer(self._sweep, self._chains, self._arms)

    def _opened(self, place: "StudyPlace") -> "Study":
        from ablations.study import Study

        return Study.open(place, self._sweep, self._read(), warn=self._warn)

    def _do_without(self, away: StudyAway, now: float) -> "Study":
        """Go on with a study in memory."""
        from ablations.study_place import Memory

        self._warn(f"{away}; the search goes on from its records, and the study there is completed later")
        self._again = now + _TRY_AGAIN
        self._study = self._opened(Memory(self._sweep.name))
        return self._study

    def _catch_up(self, now: float) -> None:
        assert self._place is not None
        try:
            self._study = self._opened(self._place)
            self._again = math.inf
        except StudyAway:
            self._again = now + _TRY_AGAIN

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
                    ("axes",), f"none of {DRAWS:,} points is allowed and can be run; loosen the constraints"
                )
            )

    def _take_in(self, arms: Sequence[SearchArm], dispatcher: Dispatcher) -> None:
        self._arms = arms
        plan = self.plan()
        self._save(plan)
        dispatcher.extend(plan)
