"""Beside the paper: its numbers are traceable, arms stand for its settings by data alone, gaps are said."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from report_records import (
    CONNECTOR_SCORES,
    CONNECTORS,
    DATA_SCORES,
    MIXES,
    RESOLUTIONS,
    ArmRecord,
    as_the_paper_says,
    axis,
    write_micro_connector,
    write_paper_connector,
    write_paper_data,
    write_sweep,
)

from reports.analysis import analyse
from reports.build import build_report
from reports.figures.published import MARK, published_curves, published_figure
from reports.frame import Results
from reports.paper.beside import beside_the_paper
from reports.paper.lessons import UNTESTED, lessons, paper_holds
from reports.paper.published import EXPECTED, mm1
from reports.paper.tables import beside_table, lessons_table, order_table, published_encoders
from reports.records import read_records
from reports.table_formats import to_html, to_latex, to_markdown

ROOT = Path(__file__).parents[2]


def load(folder):
    return beside_the_paper(analyse(Results(read_records(folder, store=folder.parent.parent))))


def verdicts(beside):
    return {verdict.lesson.name: verdict for verdict in lessons(beside)}


# ---- the data


def test_every_number_has_a_provenance_and_none_is_a_recollection():
    for block in mm1().blocks:
        assert re.search(r"read from the page|labels of the bars", block.provenance), block.name
        assert not re.search(r"\bmem\b|mem-|recollect", block.provenance)
        assert block.source.startswith(("Table", "Fig."))
        assert block.source.split()[1].rstrip("abcd") in block.provenance
        for setting in block.settings:
            assert set(setting.scores) == set(block.columns)
            assert all(0 < score < 100 for score in setting.scores.values())


def test_comparisons_and_lessons_refer_to_what_is_there():
    published = mm1()
    names = [setting.name for block in published.blocks for setting in block.settings]
    assert len(set(names)) == len(names)
    lesson_names = {lesson.name for lesson in published.lessons}
    for comparison in published.comparisons:
        assert comparison.lesson in lesson_names
        for term in comparison.terms:
            assert sum(term.values()) == 0
            for name in term:
                assert set(comparison.columns) <= set(published.setting(name).scores)
    for lesson in published.lessons:
        assert lesson.claims
        for claim in lesson.claims:
            comparison = published.comparison(claim.comparison)
            assert comparison.lesson == lesson.name, "p is adjusted within a lesson"
            assert claim.column in comparison.columns
            assert claim.expected in EXPECTED


def test_the_figures_are_those_that_the_tests_of_the_figures_have():
    """Two transcriptions of the same labels."""
    for kind, name in CONNECTORS.items():
        for place, size in enumerate(RESOLUTIONS.values()):
            scores = mm1().setting(f"{name} {size[0]}px,{size[1]}tks").scores
            assert [scores[f"{shots}-shot"] for shots in "048"] == [CONNECTOR_SCORES[kind][s][place] for s in "048"]
    for panel, table in DATA_SCORES.items():
        for label in MIXES[panel]:
            assert tuple(mm1().setting(f"5{panel} {label}").scores.values()) == table[label]


def test_panels_that_share_a_setting_have_the_same_numbers_for_it():
    for first, second in [
        ("5a 100/0", "5b Caption"),
        ("5a 0/100", "5b Interleaved"),
        ("5a 50/50", "5c 100/0"),
        ("5c 91/9", "5d w/ VeCap"),
    ]:
        assert mm1().setting(first).scores == mm1().setting(second).scores


def quoted(name, *columns):
    comparison = mm1().comparison(name)
    return [(column, mm1().difference(comparison.terms, column)) for column in columns]


def test_differences_that_the_results_quote_are_these():
    text = " ".join((ROOT / "docs/results/README.md").read_text(encoding="utf-8").split())
    shots = ("0-shot", "4-shot", "8-shot")
    for name in ("tokens", "resolution"):
        assert ", ".join(f"{column} {value:+.1f}" for column, value in quoted(name, *shots)) in text
    with_captions, with_interleaved = (
        quoted(f"text_with_{data}", "TextCore")[0][1] for data in ("captions", "interleaved")
    )
    assert f"TextCore {with_captions:+.1f} with captions, {with_interleaved:+.1f} with interleaved documents" in text
    assert f"4-shot {quoted('text_with_captions', '4-shot')[0][1]:+.1f}" in text
    four, eight, zero = (value for _, value in quoted("synthetic", "4-shot", "8-shot", "0-shot"))
    assert f"4-shot {four:+.1f}, 8-shot {eight:+.1f}, 0-shot −{abs(zero):.1f}" in text
    for column, first, second in (("0-shot", "5a 100/0", "5a 0/100"), ("4-shot", "5a 100/0", "5a 0/100")):
        assert f"{mm1().setting(first).scores[column]} with captions alone" in text
        assert f"{mm1().setting(second).scores[column]} with interleaved documents alone" in text


def test_the_paper_s_own_numbers_bear_out_its_lessons_but_for_the_margin(tmp_path):
    """What they do not bear out is marked in the table: two lessons of no effect, by a margin of one point."""
    beside = [load(write_paper_data(tmp_path, panel, items=20)) for panel in "abcd"]
    beside.append(load(write_paper_connector(tmp_path, items=20)))
    tested = [one for sweep in beside for verdict in lessons(sweep) for one in verdict.claims]
    doubted = {(one.claim.comparison, one.claim.column) for one in tested if not paper_holds(one, 1.0)}
    assert {name for name, _ in doubted} == {"attention_pool", "c_abstractor", "c_abstractor_attention", "text_9"}
    assert ("c_abstractor", "8-shot") in doubted
    assert ("text_9", "0-shot") in doubted
    assert ("text_9", "4-shot") not in doubted


# ---- arms that stand for settings


@pytest.mark.parametrize("panel", "abcd")
def test_the_paper_s_mixes_stand_for_the_paper_s_settings(tmp_path, panel):
    beside = load(write_paper_data(tmp_path, panel))
    own = [one for one in beside.comparisons if one.comparison.source == f"Fig. 5{panel}"]
    assert own
    for one in own:
        assert one.gaps == ()
        assert 100 * one.difference.estimate.mean == pytest.approx(one.published, abs=0.11)
    assert [block.source for block in beside.repeated] == [f"Fig. 5{panel}"]


@pytest.mark.parametrize(
    "mix",
    [
        {"captions": 0.8, "interleaved": 0.2},  # no setting of the paper
        {"captions": 1.0, "web": 0.1},  # a source the paper does not have
        {"captions": "half", "interleaved": 1.0},
        {"captions": 0.0},
        "50/50",
    ],
)
def test_a_mix_that_is_none_of_the_paper_s_stands_for_none(tmp_path, mix):
    mixes = {"first": {"data.mix": {"captions": 1.0}}, "other": {"data.mix": mix}}
    arms = [ArmRecord(label=label, values={"mix": label}, settings=settings) for label, settings in mixes.items()]
    beside = load(write_sweep(tmp_path, "mix", arms, axes=[axis("mix", mixes)]))
    assert beside.comparisons
    assert all(one.difference is None and one.gaps for one in beside.comparisons)
    assert {verdict.verdict for verdict in lessons(beside)} == {UNTESTED}


def test_a_sweep_that_varies_nothing_of_the_paper_s_has_no_lessons(tmp_path):
    depths = {label: {"decoder.layers": int(label)} for label in "24"}
    arms = [ArmRecord(label=label, values={"depth": label}, settings=settings) for label, settings in depths.items()]
    folder = write_sweep(tmp_path, "depth", arms, axes=[axis("depth", depths)])
    beside = load(folder)
    assert (beside.comparisons, lessons(beside)) == ((), ())
    summary = build_report(folder, store=tmp_path, output=folder / "report", images=False)
    assert summary["lessons"] == []
    assert not [name for name in summary["files"] if "paper" in name or "lessons" in name]
    assert "published-switch" not in tags(folder / "report/index.html")


def test_where_a_sweep_has_some_of_the_terms_both_sides_are_over_these(tmp_path):
    beside = load(write_micro_connector(tmp_path, as_the_paper_says, kinds=("c_abstractor",)))
    tokens = beside.find("tokens", "4-shot")
    assert tokens.published == pytest.approx(57.4 - 58.7)
    assert tokens.terms == 1
    assert 100 * tokens.difference.estimate.mean == pytest.approx(12.0, abs=0.1)
    assert any("Avg. Pool 336px,144tks" in gap for gap in tokens.gaps)
    assert "connector_kind" not in verdicts(beside)


def test_an_arm_that_did_not_finish_is_a_gap_on_both_sides(tmp_path):
    states = {("c_abstractor", "48/9"): dict.fromkeys(range(4), "failed")}
    tokens = load(write_micro_connector(tmp_path, as_the_paper_says, states=states)).find("tokens", "4-shot")
    assert tokens.terms == 2
    assert tokens.published == pytest.approx(((59.1 - 57.0) + (58.2 - 56.0)) / 2)
    assert any(gap.startswith("no scores") and "C-Abstractor" in gap for gap in tokens.gaps)


def test_arms_of_a_contrast_are_alike_in_all_else(tmp_path):
    settings = {
        "low": {"image.resolution": 24, "connector.num_tokens": 4, "training.steps": 100},
        "high": {"image.resolution": 48, "connector.num_tokens": 4, "training.steps": 200},
    }
    arms = [
        ArmRecord(label=label, values={"size": label}, settings={"connector.kind": "average_pool", **own})
        for label, own in settings.items()
    ]
    resolution = load(write_sweep(tmp_path, "r", arms, axes=[axis("size", settings)])).find("resolution", "0-shot")
    assert resolution.difference is None
    assert any("alike in all else" in gap for gap in resolution.gaps)


def test_two_arms_for_one_setting_are_not_chosen_between(tmp_path):
    settings = {str(size): {"image.resolution": size, "connector.num_tokens": 4} for size in (24, 32, 48)}
    arms = [
        ArmRecord(label=label, values={"size": label}, settings={"connector.kind": "average_pool", **own})
        for label, own in settings.items()
    ]
    resolution = load(write_sweep(tmp_path, "r", arms, axes=[axis("size", settings)])).find("resolution", "0-shot")
    assert resolution.difference is None
    assert any("several arms" in gap for gap in resolution.gaps)


def test_what_the_arms_do_not_set_is_taken_from_the_base(tmp_path):
    sizes = {str(size): {"image.resolution": size} for size in (24, 48)}
    arms = [ArmRecord(label=label, values={"size": label}, settings=own) for label, own in sizes.items()]
    folder = write_sweep(tmp_path, "r", arms, axes=[axis("size", sizes)])
    assert load(folder).find("resolution", "0-shot").difference is None
    plan = json.loads((folder / "plan.json").read_text())
    plan["base"] = {"connector": {"kind": "c_abstractor", "num_tokens": 4}, "encoder": {"objective": "clip"}}
    (folder / "plan.json").write_text(json.dumps(plan))
    beside = load(folder)
    assert beside.find("resolution", "0-shot").terms == 1
    assert beside.find("encoder_resolution", "0-shot").difference is not None
    assert any("AIM" in gap for gap in beside.find("encoder_resolution_minus_objective", "0-shot").gaps)
    assert beside.find("encoder_objective", "0-shot") is None, "the sweep has one objective"


# ---- tables, page, files


def test_the_table_says_sign_and_size_only_where_ours_is_told_apart(tmp_path):
    table = beside_table(load(write_micro_connector(tmp_path, as_the_paper_says)))
    labels = [row.label for row in table.rows]
    tokens = table.rows[labels.index("64 to 144 image tokens at 336 px, mean over the kinds (Fig. 4)") + 1]
    assert tokens.label == "0-shot"
    published, ours, sign, size, missing = tokens.cells
    assert published.number == "+1.0"
    assert ours.number == "+12.0"
    assert float(ours.width) < 5
    assert (sign.text, size.text, missing.text) == ("yes", "× 12", "")
    kind = table.rows[labels.index("C-Abstractor instead of average pooling, mean over the sizes (Fig. 4)") + 1]
    assert [cell.text for cell in kind.cells[2:4]] == ["none here", "≈ 0"]
    gap = table.rows[labels.index("224 to 336 px, CLIP ViT-L (Table 1)")]
    assert (gap.cells[1].text, gap.cells[-1].text) == ("not tested", "no arm for CLIP ViT-L 336px and CLIP ViT-L 224px")


def test_an_opposite_sign_and_an_unclear_one_are_said(tmp_path):
    opposite = load(write_micro_connector(tmp_path / "a", lambda kind, resolution, tokens: -9.0 * (tokens == 9)))
    assert "no" in {row.cells[2].text for row in beside_table(opposite).rows}
    small = load(write_micro_connector(tmp_path / "b", as_the_paper_says, items=20, seeds=(0, 1), seed_spread=8.0))
    assert "unclear" in {row.cells[2].text for row in beside_table(small).rows}


def test_the_order_of_settings_counts_pairs_that_are_told_apart(tmp_path):
    as_published = load(write_paper_data(tmp_path / "a", "a", seeds=(0, 1, 2), tasks=("colour",), items=1000))
    rows = {row.cells[0].text: [cell.text for cell in row.cells[1:]] for row in order_table(as_published).rows}
    assert rows["4-shot"][0] == "10 of 10"
    assert rows["4-shot"][-1] == "yes"
    shots = ("text_core", "0", "4", "8")
    arms = [
        ArmRecord(
            label=label,
            settings={"data.mix": mix},
            scores={shot: 100.0 - score for shot, score in zip(shots, DATA_SCORES["a"][label], strict=True)},
        )
        for label, mix in MIXES["a"].items()
    ]
    turned = order_table(load(write_sweep(tmp_path / "b", "mix", arms, tasks=("colour",), items=1000)))
    rows = {row.cells[0].text: [cell.text for cell in row.cells[1:]] for row in turned.rows}
    assert rows["4-shot"][0] == "0 of 10"
    assert rows["4-shot"][-1] == "no"


def test_published_figures_carry_the_paper_s_numbers_their_mark_and_the_same_colours():
    blocks = {block.name: block for block in mm1().blocks}
    connector = published_figure([blocks["connector"]], beside=["C-Abstractor", "Avg. Pool"])
    first = {trace.name: trace for trace in connector.data if trace.showlegend}
    assert first["C-Abstractor"].marker.color == "#3d8fc3"
    assert first["Avg. Pool"].marker.color == "#ee995f"
    assert first["Att. Pool"].marker.color == "#74b064"
    assert list(first["C-Abstractor"].y) == [30.7, 31.7, 33.4]
    encoder = published_figure([blocks["encoder"]], beside=["Random", "AIM", "CLIP"])
    shown = [annotation.text for annotation in encoder.layout.annotations]
    assert shown.count("not published") == 3
    mixes = published_figure([blocks["data_text"], blocks["data_ratio"]], beside=[])
    assert [tuple(trace.y) for trace in mixes.data][:4] == [DATA_SCORES["b"][label] for label in MIXES["b"]]
    for figure in (connector, encoder, mixes):
        assert any(MARK in annotation.text for annotation in figure.layout.annotations)


class Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.open: list[tuple[str, dict]] = []
        self.found: dict[str, tuple[str, dict, list]] = {}

    def handle_starttag(self, tag, attributes):
        named = dict(attributes)
        if "id" in named:
            self.found[named["id"]] = (tag, named, list(self.open))
        if tag not in ("input", "meta", "link", "br"):
            self.open.append((tag, named))

    def handle_endtag(self, tag):
        while self.open and self.open.pop()[0] != tag:
            pass


def tags(page):
    """By id: tag, attributes, and the (tag, attributes) of everything around it."""
    parser = Tags()
    parser.feed(page.read_text(encoding="utf-8"))
    return parser.found


def test_the_page_has_a_switch_that_is_off_labelled_and_governs_what_is_published(tmp_path):
    folder = write_micro_connector(tmp_path, as_the_paper_says, items=100)
    summary = build_report(folder, store=tmp_path, output=folder / "report", images=False)
    page = folder / "report/index.html"
    found = tags(page)
    tag, attributes, around = found["published-switch"]
    assert (tag, attributes["type"], attributes["role"]) == ("input", "checkbox", "switch")
    assert "checked" not in attributes
    assert around[-1][0] == "label"
    for name in ("figure-connector-published", "beside-the-paper"):
        _, own, outside = found[name]
        assert any("published" in (one.get("class") or "").split() for one in [own, *(named for _, named in outside)])
    assert "lessons" in found
    text = page.read_text(encoding="utf-8")
    assert "body:not(:has(#published-switch:checked)) .published { display: none; }" in text
    assert next(block for block in mm1().blocks if block.name == "connector").provenance in text
    assert {lesson["name"]: lesson["verdict"] for lesson in summary["lessons"]}["tokens_and_resolution"] in text
    assert {
        f"tables/{name}.{suffix}" for name in ("lessons", "beside_paper") for suffix in ("md", "html", "tex")
    } <= set(summary["files"])


def test_the_summary_has_the_numbers_behind_a_verdict(tmp_path):
    folder = write_micro_connector(tmp_path, as_the_paper_says, items=400)
    summary = build_report(folder, store=tmp_path, output=folder / "report", images=False)
    lesson = next(lesson for lesson in summary["lessons"] if lesson["name"] == "tokens_and_resolution")
    claim = lesson["claims"][0]
    assert (claim["comparison"], claim["column"], claim["expected"]) == ("tokens", "0-shot", "higher")
    assert claim["published"] == pytest.approx(1.033333)
    assert claim["difference"]["low"] < 12 < claim["difference"]["high"]
    assert claim["difference"]["p"] < 0.05
    assert claim["within"] is False
    untested = next(lesson for lesson in summary["lessons"] if lesson["name"] == "encoder_resolution")["claims"][-1]
    assert (untested["verdict"], untested["difference"], untested["within"]) == (UNTESTED, None, None)


def test_the_same_records_give_the_same_bytes(tmp_path):
    first, second = (write_micro_connector(tmp_path / name, as_the_paper_says, items=50) for name in "ab")
    for folder in (first, second):
        build_report(folder, store=folder.parent.parent, output=folder / "report", images=False)
    for name in ("index.html", "summary.json", "tables/lessons.tex", "tables/beside_paper.md"):
        assert (first / "report" / name).read_bytes() == (second / "report" / name).read_bytes()


HOSTILE = '</script><script>alert("x")</script>|_'


def test_texts_of_users_cannot_become_markup(tmp_path):
    mixes = {HOSTILE: {"data.mix": {HOSTILE: 1.0}}, "captions": {"data.mix": {"captions": 1.0}}}
    arms = [ArmRecord(label=label, values={HOSTILE: label}, settings=own) for label, own in mixes.items()]
    folder = write_sweep(tmp_path, "mix", arms, axes=[axis(HOSTILE, mixes)], figures=["data_mix"], title=HOSTILE)
    build_report(folder, store=tmp_path, output=folder / "report", images=False)
    text = (folder / "report/index.html").read_text(encoding="utf-8")
    assert '<script>alert("x")' not in text


def test_words_in_cells_are_escaped_for_every_format(tmp_path):
    beside = load(write_micro_connector(tmp_path, as_the_paper_says, items=50, kinds=("average_pool",)))
    for table in (beside_table(beside), lessons_table(lessons(beside), beside.margin)):
        assert "AIM_600M" not in to_latex(table).replace(r"AIM\_600M", "")
        markdown = [line for line in to_markdown(table).splitlines() if line.startswith("|")]
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in markdown}) == 1
        assert to_html(table).count("<tr") == len(table.rows) + 2
        rows = [line for line in to_latex(table).splitlines() if line.endswith(r"\\")]
        assert {row.count("&") - row.count(r"\&") for row in rows} == {len(table.columns) + 1}


def test_table_1_is_shown_as_printed_with_the_paper_s_bold():
    table = published_encoders(next(block for block in mm1().blocks if block.source == "Table 1"))
    assert [len(rows) for rows in table.parts] == [3, 7]
    assert [row.group for rows in table.parts for row in rows[:1]] == ["Reconstructive", "Contrastive"]
    assert {len(row.cells) for row in table.rows} == {6}
    bold = [(row.label, cell.number) for row in table.rows for cell in row.cells if cell.best]
    assert bold == [("CLIP_DFN+VeCap", "62.6"), ("CLIP_DFN", "40.9"), ("CLIP_DFN", "66.4")]
    assert "seeds" not in table.heads
    assert "| Contrastive | CLIP\\_DFN | ViT-H | 378 px | DFN-5B | **40.9** | 62.5 | **66.4** |" in to_markdown(table)


def test_the_curves_of_figure_7_say_how_they_were_read():
    curves = {curve.source: curve for curve in mm1().curves}
    assert (curves["Fig. 7b"].points[336], curves["Fig. 7b"].points[1344]) == (87.2, 100.0)
    assert curves["Fig. 7c"].points[5] == 93.1
    assert all("by pixels" in curve.provenance for curve in curves.values())
    figure = published_curves(list(curves.values()))
    assert [trace.line.color for trace in figure.data] == ["#ff5e00", "#ff5e00"]
    assert (figure.layout.xaxis.type, figure.layout.xaxis.tickangle, figure.layout.xaxis2.type) == (
        "log",
        -45,
        "linear",
    )
    assert sum(MARK in annotation.text for annotation in figure.layout.annotations) == 2


def test_the_paper_s_rule_gives_the_rates_that_it_is_quoted_with():
    rule = mm1().learning_rate
    for size, rate in ((9e6, 0.000675), (1.2e9, 8.58e-05), (30e9, 2.21e-05)):
        assert rule.rate(size) == pytest.approx(rate, rel=0.003)


@pytest.mark.parametrize(
    ("key", "values", "extra", "comparison", "column"),
    [
        ("encoder.width", (64, 128), {"image.resolution": 36}, "encoder_size", "0-shot"),
        (
            "encoder.training.source",
            ("captions", "synthetic_captions"),
            {"image.resolution": 24, "encoder.width": 128},
            "encoder_data",
            "8-shot",
        ),
    ],
)
def test_the_encoder_s_size_and_data_have_arms_that_stand_for_them(tmp_path, key, values, extra, comparison, column):
    settings = {str(value): {"encoder.objective": "clip", key: value, **extra} for value in values}
    arms = [
        ArmRecord(label=label, settings=own, scores={"0": 40 + 9 * place, "4": 50 + 9 * place, "8": 60 + 9 * place})
        for place, (label, own) in enumerate(settings.items())
    ]
    beside = load(write_sweep(tmp_path, "e", arms, tasks=("colour",), items=1000))
    compared = beside.find(comparison, column)
    assert compared.gaps == ()
    assert 100 * compared.difference.estimate.mean == pytest.approx(9.0, abs=0.2)
    expected = {"encoder_size": "contradicted", "encoder_data": "supported"}[comparison]
    assert verdicts(beside)[comparison].verdict == expected
