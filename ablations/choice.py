"""The trials that a user names: by key, by its beginning, or by ``ARM:SEED``."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from ablations.errors import BadInput
from ablations.overview import Overview


def chosen_trials(found: Overview, words: Sequence[str], *, states: Collection[str]) -> list[Mapping[str, Any]]:
    """One trial for each word, among those in one of these states. Raises ``BadInput`` for a word that matches none of
    them, or several."""
    there = [trial for trial in found.trials if trial["state"] in states]
    names = {trial["key"]: f"{found.labels[trial['arm']]}:{trial['seed']}" for trial in there}
    chosen = {}
    for word in words:
        fitting = [trial for trial in there if trial["key"].startswith(word) or names[trial["key"]] == word]
        if len(fitting) != 1:
            few = ", ".join(f"{key} ({name})" for key, name in list(names.items())[:10]) or "none"
            which = " or ".join(states)
            raise BadInput(
                f"{word}: {'more than one' if fitting else 'no'} {which} trial of {found.status.name} matches; "
                f"{which}: {few}"
            )
        chosen[fitting[0]["key"]] = fitting[0]
    return list(chosen.values())
