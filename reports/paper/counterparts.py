"""Which arms of a sweep stand for which of the paper's settings, and the contrasts of arms that a term translates to.

An arm stands for a setting if it has what ``Setting.arms`` asks for; nothing else is required. The arms of one contrast
are alike in everything that the settings do not name. Nothing is guessed: a setting that no arm stands for, or that two
arms alike in all else stand for, is a gap with its reason.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from reports.analysis import Contrast
from reports.configuration import leaves
from reports.frame import Results
from reports.paper.published import Comparison, Published, Setting

_MIX = "data.mix"
_NONE = 1e-6  # a share below this counts as none


@dataclass(frozen=True, kw_only=True)
class Matched:
    """One of a comparison's terms, expressed in arms."""

    term: Mapping[str, float]
    contrast: Contrast


class Counterparts:
    """The arms of a sweep as the paper's settings."""

    def __init__(self, results: Results, published: Published) -> None:
        self._published = published
        base = leaves(results.plan.get("base") or {}, whole={_MIX})
        keys = {key for arm in results.arms for key in arm.settings}
        self._settings = {arm.key: {key: arm.settings.get(key, base.get(key)) for key in keys} for arm in results.arms}
        self._base = base
        self._varied = {
            key for key in keys if len({_canonical(settings[key]) for settings in self._settings.values()}) > 1
        }
        self._arms = {
            setting.name: self._standing_for(setting) for block in published.blocks for setting in block.settings
        }

    def in_scope(self) -> list[Comparison]:
        """The comparisons of every lesson about something that the sweep varies, including those without arms."""
        comparisons = self._published.comparisons
        lessons = {one.lesson for one in comparisons if self._published.changed(one) & self._varied}
        return [one for one in comparisons if one.lesson in lessons]

    def match(self, term: Mapping[str, float]) -> list[Matched]:
        """The term in arms, once for each group of otherwise equal arms that has exactly one arm for every setting."""
        surroundings = [self._arms[name] for name in term]
        shared = [place for place in surroundings[0] if all(place in other for other in surroundings)]
        contrasts = []
        for place in shared:
            arms = [arms[place] for arms in surroundings]
            if all(len(found) == 1 for found in arms):
                contrasts.append({found[0]: weight for found, weight in zip(arms, term.values(), strict=True)})
        return [Matched(term=term, contrast=contrast) for contrast in contrasts]

    def gap(self, term: Mapping[str, float]) -> str:
        """Why a term that ``match`` finds nothing for has no arms."""
        lost = [name for name in term if not self._arms[name]]
        if lost:
            return f"no arm for {' and '.join(lost)}"
        if any(len(arms) > 1 for name in term for arms in self._arms[name].values()):
            return f"several arms for one of {' and '.join(term)}"
        return f"no arms for {' and '.join(term)} that are alike in all else"

    def stands(self, setting: Setting) -> bool:
        return bool(self._arms[setting.name])

    def _standing_for(self, setting: Setting) -> dict[str, list[str]]:
        """Keys of the arms that stand for a setting, by their surroundings: everything that it does not name."""
        found: dict[str, list[str]] = {}
        if not setting.arms:
            return found
        for arm, settings in self._settings.items():
            effective = {key: settings.get(key, self._base.get(key)) for key in setting.arms}
            if all(_holds(key, effective[key], wanted) for key, wanted in setting.arms.items()):
                rest = {key: value for key, value in settings.items() if key not in setting.arms}
                found.setdefault(_canonical(rest), []).append(arm)
        return found


def _holds(key: str, value: Any, wanted: Any) -> bool:
    if key != _MIX:
        return value in wanted
    shares = _shares(value)
    return (
        shares is not None
        and all(low <= shares.get(source, 0.0) <= high for source, (low, high) in wanted.items())
        and all(share < _NONE for source, share in shares.items() if source not in wanted)
    )


def _shares(mix: Any) -> dict[str, float] | None:
    """A mix normalised to a sum of one; ``None`` for what is not a mix."""
    if not isinstance(mix, Mapping) or not all(isinstance(share, int | float) for share in mix.values()):
        return None
    total = sum(mix.values())
    return {source: share / total for source, share in mix.items()} if total > 0 else None


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True)
