"""Jobs on this machine, side by side: a fork server started at the first job, with one child per job.

Keeps the promises of ``launcher.Launcher``. In addition, a job's threads and GPUs are its own (``OMP_NUM_THREADS``,
``CUDA_VISIBLE_DEVICES``); a server that dies is started again, and its jobs are ``lost``; when this process dies, in
whatever way, the server and every job die too. Use it from one thread that lives as long as the launcher.
"""

import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slurm.channel import Channel
from slurm.launcher import THREAD_VARIABLES, Job, JobState, JobStatus, LauncherError

_MOST_CRASHES = 3
"""Give up after this many servers in a row that died before a single job ended."""


@dataclass(frozen=True, kw_only=True)
class _Server:
    process: subprocess.Popen[bytes]
    channel: Channel


class LocalLauncher:
    def __init__(self, *, modules: Sequence[str], capacity: int, gpus: Sequence[str] = (), log: Path) -> None:
        """``modules`` are imported by the server before the first job starts; ``gpus`` are the devices to hand out,
        as ``CUDA_VISIBLE_DEVICES`` names them; the server's own output goes to ``log``."""
        self._modules = list(modules)
        self._capacity = capacity
        self._free_gpus = list(gpus)
        self._num_gpus = len(gpus)
        self._log = log
        self._statuses: dict[str, JobStatus] = {}
        self._queue: list[Job] = []
        self._held: dict[str, list[str]] = {}
        """GPUs of every job that was handed to the server and has not ended, by the job's name."""
        self._server: _Server | None = None
        self._crashes = 0
        self._changed = False

    @property
    def capacity(self) -> int:
        return self._capacity

    def inherited(self) -> Mapping[str, Job]:
        return {}

    def submit(self, job: Job) -> None:
        if job.name in self._statuses:
            raise ValueError(f"job {job.name!r} was already submitted and is not forgotten")
        if job.resources.gpus > self._num_gpus:
            raise ValueError(f"job {job.name!r} wants {job.resources.gpus} GPUs; this machine has {self._num_gpus}")
        self._set(job.name, JobStatus(state=JobState.QUEUED))
        self._queue.append(job)
        self._start_jobs()

    def jobs(self) -> Mapping[str, JobStatus]:
        self._receive(timeout=0.0)
        return dict(self._statuses)

    def forget(self, name: str) -> None:
        if not self._statuses[name].state.ended:
            raise ValueError(f"job {name!r} has not ended")
        del self._statuses[name]

    def wait(self, timeout: float) -> None:
        end = time.monotonic() + timeout
        while not self._changed and (left := end - time.monotonic()) > 0:
            self._receive(timeout=left)
        self._changed = False

    def cancel(self, name: str, *, kill: bool = False) -> None:
        if name in self._held:
            self._send({"signal": name, "number": signal.SIGKILL if kill else signal.SIGTERM})
        elif any(job.name == name for job in self._queue):
            self._queue = [job for job in self._queue if job.name != name]
            self._set(name, JobStatus(state=JobState.CANCELLED))

    def close(self) -> None:
        if self._server is None:
            return
        self._server.channel.close()
        try:
            self._server.process.wait(timeout=2.0)
        except subprocess.TimeoutExpired:  # it is still importing
            self._server.process.kill()
            self._server.process.wait()
        self._server = None

    def _set(self, name: str, status: JobStatus) -> None:
        self._statuses[name] = status
        self._changed = True

    def _start_jobs(self) -> None:
        """Hand queued jobs to the server, in order, as far as there is room."""
        while self._queue and len(self._held) < self._capacity:
            if self._queue[0].resources.gpus > len(self._free_gpus):
                return
            if self._server is None:
                self._server = self._start_server()
            job = self._queue.pop(0)
            count = job.resources.gpus
            self._held[job.name], self._free_gpus = self._free_gpus[:count], self._free_gpus[count:]
            environment = dict.fromkeys(THREAD_VARIABLES, str(job.resources.cpus))
            environment["CUDA_VISIBLE_DEVICES"] = ",".join(self._held[job.name])
            self._send({
                "start": job.name,
                "target": job.target,
                "payload": dict(job.payload),
                "log": str(job.log.absolute()),
                "environment": environment,
            })  # fmt: skip

    def _start_server(self) -> "_Server":
        ours, theirs = socket.socketpair()
        # A fresh interpreter with this one's import path. The thread variables count when libraries are loaded; torch
        # is told to look for GPUs without starting CUDA, which would not survive a fork.
        program = (
            f"import sys; sys.path[:] = {sys.path!r}; "
            f"from slurm.forkserver import serve; serve({theirs.fileno()}, {os.getpid()}, {self._modules!r})"
        )
        environment = {**os.environ, **dict.fromkeys(THREAD_VARIABLES, "1"), "PYTORCH_NVML_BASED_CUDA_CHECK": "1"}
        with self._log.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-c", program],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # Ctrl-C on the terminal is for the caller alone
            )
        theirs.close()
        return _Server(process=process, channel=Channel(ours))

    def _send(self, message: dict[str, Any]) -> None:
        """Send a message. If the server is gone, that is noticed when reading."""
        assert self._server is not None
        try:
            self._server.channel.send(message)
        except OSError:
            self._server.channel.closed = True

    def _receive(self, *, timeout: float) -> None:
        """Handle what the server says; waits up to ``timeout`` seconds for it to say something."""
        if self._server is None:
            time.sleep(timeout)
            return
        channel = self._server.channel
        if not channel.closed and select.select([channel], [], [], timeout)[0]:
            for message in channel.receive():
                self._handle(message)
        if channel.closed:
            self._bury(self._server)
        self._start_jobs()

    def _handle(self, message: dict[str, Any]) -> None:
        if "broken" in message:
            raise LauncherError(
                f"the process that starts jobs could not import what they need; see {self._log}\n{message['broken']}"
            )
        if "started" in message:
            self._set(message["started"], JobStatus(state=JobState.RUNNING, pid=message["pid"]))
        elif "refused" in message:
            self._end(message["refused"], JobStatus(state=JobState.FAILED, problem=message["problem"]))
        elif "ended" in message:
            code, number = message["code"], message["signal"]
            state = JobState.KILLED if number else JobState.FAILED if code else JobState.SUCCEEDED
            self._crashes = 0
            self._end(message["ended"], JobStatus(state=state, exit_code=code, signal=number))

    def _end(self, name: str, status: JobStatus) -> None:
        self._free_gpus += self._held.pop(name)
        self._set(name, status)

    def _bury(self, server: "_Server") -> None:
        server.channel.close()
        server.process.kill()
        code = server.process.wait()
        self._server = None
        self._crashes += 1
        for name in list(self._held):
            self._end(name, JobStatus(state=JobState.LOST, problem=f"the fork server ended with code {code}"))
        if self._crashes >= _MOST_CRASHES:
            raise LauncherError(
                f"the process that starts jobs died {self._crashes} times in a row (last exit code {code}); "
                f"see {self._log}"
            )
