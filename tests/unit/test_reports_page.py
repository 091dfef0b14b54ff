"""The report as files: self-contained, the same bytes every time, rebuilt only when something changed."""

import csv
import html
import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
from report_records import PIXEL, ArmRecord, axis, write_paper_connector, write_sweep

from reports import export
from reports.build import build_report
from reports.records import ReportError

HOSTILE = '</script><script>alert("x")</script> & <img src=https://example.org/x.png>'


class Tags(HTMLParser):
    """Every start tag with its attributes, and what stands inside scripts and styles."""

    def __init__(self):
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.inside = {"script": [], "style": []}

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag in self.inside:
            self.inside[tag].append("")

    def handle_data(self, data):
        if self.tags and self.lasttag in self.inside and self.inside[self.lasttag]:
            self.inside[self.lasttag][-1] += data


def read_page(path):
    page = Tags()
    page.feed(path.read_text(encoding="utf-8"))
    return page


def mixed_sweep(store, **options):
    labels = ("captions", "mixed", HOSTILE)
    arms = [
        ArmRecord(
            label="captions",
            values={"mix": "captions"},
            settings={"data.mix": {"captions": 1.0}},
            scores={"0": 40.0, "4": 42.0, "8": 44.0, "text_core": 10.0},
            states={1: "failed"},
        ),
        ArmRecord(
            label="mixed",
            values={"mix": "mixed"},
            settings={"data.mix": {"captions": 0.5}},
            scores={"0": 35.0, "4": 90.0, "8": 92.0, "text_core": 80.0},
            baseline=True,
        ),
        ArmRecord(label=HOSTILE, values={"mix": HOSTILE}, settings={"data.mix": HOSTILE}, states={2: "missing"}),
    ]
    axes = [axis("mix", {label: {"data.mix": label} for label in labels})]
    defaults = {"axes": axes, "figures": ["data_mix", "nonsense"], "title": f"Mixes {HOSTILE}"}
    return write_sweep(store, "mix", arms, **(defaults | options))


def build(folder, **options):
    defaults = {"store": folder.parent.parent, "output": folder / "report", "images": False}
    return build_report(folder, **(defaults | options))


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    folder = mixed_sweep(tmp_path_factory.mktemp("store"))
    return folder, build(folder)


def test_the_page_refers_to_nothing_outside_itself(sweep):
    page = read_page(sweep[0] / "report" / "index.html")
    for tag, attributes in page.tags:
        for name in ("src", "href", "srcset", "data", "action", "poster", "xlink:href"):
            value = attributes.get(name) or ""
            assert value.startswith(("#", "data:")) or not value, (tag, name, value[:80])
    assert not any("@import" in style or "url(" in style for style in page.inside["style"])
    policy = next(attributes["content"] for tag, attributes in page.tags if attributes.get("http-equiv"))
    assert policy.startswith("default-src 'none'")
    assert "http" not in policy


def test_the_drawing_library_is_inside_once(sweep):
    page = read_page(sweep[0] / "report" / "index.html")
    assert sum(len(text) > 1_000_000 for text in page.inside["script"]) == 1


def test_no_text_of_a_user_becomes_markup(sweep):
    text = (sweep[0] / "report" / "index.html").read_text(encoding="utf-8")
    assert 'alert("x")' not in re.sub(r"\\u003c.*?>", "", text).replace('alert(\\"x\\")', "")
    page = read_page(sweep[0] / "report" / "index.html")
    assert len(page.inside["script"]) == 3
    assert "<" not in page.inside["script"][0]  # nor could it end the element it stands in
    pictures = [attributes["src"] or "" for tag, attributes in page.tags if tag == "img"]
    assert len(pictures) == 9  # the first three questions of each of three tasks, each once
    assert all(picture == f"data:image/png;base64,{PIXEL}" for picture in pictures)


def test_the_page_shows_tables_figures_examples_failures_and_warnings(sweep):
    folder, summary = sweep
    page = read_page(folder / "report" / "index.html")
    text = (folder / "report" / "index.html").read_text(encoding="utf-8")
    drawings = json.loads(page.inside["script"][0])
    assert set(drawings) == {"data_mix", "data_mix-published", "effects", "tasks", "learning"}
    assert [trace["name"] for trace in drawings["data_mix"]["data"]][:2] == ["captions", "mixed"]
    assert "No figure nonsense" in text
    assert "code_error" in text
    assert "ValueError: &lt;broken&gt; &amp; bent" in text
    assert "check of the platform, not evidence about MM1" in text.replace("\n", " ")
    assert "test/colour/0" in text
    assert "the &lt;i&gt;colour&lt;/i&gt; is" in text
    assert ">0123456789ab<" in text
    assert all(arm["key"] in text for arm in summary["arms"])
    assert any("failed (1)" in warning for warning in summary["warnings"])


def test_different_code_among_compared_trials_is_a_warning(tmp_path):
    folder = mixed_sweep(tmp_path)
    path = next((tmp_path / "pretrain").glob("*/record.json"))
    record = json.loads(path.read_text())
    record["provenance"] |= {"commit": "f" * 40, "versions": {"python": "3.12.0", "torch": "2.13.0"}}
    path.write_text(json.dumps(record))
    warnings = build(folder)["warnings"]
    assert any("different code" in warning and "f" * 12 in warning for warning in warnings)
    assert any("versions of python" in warning for warning in warnings)
    assert not any("torch" in warning for warning in warnings)


def test_scores_of_the_validation_split_are_a_warning(tmp_path):
    folder = mixed_sweep(tmp_path)
    paths = sorted((tmp_path / "evaluate").glob("*/record.json"))

    def warnings(*splits):
        for path, split in zip(paths, splits, strict=True):
            record = json.loads(path.read_text())
            record["config"] = {"evaluation": {"split": split}}
            path.write_text(json.dumps(record))
        return [warning for warning in build(folder)["warnings"] if "split" in warning]

    others = len(paths) - 1
    assert warnings("test", *["test"] * others) == []
    assert warnings("validation", *["validation"] * others) == [
        "Scores are of the validation split, which is for choosing settings."
    ]
    assert "which is for choosing settings" in (folder / "report" / "index.html").read_text(encoding="utf-8")
    assert warnings("validation", *["test"] * others) == [
        f"Compared trials were scored on different splits of the data: test ({others}), validation (1)."
    ]


def test_one_seed_says_what_it_cannot_know(tmp_path):
    summary = build(mixed_sweep(tmp_path, seeds=(0,)))
    assert any("One seed" in warning for warning in summary["warnings"])
    assert "One seed" in (tmp_path / "sweeps/mix/report/tables/headline.md").read_text()


def test_the_same_records_give_the_same_bytes_wherever_they_are(tmp_path):
    first, second = (mixed_sweep(tmp_path / name) for name in ("a", "b"))
    build(first)
    build(second)
    names = sorted(path.relative_to(first) for path in (first / "report").rglob("*") if path.is_file())
    assert len(names) >= 15
    for name in names:
        assert (first / name).read_bytes() == (second / name).read_bytes(), name
    assert all(str(tmp_path).encode() not in (first / name).read_bytes() for name in names)


def test_the_summary_has_the_numbers_that_the_terminal_prints(sweep):
    folder, summary = sweep
    assert summary == json.loads((folder / "report" / "summary.json").read_text(encoding="utf-8"))
    captions, mixed, _ = summary["arms"]
    four = captions["scores"]["eval/four_shot"]
    assert four["mean"] == pytest.approx(42.0)
    assert four["low"] < 42.0 < four["high"]
    assert four["seeds"] == 2
    assert four["difference"]["mean"] == pytest.approx(-48.0)
    assert four["difference"]["verdict"] == "lower"
    assert mixed["scores"]["eval/four_shot"]["difference"] is None
    assert summary["states"] == {"done": 7, "failed": 1, "missing": 1}
    assert [trial["state"] for trial in summary["unfinished"]] == ["failed", "missing"]
    assert {"index.html", "scores.csv", "differences.csv", "tables/headline.tex"} <= set(summary["files"])


def test_the_frame_is_written_for_other_programs(sweep):
    with (sweep[0] / "report" / "scores.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    row = next(row for row in rows if row["label"] == "mixed" and row["task"] == "digit" and row["metric"] == "value")
    assert (row["axis mix"], row["state"], row["n"]) == ("mixed", "done", "200")
    assert float(row["mean"]) == pytest.approx(0.35)


def test_a_report_that_is_up_to_date_is_not_made_again(tmp_path):
    folder = mixed_sweep(tmp_path)
    first = build(folder)
    page = folder / "report" / "index.html"
    kept = b"." * page.stat().st_size
    page.write_bytes(kept)
    assert build(folder) == first
    assert page.read_bytes() == kept


@pytest.mark.parametrize("change", ["record", "file gone", "file cut short", "summary broken"])
def test_anything_that_changed_makes_it_again(tmp_path, change):
    folder = mixed_sweep(tmp_path)
    build(folder)
    page = folder / "report" / "index.html"
    page.write_bytes(page.read_bytes().replace(b"<body", b"<BODY", 1))
    if change == "record":
        path = next(folder.glob("trials/*/record.json"))
        path.write_text(path.read_text() + "\n")
    elif change == "file gone":
        (folder / "report" / "scores.csv").unlink()
    elif change == "file cut short":
        os.truncate(folder / "report" / "scores.csv", 100)
    else:
        (folder / "report" / "summary.json").write_text("{")
    build(folder)
    assert "<BODY" not in page.read_text()


def test_files_of_an_earlier_report_do_not_linger(tmp_path):
    folder = mixed_sweep(tmp_path)
    build(folder)
    assert (folder / "report/figures/data_mix.json").exists()
    mixed_sweep(tmp_path, axes=[], figures=[])
    build(folder)
    assert not (folder / "report/figures/data_mix.json").exists()
    assert (folder / "report/figures/effects.json").exists()


def test_the_paper_s_figures_come_where_a_sweep_has_their_axes_or_are_chosen(tmp_path):
    def drawn(**options):
        return [figure["name"] for figure in build(write_paper_connector(tmp_path, items=20, **options))["figures"]]

    assert drawn(figures=[])[0] == "connector"
    assert drawn(figures=["nonsense"])[:2] == ["nonsense", "effects"]
    folder = mixed_sweep(tmp_path, figures=[])
    assert [figure["name"] for figure in build(folder)["figures"]] == ["data_mix", "effects", "tasks", "learning"]


def test_a_caption_speaks_of_a_broken_axis_where_it_is_broken(tmp_path):
    said = {}
    for folder, options in (("gap", {}), ("none", {"seeds": (0, 1, 2), "items": 200, "seed_spread": 3.0})):
        sweep = write_paper_connector(tmp_path / folder, **options)
        build(sweep)
        said[folder] = "The value axis is broken" in (sweep / "report" / "index.html").read_text(encoding="utf-8")
    assert said == {"gap": True, "none": False}


def test_all_that_is_shown_is_there_for_other_programs(tmp_path):
    folder = write_paper_connector(tmp_path, items=50, seeds=(0, 1, 2), seed_spread=1.0)
    build(folder)
    names = ["scores", "differences", "effects", "shots", "interactions", "variance"]
    names += ["power", "beside_paper", "lessons"]
    for name in names:
        written = pd.read_csv(folder / "report" / f"{name}.csv")
        same = pd.read_parquet(folder / "report" / f"{name}.parquet")
        assert len(written) > 0
        assert list(written.columns) == list(same.columns)
        assert len(written) == len(same)
    effects = pd.read_parquet(folder / "report" / "effects.parquet")
    assert {"axis", "value", "difference", "low", "high", "p_holm", "verdict"} <= set(effects.columns)


def test_a_page_about_a_sweep_that_still_runs_is_read_again(tmp_path):
    running = mixed_sweep(tmp_path / "a")
    build(running)
    assert 'id="unfinished"' in (running / "report/index.html").read_text(encoding="utf-8")
    ended = write_paper_connector(tmp_path / "b", items=20)
    build(ended)
    assert 'id="unfinished"' not in (ended / "report/index.html").read_text(encoding="utf-8")


def test_an_up_to_date_report_is_shown_without_heavy_imports(tmp_path):
    folder = mixed_sweep(tmp_path)
    build(folder)
    program = (
        "import sys; from pathlib import Path; from ablations.report import report;"
        f"report(['mix'], store=Path({str(tmp_path)!r}), output=None, images=False, json_output=False);"
        "heavy = {'pandas', 'plotly', 'numpy', 'scipy', 'torch', 'jinja2', 'kaleido'} & set(sys.modules);"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    assert "mixed" in run.stdout


def test_without_a_browser_one_sentence_says_so_and_the_rest_is_there(tmp_path, monkeypatch):
    monkeypatch.setattr("choreographer.browsers.chromium.Chromium.find_browser", lambda **_: None)
    folder = write_paper_connector(tmp_path)
    summary = build(folder, images=True)
    assert "no Chrome or Chromium was found" in summary["images"]["problem"]
    assert not [name for name in summary["files"] if name.endswith(".png")]
    assert (folder / "report/index.html").exists()
    with pytest.raises(ReportError, match="BROWSER_PATH"):
        export.write_images({})


def test_a_folder_that_cannot_be_written_is_an_error_that_helps(tmp_path):
    folder = mixed_sweep(tmp_path)
    blocked = tmp_path / "blocked"
    blocked.write_text("a file where the folder should be")
    with pytest.raises(ReportError, match="--output"):
        build(folder, output=blocked)


def test_a_sweep_without_any_score_still_has_a_page(tmp_path):
    arms = [ArmRecord(label="one", values={"mix": "one"}, states=dict.fromkeys(range(3), "missing"))]
    summary = build(write_sweep(tmp_path, "none", arms, figures=["data_mix"]))
    assert summary["measures"] == []
    assert all(figure["problem"] for figure in summary["figures"])
    assert "run the sweep first" in (tmp_path / "sweeps/none/report/index.html").read_text()


def test_scores_of_another_size_make_it_again_and_are_named(tmp_path):
    folder = mixed_sweep(tmp_path)
    build(folder)
    path = next((tmp_path / "evaluate").glob("*/work/item_scores.npz"))
    path.write_bytes(path.read_bytes()[:100])
    assert build(folder)["states"]["unreadable"] == 1
    assert path.parents[1].name in (folder / "report" / "index.html").read_text(encoding="utf-8")


def test_a_report_says_what_it_could_have_seen(tmp_path):
    summary = build(mixed_sweep(tmp_path))
    assert summary["margin"] == 1.0
    assert [sight["label"] for sight in summary["power"]] == ["0-shot", "4-shot", "8-shot", "TextCore"]
    assert all(sight["worst"] >= sight["typical"] > 0 for sight in summary["power"])
    assert "What this sweep could have seen" in (tmp_path / "sweeps/mix/report/index.html").read_text(encoding="utf-8")


def test_the_configuration_shown_is_the_baselines(tmp_path):
    folder = mixed_sweep(tmp_path)
    plan = json.loads((folder / "plan.json").read_text())
    plan["base"] = {"data": {"mix": {"text": 1.0}}, "training": {"steps": 77}}
    (folder / "plan.json").write_text(json.dumps(plan))
    build(folder)
    text = (folder / "report" / "index.html").read_text(encoding="utf-8")
    shown = json.loads(html.unescape(re.search(r"<pre>(.*?)</pre>", text, re.DOTALL)[1]))
    assert shown == {"data": {"mix": {"captions": 0.5}}, "training": {"steps": 77}}


def test_a_stage_record_without_a_result_is_not_taken(tmp_path):
    folder = mixed_sweep(tmp_path)
    for path in (tmp_path / "evaluate").glob("*/record.json"):
        path.write_text(json.dumps({**json.loads(path.read_text()), "result": None}))
    assert build(folder)["measures"] == []
