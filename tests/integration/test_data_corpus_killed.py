"""An index whose process is killed at any moment ends as if it had not been."""

import os
import signal
import subprocess
import sys
import tarfile
import time
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

PROGRAM = """
import json, sys
from pathlib import Path
from mm1core.config import FilesConfig
from mm1core.data.corpus import run
from mm1core.stages import CorpusStage
stage = CorpusStage(source="captions", files=FilesConfig(format="webdataset", paths=(sys.argv[1],)))
print(json.dumps(run(stage, inputs={}, work=Path(sys.argv[2]), stop=lambda: None), sort_keys=True))
"""


def start(shards: Path, work: Path) -> subprocess.Popen[str]:
    work.mkdir(exist_ok=True)
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, f"{shards}/*.tar", str(work)], stdout=subprocess.PIPE, text=True
    )


def test_kill_and_resume_gives_the_same_index(tmp_path: Path) -> None:
    shards = tmp_path / "shards"
    shards.mkdir()
    random = np.random.default_rng(0)
    for shard in range(6):
        with tarfile.open(shards / f"{shard:05d}.tar", "w") as archive:
            for number in range(150):
                file = BytesIO()
                Image.fromarray(random.integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(file, "PNG")
                for suffix, content in (("png", file.getvalue()), ("txt", b"noise")):
                    info = tarfile.TarInfo(f"{shard}{number:04d}.{suffix}")
                    info.size = len(content)
                    archive.addfile(info, BytesIO(content))
    undisturbed, _ = start(shards, tmp_path / "undisturbed").communicate()

    work = tmp_path / "killed"
    for parts_done in (1, 3, 4):
        process = start(shards, work)
        while len(list((work / "parts").glob("*.npz"))) < parts_done and process.poll() is None:
            time.sleep(0.002)
        assert process.poll() is None, "it ended before it could be killed"
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
    assert len(list((work / "parts").glob("*.npz"))) >= 4

    resumed, _ = start(shards, work).communicate()
    assert resumed == undisturbed
    for name in ("index.npz", "index.json", "quarantine.jsonl"):
        assert (work / name).read_bytes() == (tmp_path / "undisturbed" / name).read_bytes()
