"""The figures carry the right numbers in the paper's order, colours, hatches and places."""

import numpy as np
import pytest
from report_records import (
    CONNECTOR_SCORES,
    DATA_SCORES,
    ArmRecord,
    axis,
    write_paper_connector,
    write_paper_data,
    write_sweep,
)

from reports.analysis import analyse
from reports.figures.bars import figure_number
from reports.figures.connector import connector
from reports.figures.data_mix import data_mix, data_mix_grid, has_mixes
from reports.figures.effects import effects
from reports.figures.encoder import encoder
from reports.figures.ranges import broken_range, decades, full_range
from reports.figures.tasks import tasks
from reports.frame import Results
from reports.records import ReportError, read_records


def load(folder):
    return analyse(Results(read_records(folder, store=folder.parent.parent)))


def texts(figure):
    return [annotation.text for annotation in figure.layout.annotations]


@pytest.fixture(scope="module")
def paper_connector(tmp_path_factory):
    return connector(load(write_paper_connector(tmp_path_factory.mktemp("store"))))


@pytest.fixture(scope="module")
def paper_data(tmp_path_factory):
    store = tmp_path_factory.mktemp("store")
    return {panel: data_mix(load(write_paper_data(store, panel))) for panel in "ad"}


def test_data_mix_has_the_papers_groups_series_and_numbers(paper_data):
    figure = paper_data["a"]
    settings = [label for label in DATA_SCORES["a"] if label != "title"]
    assert [trace.name for trace in figure.data] == settings
    for trace, setting in zip(figure.data, settings, strict=True):
        assert trace.y == pytest.approx(DATA_SCORES["a"][setting], abs=0.06)
    assert list(figure.layout.xaxis.ticktext) == ["TextCore", "0-shot", "4-shot", "8-shot"]
    assert figure.layout.yaxis.title.text == "Average Performance"
    assert (figure.layout.yaxis.range, figure.layout.yaxis.tickvals) == ((20, 80), (20, 40, 60, 80))


def test_data_mix_has_the_papers_colours_hatches_and_touching_bars(paper_data):
    figure = paper_data["a"]
    assert [trace.marker.color for trace in figure.data] == ["#588ebf", "#fd9455", "#64b35c", "#dc5657", "#a37fc5"]
    assert [trace.marker.pattern.shape for trace in figure.data] == ["", "/", "\\", "|", "-"]
    centres = np.array([trace.x for trace in figure.data])  # series, group
    assert np.diff(centres, axis=0) == pytest.approx(0.153)
    assert {trace.width for trace in figure.data} == {0.153}
    assert centres.mean(axis=0) == pytest.approx([0, 1, 2, 3])
    assert {trace.width for trace in paper_data["d"].data} == {0.40}
    assert figure.layout.xaxis.range == (-0.75, 3.75)


def test_value_labels_are_rotated_and_drop_a_trailing_zero(paper_data):
    labels = {
        annotation.text: annotation for annotation in paper_data["a"].layout.annotations if annotation.xref == "x"
    }
    assert {"58", "45", "39.3", "62.2"} <= set(labels)
    assert {label.textangle for label in labels.values()} == {-90}
    assert figure_number(100.0) == "100"
    assert figure_number(0.04) == "0"


def test_the_legend_overlaps_the_upper_frame_line(paper_data):
    box, top = paper_data["a"].layout.legend, paper_data["a"].layout.yaxis.domain[1]
    assert (box.orientation, box.y, box.yanchor, box.borderwidth) == ("h", top, "middle", 1)
    assert box.bordercolor == "#000000"


def test_long_names_stand_in_two_columns_as_in_the_papers_panel_b(tmp_path):
    figure = data_mix(load(write_paper_data(tmp_path, "b")))
    columns = [trace.legendgroup for trace in figure.data]
    assert columns[0] == columns[2] != columns[1] == columns[3]


def test_four_sweeps_are_four_lettered_panels(tmp_path):
    figure = data_mix_grid([load(write_paper_data(tmp_path, panel)) for panel in "abcd"])
    captions = [text for text in texts(figure) if text.startswith("<b>(")]
    assert captions == [f"<b>({panel})</b> {DATA_SCORES[panel]['title']}" for panel in "abcd"]
    assert len(figure.data) == 5 + 4 + 4 + 2
    first, fourth = figure.layout.xaxis.domain, figure.layout.xaxis4.domain
    assert first[1] < fourth[0]
    assert figure.layout.yaxis.domain[0] > figure.layout.yaxis4.domain[1]
    assert {trace.xaxis for trace in figure.data[-2:]} == {"x4"}


@pytest.mark.parametrize(
    ("title", "shown", "size"),
    [
        ("Caption Mixing", "Caption Mixing", 18),
        ("Caption/Interleaved Mixing; Image/Text-Only Mixing Ablation & more", None, 14),
        ("one sweep and another; " * 9, "one sweep and another; " * 3 + "one sw…", 13),
    ],
)
def test_a_long_title_gets_smaller_and_then_shorter(tmp_path, title, shown, size):
    arms = [ArmRecord(label=label) for label in "ab"]
    figure = data_mix(load(write_sweep(tmp_path, "mix", arms, title=title)))
    annotation = next(one for one in figure.layout.annotations if one.yref == "paper")
    assert annotation.text == (title.replace("&", "&amp;") if shown is None else shown)
    assert annotation.font.size == size


def test_missing_arms_keep_their_slot_and_say_why(tmp_path):
    arms = [
        ArmRecord(label="one", values={"mix": "one"}),
        ArmRecord(label="two", values={"mix": "two"}, states=dict.fromkeys(range(3), "diverged")),
        ArmRecord(label="three", values={"mix": "three"}, states={1: "failed"}),
    ]
    order = {label: {"data.mix": label} for label in ("one", "two", "three")}
    figure = data_mix(load(write_sweep(tmp_path, "mix", arms, axes=[axis("mix", order)])))
    assert [trace.name for trace in figure.data] == ["one", "two", "three"]
    one, two, three = figure.data
    assert two.y == (None,)
    assert np.mean([one.x[0], three.x[0]]) == pytest.approx(0)  # the slot between them is kept
    assert texts(figure).count("diverged") == 4
    assert {"60", "60*"} <= set(texts(figure))


def test_error_bars_are_drawn_over_seeds_and_stay_within_the_scale(tmp_path):
    scores = {"0": 35.0, "4": 99.0, "8": 99.5, "text_core": 50.0}
    arms = [ArmRecord(label="one", scores=scores), ArmRecord(label="two", scores=scores)]
    figure = data_mix(load(write_sweep(tmp_path, "three", arms, seed_spread=2.0)))
    for trace in figure.data:
        assert max(y + up for y, up in zip(trace.y, trace.error_y.array, strict=True)) <= 100
        assert min(trace.error_y.arrayminus) > 0
    alone = data_mix(load(write_sweep(tmp_path, "one", arms, seeds=(0,))))
    assert all(trace.error_y.array is None for trace in alone.data)


def test_series_follow_the_order_of_the_axis_not_of_the_arms(tmp_path):
    arms = [ArmRecord(label=f"arm {name}", values={"mix": name}) for name in ("b", "a")]
    order = {label: {"data.mix": label} for label in ("a", "b")}
    figure = data_mix(load(write_sweep(tmp_path, "mix", arms, axes=[axis("mix", order)])))
    assert [trace.name for trace in figure.data] == ["a", "b"]


def test_connector_has_three_panels_with_the_papers_numbers(paper_connector):
    lower = [trace for trace in paper_connector.data if trace.yaxis in ("y", "y3", "y5")]
    assert [trace.name for trace in lower] == ["Avg. Pool", "Att. Pool", "C-Abstractor"] * 3
    for trace, (shots, kind) in zip(
        lower, [(shots, kind) for shots in "048" for kind in CONNECTOR_SCORES], strict=True
    ):
        assert trace.y == pytest.approx(CONNECTOR_SCORES[kind][shots], abs=0.06)
    assert [trace.marker.color for trace in lower[:3]] == ["#3d8fc3", "#ee995f", "#74b064"]
    assert [trace.marker.pattern.shape for trace in lower[:3]] == ["", "/", "\\"]
    assert list(paper_connector.layout.xaxis.ticktext) == ["224px,<br>64tks", "336px,<br>64tks", "336px,<br>144tks"]
    assert {"0-shot", "4-shot", "8-shot"} <= set(texts(paper_connector))


def test_connector_breaks_its_axis_where_the_paper_does(paper_connector):
    layout = paper_connector.layout
    assert [layout[f"yaxis{panel}"].range for panel in ("", "3", "5")] == [(25, 35)] * 3
    assert [layout[f"yaxis{panel}"].range for panel in ("2", "4", "6")] == [(50, 65)] * 3
    assert layout.yaxis.tickvals == (26, 28, 30, 32, 34)
    assert layout.yaxis2.tickvals == tuple(range(50, 65, 2))
    heights = [layout[name].domain[1] - layout[name].domain[0] for name in ("yaxis", "yaxis2")]
    assert heights[0] == pytest.approx(heights[1])
    assert len(layout.shapes) == 3 * 2 * 2  # strokes over both frame lines at both ends of the gap


def test_every_number_of_the_connector_figure_stands_once_on_its_own_part_of_the_axis(paper_connector):
    for annotation in paper_connector.layout.annotations:
        if annotation.yref.startswith("y"):
            axis_range = paper_connector.layout["yaxis" + annotation.yref.removeprefix("y")].range
            assert axis_range[0] <= float(annotation.text) <= axis_range[1]
    numbers = [text for text in texts(paper_connector) if "shot" not in text]
    assert len(numbers) == 27


def test_ticks_at_both_edges_of_a_break_do_not_overlap(tmp_path):
    kinds = {kind: {"encoder.objective": kind} for kind in ("clip", "aim")}
    scores = {"0": 37.0, "4": 58.0, "8": 66.0, "text_core": 0.0}
    arms = [
        ArmRecord(label=kind, values={"kind": kind}, settings=settings, scores=scores)
        for kind, settings in kinds.items()
    ]
    layout = encoder(load(write_sweep(tmp_path, "e", arms, axes=[axis("kind", kinds)], seeds=(0,)))).layout
    assert (layout.yaxis.range[1], layout.yaxis2.range[0]) == (40, 55)
    assert (layout.yaxis.tickvals[-1], layout.yaxis2.tickvals[0]) == (38, 56)


def test_the_axis_is_whole_where_the_scores_leave_no_gap(tmp_path):
    figure = connector(load(write_paper_connector(tmp_path, seeds=(0, 1, 2), items=200, seed_spread=3.0)))
    assert "yaxis4" not in figure.layout
    assert len(figure.data) == 9
    assert not figure.layout.shapes


def test_a_missing_connector_leaves_a_gap(tmp_path):
    kinds = {kind: {"connector.kind": kind} for kind in CONNECTOR_SCORES}
    sizes = {"16": {"image.resolution": 16}, "48": {"image.resolution": 48}}
    arms = [
        ArmRecord(
            label=f"{kind} {size}",
            values={"kind": kind, "size": size},
            settings={**kinds[kind], **sizes[size]},
            states={0: "failed"} if (kind, size) == ("attention_pool", "48") else {},
        )
        for kind in kinds
        for size in sizes
        if (kind, size) != ("average_pool", "16")
    ]
    sweep = write_sweep(tmp_path, "c", arms, axes=[axis("kind", kinds), axis("size", sizes)], seeds=(0,))
    figure = connector(load(sweep))
    assert list(figure.layout.xaxis.ticktext) == ["48px", "16px"]
    average, attention, _ = figure.data[:3]
    assert len(average.x) == 1
    assert len(attention.x) == 1
    assert average.x[0] < attention.x[0]
    assert texts(figure).count("failed") == 3


def test_a_figure_names_the_axis_it_misses(tmp_path):
    analysis = load(write_paper_data(tmp_path, "a"))
    with pytest.raises(ReportError, match=r"connector\.kind.*data\.mix"):
        connector(analysis)
    with pytest.raises(ReportError, match=r"encoder\.objective"):
        encoder(analysis)


def test_encoder_groups_objectives_by_resolution(tmp_path):
    kinds = {kind: {"encoder.objective": kind} for kind in ("clip", "aim", "none")}
    sizes = {"16": {"image.resolution": 16}, "48": {"image.resolution": 48}}
    arms = [
        ArmRecord(label=f"{k} {s}", values={"e": k, "r": s}, settings={**kinds[k], **sizes[s]})
        for k in kinds
        for s in sizes
    ]
    figure = encoder(load(write_sweep(tmp_path, "e", arms, axes=[axis("e", kinds), axis("r", sizes)])))
    assert [trace.name for trace in figure.data[:3]] == ["CLIP", "AIM", "Random"]
    assert list(figure.layout.xaxis.ticktext) == ["16px", "48px"]


def test_no_scores_at_all_is_a_reason_not_a_figure(tmp_path):
    arms = [ArmRecord(label="one", values={"k": "one"}, states=dict.fromkeys(range(3), "missing"))]
    analysis = load(write_sweep(tmp_path, "none", arms, axes=[axis("k", {"one": {"connector.kind": "one"}})]))
    for draw in (data_mix, connector, effects):
        with pytest.raises(ReportError, match="run the sweep"):
            draw(analysis)


def test_effects_shows_every_axis_with_its_interval(tmp_path):
    analysis = load(write_paper_connector(tmp_path, seeds=(0, 1, 2), items=300, seed_spread=0.5))
    figure = effects(analysis)
    assert list(figure.layout.yaxis.ticktext) == [
        "<b>connector.kind (against c_abstractor)</b>",
        "average_pool",
        "attention_pool",
        "<b>resolution (against 336, 144)</b>",
        "224, 64",
        "336, 64",
    ]
    drawn = {}
    for trace in figure.data:
        for x, y, up, down in zip(trace.x, trace.y, trace.error_x.array, trace.error_x.arrayminus, strict=True):
            drawn[trace.xaxis, y] = (x, x + up, x - down, trace.marker.color)
    assert len(drawn) == 3 * 4
    effect = next(effect for effect in analysis.axis_effects if effect.value == "224, 64")
    wanted = effect.differences["eval/four_shot"]
    assert drawn["x2", 4][:3] == pytest.approx(
        (100 * wanted.estimate.mean, 100 * wanted.estimate.high, 100 * wanted.estimate.low)
    )
    assert wanted.verdict == "lower"
    assert drawn["x2", 4][3] == "#D55E00"


def test_effects_fall_back_to_arms_and_then_to_means(tmp_path):
    arms = [ArmRecord(label="base", baseline=True), ArmRecord(label="other")]
    listed = effects(load(write_sweep(tmp_path, "list", arms)))
    assert list(listed.layout.yaxis.ticktext) == ["other"]
    means = effects(load(write_sweep(tmp_path, "alone", [ArmRecord(label="other"), ArmRecord(label="more")])))
    assert list(means.layout.yaxis.ticktext) == ["other", "more"]
    assert means.data[0].x == pytest.approx((40.0, 40.0), abs=0.5)


def test_labels_of_users_are_shown_as_they_are(tmp_path):
    name = "<b>x</b> & y"
    arms = [ArmRecord(label=name, values={"mix": name}), ArmRecord(label="z", values={"mix": "z"})]
    axes = [axis("mix", {name: {"data.mix": name}, "z": {"data.mix": "z"}})]
    analysis = load(write_sweep(tmp_path, "mix", arms, axes=axes, title="<i>t</i>"))
    assert data_mix(analysis).data[0].name == "&lt;b&gt;x&lt;/b&gt; &amp; y"
    assert "&lt;i&gt;t&lt;/i&gt;" in texts(data_mix(analysis))
    assert "&lt;b&gt;x&lt;/b&gt;" in effects(analysis).layout.yaxis.ticktext[0]


@pytest.mark.parametrize("highest", [3.0, 42.0, 79.9, 91.0, 100.0])
def test_ranges_leave_room_above_and_end_on_ticks(highest):
    found = full_range([(0.2 * highest, highest)], percent=True, headroom=0.16)
    assert found.low == 20 * np.floor(max(0, 0.2 * highest - 2) / 20)
    assert found.high - highest >= 0.16 * (found.high - found.low) - 1e-9
    assert all(tick % 20 == 0 and tick <= 100 for tick in found.ticks)
    if found.high <= 100:
        assert found.high % 20 == 0


@pytest.mark.parametrize("ratio", [1.0, 1.001, 1.05, 1.38, 1.8, 2.3, 4, 9, 30, 150, 2e4, 1e9])
@pytest.mark.parametrize("least", [1e-7, 0.0307, 1.0, 2.4e12])
def test_every_logarithmic_axis_has_some_ticks_and_not_many(least, ratio):
    shown = decades([least, least * ratio])
    ends = 10**shown.low, 10**shown.high
    assert ends[0] < least <= least * ratio < ends[1]
    assert 2 <= len(shown.ticks) <= 12
    assert all(ends[0] <= tick <= ends[1] for tick in shown.ticks)
    assert len({f"{tick:g}" for tick in shown.ticks}) == len(shown.ticks)


def test_ranges_of_scores_that_are_no_percentages():
    whole = full_range([(0.4, 1.9), (1.0, 3.1)], percent=False)
    assert whole.low == 0
    assert whole.high > 3.1
    assert 3 <= len(whole.ticks) <= 8
    parts = broken_range([(0.1, 0.2), (0.15, 0.3), (2.0, 2.4)], percent=False)
    assert len(parts) == 2
    assert parts[0].high < parts[1].low
    assert broken_range([(5.0, 5.0)], percent=True)[0].holds(5.0)


def test_panels_share_one_value_axis_that_ends_on_its_grid(tmp_path):
    figure = data_mix_grid([load(write_paper_data(tmp_path, panel, items=100)) for panel in "abcd"])
    ranges = {figure.layout[f"yaxis{number}"].range for number in ("", 2, 3, 4)}
    assert ranges == {(20, 80)}
    high = [ArmRecord(label=name, scores={"0": 99.0, "4": 99.0, "8": 99.0}) for name in "ab"]
    assert data_mix(load(write_sweep(tmp_path, "high", high))).layout.yaxis.range[1] == 120


def test_of_several_axes_the_data_figure_shows_the_mixes_at_the_others_reference(tmp_path):
    mixes = {mix: {"data.mix": mix} for mix in ("a", "b")}
    sizes = {size: {"image.resolution": int(size)} for size in ("24", "48")}
    arms = [
        ArmRecord(
            label=f"{mix} {size}",
            values={"mix": mix, "size": size},
            settings={**mixes[mix], **sizes[size]},
            baseline=(mix, size) == ("a", "48"),
        )
        for mix in mixes
        for size in sizes
    ]
    analysis = load(write_sweep(tmp_path, "two", arms, axes=[axis("mix", mixes), axis("size", sizes)]))
    assert has_mixes(analysis)
    assert [trace.name for trace in data_mix(analysis).data] == ["a", "b"]


def test_groups_that_would_be_called_the_same_are_told_apart(tmp_path):
    kinds = {kind: {"encoder.objective": kind} for kind in ("clip", "aim")}
    sizes, sources = ({"24": {"image.resolution": 24}}, {name: {"encoder.training.source": name} for name in "xy"})
    arms = [
        ArmRecord(
            label=f"{k} {s}", values={"k": k, "r": "24", "s": s}, settings={**kinds[k], **sizes["24"], **sources[s]}
        )
        for k in kinds
        for s in sources
        if (k, s) != ("aim", "y")
    ]
    axes = [axis("k", kinds), axis("r", sizes), axis("s", sources)]
    figure = encoder(load(write_sweep(tmp_path, "e", arms, axes=axes)))
    assert list(figure.layout.xaxis.ticktext) == ["24,<br>x", "24,<br>y"]
    assert texts(figure).count("no arm") == 3


def test_every_task_has_a_panel_with_the_arms_scores(tmp_path):
    analysis = load(write_paper_connector(tmp_path, seeds=(0, 1), items=100))
    figure = tasks(analysis)
    assert texts(figure) == ["<b>colour</b> (%)", "<b>digit</b> (%)"]
    assert len(figure.data) == 2 * 7
    first = figure.data[0]
    assert first.name.endswith("†")
    assert first.y == pytest.approx((33.4, 57.4, 61.2), abs=0.7)
    assert all(length > 0 for length in first.error_y.array)


def test_points_stand_at_their_shots_and_a_panel_has_only_the_shots_of_its_task(tmp_path):
    arms = [ArmRecord(label=f"arm {number}", baseline=number == 0) for number in range(7)]
    figure = tasks(load(write_sweep(tmp_path, "many", arms, items=100)))
    for trace in figure.data[:7]:
        assert [round(x) for x in trace.x] == [0, 1, 2]
        assert max(abs(x - round(x)) for x in trace.x) <= 0.125
    assert figure.layout.xaxis.ticktext == ("0", "4", "8")
    assert texts(figure)[2] == "<b>text core</b> (%)"
    assert (figure.layout.xaxis3.ticktext, figure.layout.xaxis3.range) == (("0",), (-0.5, 0.5))
