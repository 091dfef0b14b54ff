"""``ablate run`` on real files, some of them damaged: from shards and lines to records, report and quarantine list."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from shard_files import pairs, write_lines, write_tar

from ablations.errors import OK

SWEEP = """
name: files
title: Two connectors on files
set:
  data.sources:
    captions: {format: webdataset, paths: ["shards/*.tar"], max_broken: 0.2}
    interleaved: {format: webdataset, paths: ["shards/*.tar"], max_broken: 0.2}
    text: {format: jsonl, paths: [lines.jsonl], max_broken: 0.2}
  data.mix: {captions: 0.4, interleaved: 0.4, text: 0.2}
  data.tokenizer.vocabulary: 300
  encoder.training.source: captions
  encoder.training.steps: 3
  encoder.training.batch_size: 8
  training.steps: 4
  evaluation.tasks: [captioning]
  evaluation.items: 6
  evaluation.shots: [0, 4]
  evaluation.max_new_tokens: 4
axes:
  connector.num_tokens: [4, 9]
design: grid
seeds: [0]
objective: {metric: eval/four_shot}
"""


def write(folder: Path) -> Path:
    (folder / "shards").mkdir()
    write_tar(folder / "shards" / "0.tar", [*pairs(range(60)), ("x.png", b"no picture"), ("x.txt", b"x")])
    cut = write_tar(folder / "shards" / "1.tar", pairs(range(60, 120)))
    cut.write_bytes(cut.read_bytes()[:100_000])
    write_lines(folder / "lines.jsonl", [*({"text": f"line {number} of a text"} for number in range(80)), b"{"])
    file = folder / "files.yaml"
    file.write_text(SWEEP)
    return file


def run(file: Path) -> dict[str, Any]:
    program = "from ablations.cli import main; main()"
    command = [sys.executable, "-c", program, "run", str(file), "--store", str(file.parent / "store"), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=400)
    assert done.returncode == OK, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return document


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    file = write(tmp_path_factory.mktemp("files"))
    return file, run(file)


def test_files_become_scores_a_report_and_a_quarantine_list(finished):
    file, document = finished
    store = file.parent / "store"
    assert document["states"]["done"] == 2
    assert {arm["seeds_scored"] for arm in document["summary"]["arms"]} == {1}
    assert {measure["key"] for measure in document["summary"]["measures"]} == {"eval/zero_shot", "eval/four_shot"}
    assert Path(document["report"]).is_file()
    records = [json.loads(path.read_text()) for path in store.glob("corpus/*/record.json")]
    assert len(records) == 2  # captions and interleaved share one
    trial = json.loads(next(store.glob("sweeps/files/trials/*/record.json")).read_text())
    assert {"corpus:captions", "corpus:interleaved", "corpus:text", "tokenizer", "encoder"} <= trial["stages"].keys()
    broken = {record["config"]["files"]["format"]: record["result"]["broken_by_reason"] for record in records}
    assert broken == {"webdataset": {"truncated tar": 1, "undecodable image": 1}, "jsonl": {"invalid JSON": 1}}
    for record in records:
        lines = (store / "corpus" / record["key"] / "work" / "quarantine.jsonl").read_text().splitlines()
        assert len(lines) == record["result"]["broken"]
        found = {(entry["shard"], entry["reason"]) for entry in map(json.loads, lines)}
        assert found <= {("0.tar", "undecodable image"), ("1.tar", "truncated tar"), ("lines.jsonl", "invalid JSON")}


def test_a_second_run_does_nothing_again(finished):
    file, document = finished
    store = file.parent / "store"
    before = {path: path.stat().st_mtime_ns for path in store.rglob("*") if path.is_file()}
    assert run(file)["summary"] == document["summary"]
    after = {path: path.stat().st_mtime_ns for path in store.rglob("*") if path.is_file()}
    assert {path.name for path in after if before.get(path) != after[path]} <= {"running.json"}
