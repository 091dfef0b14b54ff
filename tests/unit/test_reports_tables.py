"""Tables in three formats: numbers, marks, and texts of users that must not break them."""

import re

import pytest
from report_records import ArmRecord, axis, write_sweep

from reports.analysis import analyse
from reports.encoder_table import encoder_table
from reports.frame import Results
from reports.records import read_records
from reports.table_formats import to_html, to_latex, to_markdown
from reports.tables import Cell, Row, Table, effects_table, headline_table, task_tables
from reports.task_grid import task_grid

LOW = {"0": 40.0, "4": 42.0, "8": 44.0, "text_core": 10.0}
HIGH = {"0": 35.0, "4": 90.0, "8": 92.0, "text_core": 80.0}


def load(folder):
    return analyse(Results(read_records(folder, store=folder.parent.parent)))


@pytest.fixture
def analysis(tmp_path):
    arms = [
        ArmRecord(label="captions", values={"mix": "captions"}, scores=LOW, states={2: "failed"}),
        ArmRecord(label="mixed", values={"mix": "mixed"}, scores=HIGH, baseline=True),
        ArmRecord(label="gone", values={"mix": "gone"}, states=dict.fromkeys(range(3), "diverged")),
    ]
    axes = [axis("mix", {label: {"data.mix": label} for label in ("captions", "mixed", "gone")})]
    return load(write_sweep(tmp_path, "mix", arms, axes=axes, items=1000, seed_spread=0.2))


def test_cells_carry_mean_interval_best_and_significance(analysis):
    table = headline_table(analysis)
    assert table.columns == ("0-shot", "4-shot", "8-shot", "TextCore")
    captions, mixed, gone = table.rows
    measure = analysis.results.headline[1]
    mean = analysis.mean(analysis.results.arms[0], measure)
    assert captions.cells[1].mean == pytest.approx(100 * mean.mean)
    assert captions.cells[1].half_width == pytest.approx(100 * mean.half_width)
    assert (captions.seeds, mixed.seeds, gone.seeds) == ("2/3", "3/3", "0/3")
    assert [cell.best for cell in captions.cells] == [True, False, False, False]
    assert [cell.best for cell in mixed.cells] == [False, True, True, True]
    assert captions.cells[1].verdict == "lower"
    assert captions.cells[1].p == analysis.difference(analysis.results.arms[0], measure).p_holm < 0.05
    assert mixed.baseline
    assert mixed.cells[1].verdict == ""
    assert {cell.note for cell in gone.cells} == {"diverged"}


def test_every_task_has_a_table_of_all_its_metrics(analysis):
    tables = {table.name: table for table in task_tables(analysis)}
    assert list(tables) == ["task_colour", "task_digit", "task_text_core"]
    assert tables["task_colour"].columns[:3] == ("exact, 0-shot", "value, 0-shot", "exact, 4-shot")


def test_the_number_of_items_is_that_of_the_table_s_own_columns(analysis):
    headline = headline_table(analysis)
    assert headline.notes[-1] == "Items of one seed: 0-shot 2,000, 4-shot 2,000, 8-shot 2,000, TextCore 1,000."
    assert {table.notes[-1] for table in task_tables(analysis)} == {"Items of one seed: 1,000 in every column."}


def test_effects_are_signed(analysis):
    row = effects_table(analysis).rows[0]
    assert row.label == "mix: captions against mixed"
    assert row.cells[1].number.startswith("-4")
    assert row.cells[0].number.startswith("+")


HOSTILE = r"<script>a|b_c*d`e & 100% $x$ #1 {y} ~ ^ \end{table} [l](u)</script>"


@pytest.fixture
def hostile():
    cells = (
        Cell(mean=12.34, half_width=1.0, best=True, verdict="higher", p=0.0123),
        Cell(mean=None, half_width=None, note="failed"),
    )
    rows = (Row(label=HOSTILE, baseline=True, seeds="3/3", cells=cells),)
    return Table(name="t", caption=HOSTILE, columns=(HOSTILE, "b"), rows=rows, notes=(HOSTILE,))


def test_html_escapes_and_marks(hostile):
    text = to_html(hostile)
    assert "<script" not in text
    assert text.count("&lt;script&gt;a|b_c*d`e &amp; 100%") == 4
    assert "<b>12.3</b>" in text
    assert "▲ p = 0.012" in text
    assert "† " in text or "†<" in text
    assert ">failed<" in text


def test_markdown_escapes_and_keeps_its_columns(hostile):
    lines = [line for line in to_markdown(hostile).splitlines() if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in lines} == {5}
    assert r"\<script\>a\|b\_c\*d\`e" in lines[2]
    assert "**12.3** ± 1.0 ▲ (p = 0.012)" in lines[2]
    assert "*failed*" in lines[2]


def test_latex_escapes_and_is_booktabs(hostile):
    text = to_latex(hostile)
    row = next(line for line in text.splitlines() if r"\mathbf{12.3}" in line)
    assert r"a|b\_c*d`e \& 100\% \$x\$ \#1 \{y\} \textasciitilde{}" in row
    assert r"\textbackslash{}end\{table\}" in row
    assert text.count(r"\end{table}") == 1
    assert row.count("&") - row.count(r"\&") == 3
    assert [rule for rule in (r"\toprule", r"\midrule", r"\bottomrule") if rule in text] == [
        r"\toprule",
        r"\midrule",
        r"\bottomrule",
    ]
    assert r"\uparrow" in row
    assert r"\textdagger" in row


OBJECTIVES = {name: {"encoder.objective": name} for name in ("none", "aim", "clip")}
SIZES = {str(size): {"image.resolution": size} for size in (24, 36)}


@pytest.fixture
def encoders(tmp_path):
    arms = [
        ArmRecord(
            label=f"{objective} {size}",
            values={"encoder.objective": objective, "image.resolution": size},
            settings={**OBJECTIVES[objective], **SIZES[size], "encoder.width": 64, "encoder.layers": 2},
            scores={"0": 40.0 + 3 * (objective == "clip"), "4": 60.0 + 5 * (size == "36"), "8": 62.0, "text_core": 9.0},
            baseline=(objective, size) == ("clip", "36"),
        )
        for size in SIZES
        for objective in OBJECTIVES
    ]
    axes = [axis("encoder.objective", OBJECTIVES), axis("image.resolution", SIZES)]
    return load(write_sweep(tmp_path, "encoder", arms, axes=axes))


def test_image_encoders_are_rows_by_objective_with_the_best_in_bold(encoders):
    table = encoder_table(encoders)
    assert [(rows[0].group, len(rows)) for rows in table.parts] == [
        ("Random", 2),
        ("Reconstructive", 2),
        ("Contrastive", 2),
    ]
    assert table.columns == ("architecture", "image resolution", "data", "0-shot", "4-shot", "8-shot")
    last = table.rows[-1]
    assert (last.label, last.baseline, last.seeds) == ("CLIP", True, "3/3")
    assert [cell.text for cell in last.cells[:3]] == ["ViT 64 × 2 / ?", "36 px", "?"]
    assert table.rows[0].cells[2].text == "–", "what was not trained has no data"
    assert [row.cells[3].best for row in table.rows] == [False] * 4 + [True] * 2
    assert not any(cell.verdict for row in table.rows for cell in row.cells)


def test_groups_stand_on_their_side_in_html_and_latex_and_are_repeated_in_markdown(encoders):
    table = encoder_table(encoders)
    page, text, latex = to_html(table), to_markdown(table), to_latex(table)
    assert page.count("<tbody>") == 3
    assert page.count('<th scope="rowgroup" rowspan="2" class=turned>') == 3
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len({line.count("|") for line in rows}) == 1
    assert sum(line.startswith("| Contrastive |") for line in rows) == 2
    assert r"\multirow{2}{*}{\rotatebox[origin=c]{90}{Contrastive}}" in latex
    assert latex.splitlines()[0] == "% packages: booktabs, multirow, graphicx"
    assert latex.count(r"\midrule") == 3
    body = [line for line in latex.splitlines() if line.endswith(r"\\")]
    assert len({line.count("&") for line in body}) == 1


def test_a_sweep_that_leaves_the_encoder_alone_has_no_table_of_encoders(analysis):
    assert encoder_table(analysis) is None


def test_every_task_by_shots_shades_the_rows_of_the_most(analysis):
    table = task_grid(analysis)
    assert (table.groups_are, table.rows_are) == ("arm", "shots")
    assert table.columns == ("colour", "digit", "text core")
    mixed = next(rows for rows in table.parts if rows[0].group == "mixed †")
    assert [(row.label, row.shaded) for row in mixed] == [("0", False), ("4", False), ("8", True)]
    assert [row.cells[0].mean for row in mixed] == pytest.approx([35.0, 90.0, 92.0], abs=0.3)
    assert [row.cells[2].number != "" for row in mixed] == [True, False, False]
    assert to_latex(table).count(r"\cellcolor[HTML]{F2EBE8}") == 3 * 5
    assert to_html(table).count("<tr class=shaded>") == 3
