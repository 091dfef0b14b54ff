"""Verdicts on the paper's lessons follow the records: tested differences, never a large p, never a missing arm."""

from types import SimpleNamespace

import numpy as np
import pytest
from report_records import ALIKE, MIXES, ArmRecord, as_the_paper_says, write_micro_connector, write_sweep

from reports.analysis import LEVEL, Difference, analyse
from reports.frame import Results
from reports.paper.beside import beside_the_paper
from reports.paper.lessons import CONTRADICTED, SUPPORTED, UNRESOLVED, UNTESTED, judge, lessons
from reports.paper.published import mm1
from reports.records import read_records
from reports.statistics import estimates


def load(folder):
    return beside_the_paper(analyse(Results(read_records(folder, store=folder.parent.parent))))


def verdicts(beside):
    return {verdict.lesson.name: verdict for verdict in lessons(beside)}


def test_the_encoder_s_lesson_is_about_two_effects_and_their_sizes(tmp_path):
    def sweep(objective_gain, resolution_gain):
        settings = {
            (objective, size): {"encoder.objective": objective, "image.resolution": size}
            for objective in ("aim", "clip")
            for size in (24, 48)
        }
        arms = [
            ArmRecord(
                label=f"{objective} {size}",
                settings=own,
                scores={
                    shots: score + objective_gain * (objective == "clip") + resolution_gain * (size == 48)
                    for shots, score in ALIKE.items()
                },
            )
            for (objective, size), own in settings.items()
        ]
        name = f"e{objective_gain}{resolution_gain}"
        return load(write_sweep(tmp_path, name, arms, tasks=("colour", "digit"), items=1000))

    agreeing = sweep(3, 12)
    assert verdicts(agreeing)["encoder_resolution"].verdict == SUPPORTED
    beyond = agreeing.find("encoder_resolution_minus_objective", "0-shot")
    assert 100 * beyond.difference.estimate.mean == pytest.approx(12 - 3, abs=0.2)
    assert beyond.published == pytest.approx(3.0 - 0.3)
    assert verdicts(sweep(20, 5))["encoder_resolution"].verdict == CONTRADICTED
    assert verdicts(sweep(-20, 5))["encoder_resolution"].verdict == CONTRADICTED, "whichever way the other one goes"


def test_a_sweep_that_agrees_supports_the_lessons(tmp_path):
    found = verdicts(load(write_micro_connector(tmp_path, as_the_paper_says)))
    assert found["tokens_and_resolution"].verdict == SUPPORTED
    assert found["connector_kind"].verdict == SUPPORTED
    assert {one.compared.difference.within for one in found["connector_kind"].claims} == {True}
    assert found["encoder_resolution"].verdict == UNTESTED


def test_a_sweep_that_disagrees_contradicts_them(tmp_path):
    def gain(kind, resolution, tokens):
        return -8.0 * (tokens == 9) + 9.0 * (kind == "attention_pool")

    found = verdicts(load(write_micro_connector(tmp_path, gain)))
    assert found["tokens_and_resolution"].verdict == CONTRADICTED
    assert found["connector_kind"].verdict == CONTRADICTED
    by_claim = {(one.claim.comparison, one.claim.column): one.verdict for one in found["connector_kind"].claims}
    assert by_claim["attention_pool", "0-shot"] == CONTRADICTED
    assert by_claim["c_abstractor", "0-shot"] == SUPPORTED


def test_an_effect_within_the_margin_contradicts_a_lesson_that_something_helps(tmp_path):
    def gain(kind, resolution, tokens):
        return 12.0 * (tokens == 9)

    found = verdicts(load(write_micro_connector(tmp_path, gain, items=2000)))["tokens_and_resolution"]
    assert found.verdict == CONTRADICTED
    assert {one.verdict for one in found.claims if one.claim.comparison == "tokens"} == {SUPPORTED}
    assert {one.verdict for one in found.claims if one.claim.comparison == "resolution"} == {CONTRADICTED}


def test_one_claim_of_many_does_not_contradict_a_lesson_by_chance():
    """Nine claims of no difference, each with a true one at the margin: the worst case of a lesson that is true."""
    claims = [claim for lesson in mm1().lessons if lesson.name == "connector_kind" for claim in lesson.claims]
    assert len(claims) == 9
    generator, contradicted, sweeps = np.random.default_rng(0), 0, 300
    for _ in range(sweeps):
        tables = [[0.01 + generator.normal(0, 0.004, (3, 1)) + generator.normal(0, 0.1, (3, 400))] for _ in claims]
        found = [
            judge(claim, compared_as(one), LEVEL / len(claims))
            for claim, one in zip(claims, estimates(tables, bounds=[None] * len(claims)), strict=True)
        ]
        contradicted += any(one.verdict == CONTRADICTED for one in found)
    assert contradicted / sweeps < 0.08  # 5 % and what 300 sweeps may show of it


def compared_as(estimate):
    difference = Difference(
        estimate=estimate, p=1.0, p_holm=1.0, verdict="unclear", within=False, margin=0.01, contrasts=1
    )
    return SimpleNamespace(difference=difference)


def test_a_sweep_that_is_too_small_resolves_nothing_and_a_large_p_supports_no_lesson(tmp_path):
    def gain(kind, resolution, tokens):
        return 2.0 * (tokens == 9)

    found = verdicts(load(write_micro_connector(tmp_path, gain, items=40, seeds=(0, 1), seed_spread=3.0)))
    assert found["tokens_and_resolution"].verdict == UNRESOLVED
    assert found["connector_kind"].verdict == UNRESOLVED
    assert all(one.compared.difference.p_holm > 0.05 for one in found["connector_kind"].claims)


def test_one_seed_resolves_nothing_however_many_items(tmp_path):
    found = verdicts(load(write_micro_connector(tmp_path, as_the_paper_says, seeds=(0,))))
    assert found["tokens_and_resolution"].verdict == UNRESOLVED
    assert found["tokens_and_resolution"].claims[0].compared.difference.p_holm < 0.05


def test_missing_arms_leave_a_lesson_untested_unless_others_contradict_it(tmp_path):
    def mixes(store, few_shot):
        arms = [
            ArmRecord(label="captions", settings={"data.mix": {"captions": 1.0}}, scores={**ALIKE, "text_core": 20.0}),
            ArmRecord(
                label="interleaved",
                settings={"data.mix": {"interleaved": 1.0}},
                scores={"0": 30.0, "4": few_shot, "8": few_shot, "text_core": 40.0},
            ),
        ]
        return verdicts(load(write_sweep(store, "mix", arms, items=1000)))

    agreeing = mixes(tmp_path / "a", 75.0)
    assert agreeing["interleaved_and_captions"].verdict == UNTESTED
    assert "4 supported" in agreeing["interleaved_and_captions"].counts
    assert agreeing["text"].verdict == UNTESTED
    assert mixes(tmp_path / "b", 40.0)["interleaved_and_captions"].verdict == CONTRADICTED


def test_a_column_that_was_not_evaluated_is_a_gap(tmp_path):
    arms = [
        ArmRecord(label=label, settings={"data.mix": mix}, scores={"4": 40.0 + 20 * index})
        for index, (label, mix) in enumerate(list(MIXES["a"].items())[:3])
    ]
    beside = load(write_sweep(tmp_path, "mix", arms))
    assert beside.find("interleaved_50", "4-shot").difference is not None
    assert beside.find("interleaved_50", "TextCore").gaps == ("TextCore was not evaluated",)


def test_p_is_adjusted_over_the_comparisons_of_one_lesson_alone(tmp_path):
    beside = load(write_micro_connector(tmp_path, lambda *_: 0.0, items=50, seed_spread=3.0))
    for column in ("0-shot", "4-shot", "8-shot"):
        raw = {
            one.comparison.name: one.difference.p
            for one in beside.comparisons
            if one.column == column and one.difference
        }
        tokens, resolution = (beside.find(name, column).difference for name in ("tokens", "resolution"))
        assert min(tokens.p_holm, resolution.p_holm) == pytest.approx(min(1, 2 * min(raw["tokens"], raw["resolution"])))
        kinds = ("attention_pool", "c_abstractor", "c_abstractor_attention")
        adjusted = [beside.find(name, column).difference.p_holm for name in kinds]
        assert min(adjusted) == pytest.approx(min(1, 3 * min(raw[name] for name in kinds)))
