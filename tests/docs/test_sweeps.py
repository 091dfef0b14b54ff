"""Every sweep that ships can be planned, and is what the paper's ablation is."""

import json
import shutil
from hashlib import sha256
from pathlib import Path

import pytest

from ablations.plan import Plan, make_plan
from ablations.sweep_file import read_sweep
from ablations.yaml_lines import read_yaml

SWEEPS = Path(__file__).parents[2] / "sweeps"
FILES = sorted(SWEEPS.rglob("*.yaml"))
KEYS = Path(__file__).parents[1] / "data" / "sweep_keys.json"


def plan(file: Path) -> Plan:
    return make_plan(read_sweep(file))


def with_data(file: Path, folder: Path) -> Path:
    """A copy of a sweep, with a small file in each place where it wants data."""
    copy = folder / file.relative_to(SWEEPS.parent)
    copy.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(file, copy)
    for source in (read_yaml(file).content["set"].get("data.sources") or {}).values():
        for pattern in source["paths"]:
            data = copy.parent / pattern.replace("*", "0")
            data.parent.mkdir(parents=True, exist_ok=True)
            data.write_bytes(b"x")
    return copy


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_it_can_be_planned(file, tmp_path):
    planned = plan(with_data(file, tmp_path))
    assert len(planned.trials) == len(planned.arms) * len(planned.sweep.seeds)
    assert planned.sweep.name == file.stem
    assert planned.sweep.title
    assert planned.baseline is not None, "a report says what differs from the baseline"


def test_the_trials_that_results_were_published_of_keep_their_keys(tmp_path):
    """A default or a version that moves one of these makes every published result another sweep's: where that is
    meant, put what is found here into the file."""
    found = {}
    for file in FILES:
        keys = [trial.key for trial in plan(with_data(file, tmp_path)).trials]
        digest = sha256("\n".join(keys).encode()).hexdigest()[:12]
        found[file.stem] = {"trials": len(keys), "first": keys[0], "all": digest}
    assert found == json.loads(KEYS.read_text(encoding="utf-8"))


@pytest.mark.parametrize("file", sorted((SWEEPS / "micro").glob("*.yaml")), ids=lambda file: file.stem)
def test_micro_has_at_least_three_seeds_each_with_its_own_encoder(file):
    planned = plan(file)
    assert len(planned.sweep.seeds) >= 3
    for trial in planned.trials:
        for stage in trial.stages:
            if stage.kind == "encoder":
                assert stage.config.seed == trial.seed


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("data_mix", ["100/0", "66/33", "50/50", "33/66", "0/100"]),
        ("data_text", ["Caption", "Caption+Text", "Interleaved", "Interleaved+Text"]),
        ("data_ratio", ["100/0", "91/9", "86/14", "66/33"]),
        ("data_synthetic", ["w/o VeCap", "w/ VeCap"]),
    ],
)
def test_data_sweeps_have_the_paper_s_settings_in_its_order(name, labels):
    planned = plan(SWEEPS / "micro" / f"{name}.yaml")
    assert [arm.label for arm in planned.arms] == labels
    assert planned.sweep.figures == ("data_mix",)


def test_connectors_are_three_kinds_at_three_sizes():
    planned = plan(SWEEPS / "micro" / "connector.yaml")
    assert len(planned.arms) == 9
    sizes = [(arm.config.image.resolution, arm.config.connector.num_tokens) for arm in planned.arms[:3]]
    (small, few), (large, same), (again, many) = sizes
    assert small < large == again
    assert few == same < many


def test_data_sweeps_share_the_trials_they_have_in_common():
    """As in the paper: 100/0 captions is Caption, 0/100 is Interleaved, 50/50 is 100/0 of the text ablation."""
    trials = {name: plan(SWEEPS / "micro" / f"{name}.yaml").trials for name in ("data_mix", "data_text", "data_ratio")}

    def keys(name: str, label: str) -> set[str]:
        return {trial.key for trial in trials[name] if trial.arm.label == label}

    assert keys("data_mix", "100/0") == keys("data_text", "Caption")
    assert keys("data_mix", "0/100") == keys("data_text", "Interleaved")
    assert keys("data_mix", "50/50") == keys("data_ratio", "100/0")
