"""The records of a sweep as one tidy frame, the items' scores behind it, and the measures that are reported.

One row per trial, task, metric and number of shots; a trial that has no scores (missing, failed, pruned, diverged,
unreadable) keeps one row without them, so that it stays visible. Scores are in the units of the records: fractions,
and 0 to 10 for CIDEr-D; ``Measure.scale`` says how they are shown.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any
from zipfile import BadZipFile

import numpy as np
import pandas as pd

from reports.arrays import read_arrays
from reports.records import SCORES, SweepRecords, Trial
from reports.statistics import FRACTION

CIDER = "cider_d"
"""The one metric that is not a fraction."""

POINT = 0.01
"""One point in stored units, for fractions and for CIDEr-D, which the paper shows times 100."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """One array of the items' scores."""

    task: str
    metric: str
    shots: int


@dataclass(frozen=True, kw_only=True)
class Measure:
    """A number that is reported for every arm: the mean over tasks of the mean over shots of the items' scores."""

    key: str
    """As in the records' metrics, such as ``eval/four_shot`` or ``eval/colour/value/4``."""
    label: str
    parts: tuple[Part, ...]

    @property
    def scale(self) -> float:
        """Shown value over stored value: percent as in the paper; CIDEr-D alone as it is."""
        return 1.0 if all(part.metric == CIDER for part in self.parts) else 100.0

    @property
    def unit(self) -> str:
        return "%" if self.scale == 100.0 else "CIDEr-D"

    @property
    def bounds(self) -> tuple[float, float] | None:
        """Least and largest possible stored value, where the metric has them."""
        return None if any(part.metric == CIDER for part in self.parts) else FRACTION

    @property
    def tasks(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(part.task for part in self.parts))


@dataclass(frozen=True, kw_only=True)
class Arm:
    """A configuration without its seed, as planned."""

    key: str
    label: str
    values: Mapping[str, str]
    """Label of its value on each axis."""
    settings: Mapping[str, Any]
    """What the sweep sets, by dotted configuration key."""
    varied: tuple[str, ...]
    """Axes on which it differs from the baseline."""
    baseline: bool
    parameters: int | None
    """Parameters of the trained model; ``None`` where the plan does not say."""
    operations: float | None
    """Floating-point operations to train it once, its encoder included, as computed by the plan."""
    decoder_parameters: int | None
    """Parameters of the decoder without embeddings."""


class Results:
    """The frame of a sweep with access to the scores of single items.

    ``headline`` are the paper's columns (0-shot, 4-shot, 8-shot, TextCore, as far as the evaluations have them),
    ``details`` every task, metric and number of shots by itself.
    """

    def __init__(self, records: SweepRecords) -> None:
        self.records = records
        self.plan = records.plan
        self.margin = float(records.plan.get("margin", 1.0))
        """Points by which two arms may differ and still count as alike."""
        self.arms = tuple(_arm(planned) for planned in records.plan["arms"])
        self._tables: dict[str, dict[str, np.ndarray]] = {}
        self._ids: dict[bytes, np.ndarray] = {}
        self._names: dict[str, Mapping[str, Sequence[str]]] = {}
        """Names of arrays by task, by measure key."""
        self._done: dict[tuple[str, str], Mapping[int, Trial]] = {}
        self.all_trials = tuple(self._load(trial) if trial.state == "done" else trial for trial in records.trials)
        """Every planned trial, finished or not, in the order of the plan."""
        self._by_arm: dict[str, list[Trial]] = {}
        for trial in self.all_trials:
            self._by_arm.setdefault(trial.arm, []).append(trial)
        self.headline, self.details = _measures(
            [self._result(trial) for trial in self.all_trials if trial.state == "done"]
        )
        self.frame = self._tidy()

    @property
    def baseline(self) -> Arm | None:
        return next((arm for arm in self.arms if arm.baseline), None)

    @cached_property
    def planned_seeds(self) -> int:
        """Largest number of planned seeds of any arm."""
        return max((len(trials) for trials in self._by_arm.values()), default=0)

    def trials(self, arm: str) -> Sequence[Trial]:
        """All planned trials of an arm, finished or not."""
        return self._by_arm.get(arm, [])

    def done(self, arm: str, measure: Measure | None = None) -> Mapping[int, Trial]:
        """An arm's scored trials by seed; with a measure, those whose evaluation has every part of it."""
        place = (arm, measure.key if measure else "")
        if place not in self._done:
            self._done[place] = {
                trial.seed: trial
                for trial in self.trials(arm)
                if trial.state == "done" and (measure is None or self._has(trial, measure))
            }
        return self._done[place]

    def strata(self, trials: Sequence[Trial], measure: Measure) -> list[np.ndarray]:
        """For each task of the measure, a table (trials, items) over the items that all the trials answered.

        A task without items common to all trials gives a table without columns.
        """
        tables, found = [], [self._tables[trial.key] for trial in trials]
        for task, names in self._arrays(measure).items():
            ids = [table[f"{task}/ids"] for table in found]
            if len(names) == 1:
                rows = [table[names[0]] for table in found]
            else:
                rows = [np.mean([table[name] for name in names], axis=0) for table in found]
            if any(other is not ids[0] for other in ids):
                rows = _common(ids, rows)
            tables.append(np.array(rows))
        return tables

    def _arrays(self, measure: Measure) -> Mapping[str, Sequence[str]]:
        """By task, the names of the arrays that a measure is the mean of."""
        if measure.key not in self._names:
            names: dict[str, list[str]] = {}
            for part in measure.parts:
                names.setdefault(part.task, []).append(_array(part))
            self._names[measure.key] = names
        return self._names[measure.key]

    def _has(self, trial: Trial, measure: Measure) -> bool:
        table = self._tables[trial.key]
        return all(name in table for names in self._arrays(measure).values() for name in names)

    def _result(self, trial: Trial) -> Mapping[str, Any]:
        return self.records.stages["evaluate", trial.evaluation]["result"]

    def _load(self, trial: Trial) -> Trial:
        """Read a trial's item scores; returns it as ``unreadable`` where they are missing, damaged or not finite.

        Equal lists of ids are kept once, so that ``is`` tells whether two trials answered the same items.
        """
        path = self.records.work("evaluate", trial.evaluation) / SCORES
        try:
            table = read_arrays(path)
            scores = [_array(part) for part in _parts(self._result(trial))]
            needed = {*scores, *(f"{part.task}/ids" for part in _parts(self._result(trial)))}
            missing = sorted(needed - table.keys())
            problem = f"no array {missing[0]!r}" if missing else _not_finite(table, scores)
        except (OSError, ValueError, EOFError, BadZipFile) as error:
            problem = str(error)
        if problem:
            where = f"evaluate/{trial.evaluation}"
            advice = f"if `ablate run` does not redo it, remove the folder {where} from the store first"
            return replace(trial, state="unreadable", problem=f"{where}/work/{SCORES}: {problem}; {advice}")
        for name, array in table.items():
            if name.endswith("/ids"):
                table[name] = self._ids.setdefault(array.tobytes(), array)
        self._tables[trial.key] = table
        return trial

    def _tidy(self) -> pd.DataFrame:
        arms = {arm.key: arm for arm in self.arms}
        axes = [axis["name"] for axis in self.plan["axes"]]
        rows: list[tuple[Any, ...]] = []
        for trial in self.all_trials:
            arm = arms[trial.arm]
            left = (arm.label, arm.baseline, *(arm.values.get(axis) for axis in axes), trial.seed)
            left = (*left, trial.key, trial.arm, trial.state)
            scores = self._result(trial)["scores"] if trial.state == "done" else ()
            for score in scores:
                rows.append((*left, *(score[name] for name in _SCORE_COLUMNS)))
            if not scores:
                rows.append((*left, *(None for _ in _SCORE_COLUMNS)))
        columns = ["label", "baseline", *(f"axis {axis}" for axis in axes), "seed", "trial", "arm", "state"]
        frame = pd.DataFrame(rows, columns=[*columns, *_SCORE_COLUMNS])
        return frame.astype({"shots": "Int64", "n": "Int64", "mean": "float64", "standard_error": "float64"})


_SCORE_COLUMNS = ("task", "metric", "shots", "mean", "standard_error", "n")
_SHOT_KEYS = {0: "eval/zero_shot", 4: "eval/four_shot", 8: "eval/eight_shot"}


def _arm(planned: Mapping[str, Any]) -> Arm:
    return Arm(
        key=planned["key"],
        label=planned["label"],
        values=planned["values"],
        settings=planned["set"],
        varied=tuple(planned["varied"]),
        baseline=planned["baseline"],
        parameters=planned.get("parameters"),
        operations=planned.get("operations"),
        decoder_parameters=planned.get("decoder_parameters"),
    )


def _measures(results: Sequence[Mapping[str, Any]]) -> tuple[tuple[Measure, ...], tuple[Measure, ...]]:
    """The aggregates that the evaluations report, and every score by itself, in the order of the records."""
    parts: dict[Part, None] = {}
    primary: dict[str, str] = {}
    text_only: set[str] = set()
    for result in results:
        primary |= result["primary"]
        text_only |= set(result["text_only"])
        parts |= dict.fromkeys(_parts(result))
    leading = [part for part in parts if part.metric == primary[part.task]]
    asked = [part for part in leading if part.task not in text_only]
    headline = [
        Measure(
            key=_SHOT_KEYS.get(shots, f"eval/{shots}_shot"),
            label=f"{shots}-shot",
            parts=tuple(part for part in asked if part.shots == shots),
        )
        for shots in sorted({part.shots for part in asked})
    ]
    text = tuple(part for part in leading if part.task in text_only)
    if text:
        headline.append(Measure(key="eval/text_core", label="TextCore", parts=text))
    details = [
        Measure(
            key=f"eval/{part.task}/{part.metric}/{part.shots}",
            label=f"{part.metric.replace('_', ' ')}, {part.shots}-shot",
            parts=(part,),
        )
        for part in parts
    ]
    return tuple(headline), tuple(details)


def _parts(result: Mapping[str, Any]) -> list[Part]:
    """The arrays that an evaluation has, in its order."""
    return [Part(task=score["task"], metric=score["metric"], shots=score["shots"]) for score in result["scores"]]


def _array(part: Part) -> str:
    return f"{part.task}/{part.metric}/{part.shots}"


def _not_finite(table: Mapping[str, np.ndarray], scores: Sequence[str]) -> str:
    """A description of the first array with scores that are not finite; empty where there is none."""
    for name in scores:
        if bad := int((~np.isfinite(table[name])).sum()):
            return f"{bad} of {len(table[name])} scores in {name!r} are not finite"
    return ""


def _common(ids: Sequence[np.ndarray], rows: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The rows cut to the items that every id list has, in the order of the first."""
    shared = set(ids[0].tolist()).intersection(*(other.tolist() for other in ids[1:]))
    order = [name for name in ids[0].tolist() if name in shared]
    aligned = []
    for names, row in zip(ids, rows, strict=True):
        position = {name: index for index, name in enumerate(names.tolist())}
        aligned.append(row[[position[name] for name in order]] if order else row[:0])
    return aligned
