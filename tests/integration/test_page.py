"""The report as a person meets it: the page opened from disk in a browser, and figures as image files."""

import html
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from browser import CHROMIUM, FLAGS
from PIL import Image
from report_records import write_paper_connector, write_paper_data

from reports.build import build_report

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium or Chrome is installed")


def browse(page: Path, folder: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    """Open the page in a new browser profile; what it printed and logged."""
    profile = folder / "profile"
    shutil.rmtree(profile, ignore_errors=True)
    command = [str(CHROMIUM), *FLAGS, f"--user-data-dir={profile}", *flags, page.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=180, check=True)


def asked_for(log: Path) -> list[str]:
    """The addresses that the page asked the network for; what the browser wants for itself has no origin."""
    events = [event.get("params", {}) for event in json.loads(log.read_text())["events"]]
    return sorted({event["url"] for event in events if event.get("initiator", "not an origin") != "not an origin"})


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    store = tmp_path_factory.mktemp("store")
    folder = write_paper_connector(store, seeds=(0, 1, 2), items=200, seed_spread=1.0)
    summary = build_report(folder, store=store, output=folder / "report", images=True)
    return folder / "report", summary


def test_the_page_draws_its_figures_and_fetches_nothing(report, tmp_path):
    log = tmp_path / "net.json"
    opened = browse(report[0] / "index.html", tmp_path, "--dump-dom", f"--log-net-log={log}")
    complaints = [line for line in opened.stderr.splitlines() if "CONSOLE" in line]
    assert complaints == []
    assert opened.stdout.count('class="main-svg"') >= 2
    assert opened.stdout.count("C-Abstractor") >= 1
    drawn = re.findall(r">([0-9.]+)</text>", opened.stdout)
    for arm in report[1]["arms"]:
        for score in arm["scores"].values():
            assert f"{score['mean']:.1f}".removesuffix(".0") in drawn
    assert asked_for(log) == []
    control = tmp_path / "control.html"
    control.write_text('<img src="http://127.0.0.1:9/picture.png">')
    browse(control, tmp_path, "--dump-dom", f"--log-net-log={log}")
    assert asked_for(log) == ["http://127.0.0.1:9/picture.png"]


def test_the_published_numbers_are_hidden_until_the_switch_is_turned(report, tmp_path):
    """The switch takes the focus of the keyboard; a click on its label turns it, and a click on it turns it back."""
    page = (report[0] / "index.html").read_text(encoding="utf-8")
    probe = """<script>
    window.addEventListener("load", async () => {
      const switched = document.getElementById("published-switch");
      const place = document.getElementById("figure-connector-published");
      const seen = () => [place, document.getElementById("beside-the-paper")].map(one => one.offsetHeight > 0);
      const said = [[switched.checked, ...seen()]];
      switched.focus();
      said.push(document.activeElement === switched);
      document.querySelector(".switch span").click();
      await new Promise(resolve => setTimeout(resolve, 2000));
      said.push([switched.checked, ...seen()], place.textContent.includes("62.5"));
      switched.click();
      said.push([switched.checked, ...seen()]);
      document.title = JSON.stringify(said);
    });
    </script></body>"""
    probed = tmp_path / "probed.html"
    probed.write_text(page.replace("</body>", probe), encoding="utf-8")
    log = tmp_path / "net.json"
    opened = browse(probed, tmp_path, "--dump-dom", f"--log-net-log={log}")
    said = json.loads(re.search(r"<title>(.*?)</title>", opened.stdout)[1])
    assert said == [[False, False, False], True, [True, True, True], True, [False, False, False]]
    assert [line for line in opened.stderr.splitlines() if "CONSOLE" in line] == []
    assert asked_for(log) == []


def test_a_table_is_sorted_by_the_column_that_is_clicked(report, tmp_path):
    page = (report[0] / "index.html").read_text(encoding="utf-8")
    probe = """<script>
    window.addEventListener("load", () => {
      const table = document.querySelector("table"), heads = [...table.tHead.rows[0].cells];
      const column = heads.findIndex(head => head.textContent.startsWith("4-shot"));
      const shown = index => [...table.tBodies[0].rows].map(row => parseFloat(row.cells[index].textContent));
      const said = [];
      for (let click = 0; click < 2; click++) {
        heads[column].querySelector("button").click();
        said.push([heads[column].getAttribute("aria-sort"), shown(column)]);
      }
      heads[0].querySelector("button").click();
      heads[0].querySelector("button").click();
      said.push([heads[column].ariaSort, [...table.tBodies[0].rows].map(row => row.cells[0].textContent)]);
      document.title = JSON.stringify(said);
    });
    </script></body>"""
    probed = tmp_path / "probed.html"
    probed.write_text(page.replace("</body>", probe), encoding="utf-8")
    opened = browse(probed, tmp_path, "--dump-dom")
    (down, falling), (up, rising), (other, labels) = json.loads(re.search(r"<title>(.*?)</title>", opened.stdout)[1])
    assert (down, up, other) == ("descending", "ascending", "none")
    assert len(falling) == 9
    assert falling == sorted(falling, reverse=True)
    assert rising == sorted(rising)
    assert labels == sorted(labels, key=str.lower)
    assert [line for line in opened.stderr.splitlines() if "CONSOLE" in line] == []


def test_groups_are_sorted_within_themselves_and_every_table_can_be(report, tmp_path):
    """The name of a group stays at its first row; and on paper everything is open."""
    page = (report[0] / "index.html").read_text(encoding="utf-8")
    probe = """<script>
    window.addEventListener("load", () => {
      const named = text => [...document.querySelectorAll("caption")].find(one => one.textContent.startsWith(text));
      const table = named("Every task by shots").closest("table");
      const heads = [...table.tHead.rows[0].cells];
      heads.find(head => head.textContent === "shots").querySelector("button").click();
      const label = row => row.querySelector("[scope=row]").textContent;
      const groups = [...table.tBodies].map(body => [...body.rows].map(label));
      const first = [...table.tBodies].map(body => body.rows[0].cells[0].rowSpan);
      const arms = document.querySelector("#arms ~ .scroll table");
      const names = () => [...arms.tBodies[0].rows].map(row => row.cells[0].textContent.trim());
      arms.querySelector("button").click();
      const falling = names();
      arms.querySelector("button").click();
      const closed = () => document.querySelectorAll("details:not([open])").length;
      const before = closed();
      dispatchEvent(new Event("beforeprint"));
      const printed = closed();
      dispatchEvent(new Event("afterprint"));
      document.title = JSON.stringify([groups, first, falling, names(), [before > 0, printed, closed() === before]]);
    });
    </script></body>"""
    probed = tmp_path / "probed.html"
    probed.write_text(page.replace("</body>", probe), encoding="utf-8")
    opened = browse(probed, tmp_path, "--dump-dom")
    groups, first, falling, rising, printed = json.loads(
        html.unescape(re.search(r"<title>(.*?)</title>", opened.stdout)[1])
    )
    assert groups == [["8", "4", "0"]] * 9
    assert first == [3] * 9
    assert rising == falling[::-1]
    assert len(set(rising)) == 9
    assert printed == [True, 0, True]
    assert [line for line in opened.stderr.splitlines() if "CONSOLE" in line] == []


def test_the_paper_s_figures_can_be_seen_in_colours_that_anybody_tells_apart(report, tmp_path):
    page = (report[0] / "index.html").read_text(encoding="utf-8")
    probe = """<script>
    window.addEventListener("load", async () => {
      const colour = () => document.getElementById("figure-connector").data[0].marker.color;
      const said = [colour()];
      for (let click = 0; click < 2; click++) {
        document.getElementById("safe-switch").click();
        await new Promise(resolve => setTimeout(resolve, 1000));
        said.push(colour());
      }
      document.title = JSON.stringify(said);
    });
    </script></body>"""
    probed = tmp_path / "probed.html"
    probed.write_text(page.replace("</body>", probe), encoding="utf-8")
    opened = browse(probed, tmp_path, "--dump-dom")
    said = json.loads(re.search(r"<title>(.*?)</title>", opened.stdout)[1])
    assert said == ["#3d8fc3", "#0072B2", "#3d8fc3"]
    assert [line for line in opened.stderr.splitlines() if "CONSOLE" in line] == []


@pytest.mark.parametrize(("scheme", "flag"), [("light", 1), ("dark", 0)])
def test_the_page_follows_the_readers_colour_scheme(report, tmp_path, scheme, flag):
    shot = tmp_path / f"{scheme}.png"
    browse(
        report[0] / "index.html",
        tmp_path,
        f"--screenshot={shot}",
        "--window-size=1300,900",
        f"--blink-settings=preferredColorScheme={flag}",
    )
    ground = np.asarray(Image.open(shot).convert("L"))[5, 5]
    assert ground > 200 if scheme == "light" else ground < 60


@pytest.mark.parametrize("scheme", [1, 0])
def test_a_phone_scrolls_down_and_never_sideways(report, tmp_path, scheme):
    """With everything opened and the paper's numbers shown; tables and figures scroll in themselves."""
    page = (report[0] / "index.html").read_text(encoding="utf-8")
    probe = """<script>
    window.addEventListener("load", async () => {
      for (const one of document.querySelectorAll("details")) one.open = true;
      document.getElementById("published-switch").click();
      await new Promise(resolve => setTimeout(resolve, 2000));
      const notes = [...document.querySelectorAll("tfoot p")].map(one => one.getBoundingClientRect().right);
      parent.postMessage([innerWidth, document.documentElement.scrollWidth, Math.max(...notes)], "*");
    });
    </script></body>"""
    (tmp_path / "page.html").write_text(page.replace("</body>", probe), encoding="utf-8")
    phone = tmp_path / "phone.html"
    phone.write_text(
        '<!DOCTYPE html><title></title><iframe src="page.html" width="390" height="844"></iframe>'
        "<script>addEventListener('message', one => document.title = JSON.stringify(one.data))</script>"
    )
    opened = browse(phone, tmp_path, "--dump-dom", f"--blink-settings=preferredColorScheme={scheme}")
    width, content, notes = json.loads(re.search(r"<title>(.*?)</title>", opened.stdout)[1])
    assert width == 390
    assert content <= width
    assert 0 < notes <= width
    assert [line for line in opened.stderr.splitlines() if "CONSOLE" in line] == []


def test_figures_are_written_as_png_svg_and_pdf(report):
    folder, summary = report
    assert summary["images"] == {"wanted": True, "problem": ""}
    for name in ("connector", "effects"):
        assert {f"figures/{name}.{suffix}" for suffix in ("png", "svg", "pdf")} <= set(summary["files"])
    picture = np.asarray(Image.open(folder / "figures/connector.png").convert("RGB")).reshape(-1, 3)
    for colour in ("#3d8fc3", "#ee995f", "#74b064"):
        wanted = [int(colour[place : place + 2], 16) for place in (1, 3, 5)]
        assert (picture == wanted).all(axis=1).sum() > 1000, colour
    assert (folder / "figures/connector.svg").read_text().startswith("<svg")
    assert (folder / "figures/connector.pdf").read_bytes().startswith(b"%PDF")


def test_images_have_the_same_bytes_twice(report, tmp_path):
    folder, summary = report
    sweep = folder.parent
    build_report(sweep, store=sweep.parent.parent, output=tmp_path, images=True)
    for name in summary["files"]:
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes(), name


def test_four_data_sweeps_make_one_figure_from_the_shell(tmp_path):
    folders = [str(write_paper_data(tmp_path, panel, items=100)) for panel in "abcd"]
    output = tmp_path / "data.png"
    command = [sys.executable, "-m", "reports.data_panels", *folders, "--output", str(output)]
    root = Path(__file__).parents[2]
    run = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=180, check=False)
    assert run.returncode == 0, run.stderr
    assert Image.open(output).size[0] > 2000
    refused = subprocess.run(
        [*command[:3], str(tmp_path / "no"), *command[-2:]], cwd=root, capture_output=True, text=True
    )
    assert refused.returncode == 2
    assert "ablate run" in refused.stderr
