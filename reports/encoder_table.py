"""Image encoders in the layout of MM1's Table 1: rows by pre-training objective, the best of a column in bold.

Every arm is a row; what is varied besides the encoder has a column of its own.
"""

from dataclasses import replace
from typing import Any

from reports.analysis import Analysis
from reports.configuration import leaves
from reports.frame import Arm
from reports.tables import Cell, Row, Table, heads, score_cell, seeds_of, with_best

OBJECTIVE, RESOLUTION, SOURCE = "encoder.objective", "image.resolution", "encoder.training.source"
_GROUPS = {"aim": "Reconstructive", "clip": "Contrastive", "none": "Random"}
_NAMES = {"aim": "AIM", "clip": "CLIP", "none": "not trained"}
_SHOWN = (OBJECTIVE, RESOLUTION, SOURCE, "encoder.width", "encoder.layers", "image.patch_size")


def encoder_table(analysis: Analysis) -> Table | None:
    """The table, or ``None`` where no axis sets a key of the encoder."""
    results = analysis.results
    axes = [axis for axis in results.plan["axes"] if not set(axis["keys"]) <= set(_SHOWN)]
    if not any(key.startswith("encoder.") for axis in results.plan["axes"] for key in axis["keys"]):
        return None
    base = leaves(results.plan.get("base") or {}, whole={"data.mix"})
    settings = {arm.key: base | dict(arm.settings) for arm in results.arms}
    objectives = list(dict.fromkeys(_word(settings[arm.key], OBJECTIVE) for arm in results.arms))
    arms = sorted(results.arms, key=lambda arm: objectives.index(_word(settings[arm.key], OBJECTIVE)))
    measures = [measure for measure in results.headline if measure.key != "eval/text_core"]
    columns = [with_best([_cell(analysis, arm, measure) for arm in arms]) for measure in measures]
    rows = []
    for number, arm in enumerate(arms):
        own = settings[arm.key]
        objective = _word(own, OBJECTIVE)
        facts = [_architecture(own), f"{_word(own, RESOLUTION)} px", "–" if objective == "none" else _word(own, SOURCE)]
        rows.append(
            Row(
                group=_GROUPS.get(objective, objective),
                label=_NAMES.get(objective, objective),
                baseline=arm.baseline,
                seeds=seeds_of(analysis, arm),
                cells=(
                    *(_text(fact.replace("_", " ")) for fact in facts),
                    *(_text(arm.values.get(axis["name"], "–")) for axis in axes),
                    *(column[number] for column in columns),
                ),
            )
        )
    note = (
        "Architecture: width × layers of the vision transformer / pixels of a patch. Data: what the encoder was "
        "trained on. Mean ± half-width of the 95 % interval in percent; bold: highest of the column. Which differ "
        "is said by the tables of arms and effects."
    )
    return Table(
        name="encoder",
        caption="Image encoders, in the layout of MM1's Table 1",
        columns=("architecture", "image resolution", "data", *(axis["name"] for axis in axes), *heads(measures)),
        rows=tuple(rows),
        notes=(note,),
        rows_are="encoder",
        groups_are="objective",
        turned=True,
    )


def _cell(analysis: Analysis, arm: Arm, measure: Any) -> Cell:
    """The score without its verdict, which the table of arms shows."""
    return replace(score_cell(analysis, arm, measure), verdict="", p=None)


def _architecture(settings: dict[str, Any]) -> str:
    width, layers, patch = (_word(settings, key) for key in ("encoder.width", "encoder.layers", "image.patch_size"))
    return f"ViT {width} × {layers} / {patch}"


def _word(settings: dict[str, Any], key: str) -> str:
    value = settings.get(key)
    return "?" if value is None else str(value)


def _text(text: str) -> Cell:
    return Cell(mean=None, half_width=None, text=text)
