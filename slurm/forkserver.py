"""A process that imports the heavy libraries once and then forks one child per job.

A child starts in milliseconds with everything imported. The server stays single-threaded and never touches a GPU, so
forking is safe: CUDA and thread pools begin in the children. It holds no state worth keeping. It dies with the process
that started it, and its children die with it (both by the kernel, so also after ``kill -9``).

The protocol, over a ``Channel``. To the server: ``{"start": name, "target", "payload", "log", "environment"}`` and
``{"signal": name, "number"}``. From it: ``{"ready": seconds}`` or ``{"broken": traceback}``, then ``{"started": name,
"pid"}``, ``{"ended": name, "code", "signal"}`` or ``{"refused": name, "problem"}``. Linux only.
"""

import contextlib
import faulthandler
import gc
import importlib
import os
import select
import signal
import socket
import sys
import time
import traceback
from collections.abc import Sequence
from typing import Any

from slurm.channel import Channel
from slurm.hugepages import collapse
from slurm.launcher import EXIT_ERROR
from slurm.parent import die_with
from slurm.target import call


def serve(descriptor: int, parent: int, modules: Sequence[str]) -> None:
    """Import ``modules``, then serve the process ``parent`` over the inherited socket until it goes away."""
    die_with(parent)
    channel = Channel(socket.socket(fileno=descriptor))
    started = time.monotonic()
    try:
        for name in modules:
            importlib.import_module(name)
    except BaseException:
        channel.send({"broken": traceback.format_exc()})
        return
    gc.collect()
    gc.freeze()  # children share these pages instead of copying them at their first collection
    collapse()
    channel.send({"ready": time.monotonic() - started})
    _Server(channel).run()


class _Server:
    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._pids: dict[str, int] = {}
        self._wake, wake_writer = os.pipe()
        os.set_blocking(self._wake, False)
        os.set_blocking(wake_writer, False)
        self._wake_writer = wake_writer

    def run(self) -> None:
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._wake_writer, warn_on_full_buffer=False)
        while not self._channel.closed:
            readable, _, _ = select.select([self._channel.fileno(), self._wake], [], [])
            if self._wake in readable:
                os.read(self._wake, 4096)
                self._reap()
            if self._channel.fileno() in readable:
                for message in self._channel.receive():
                    self._handle(message)
        for pid in self._pids.values():
            _kill_group(pid)

    def _handle(self, message: dict[str, Any]) -> None:
        if "start" in message:
            self._start(message)
        elif (pid := self._pids.get(message["signal"])) is not None:  # otherwise it has just ended
            if message["number"] == signal.SIGKILL:
                _kill_group(pid)
            else:
                os.kill(pid, message["number"])  # not its data workers: the job stops those itself

    def _start(self, message: dict[str, Any]) -> None:
        name = message["start"]
        try:
            log = os.open(message["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        except OSError as error:
            self._channel.send({"refused": name, "problem": f"{message['log']}: {error.strerror}"})
            return
        sys.stdout.flush()
        sys.stderr.flush()
        server = os.getpid()
        pid = os.fork()
        if pid == 0:
            self._run_child(message, log, server)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.setpgid(pid, pid)  # the child does so too: whichever is first, no signal goes to another group
        os.close(log)
        self._pids[name] = pid
        self._channel.send({"started": name, "pid": pid})

    def _run_child(self, message: dict[str, Any], log: int, server: int) -> None:
        """In the child; never returns."""
        code = EXIT_ERROR
        try:
            die_with(server)
            os.setpgid(0, 0)
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            self._channel.close()
            os.close(self._wake)
            os.close(self._wake_writer)
            os.dup2(log, 1)
            os.dup2(log, 2)
            os.close(log)
            for stream in (sys.stdout, sys.stderr):
                stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]
            faulthandler.enable()
            os.environ.update(message["environment"])
            code = call(message["target"], message["payload"])
        except BaseException:
            traceback.print_exc()
        finally:
            try:
                sys.stdout.flush()
                sys.stderr.flush()
            finally:
                os._exit(code)

    def _reap(self) -> None:
        """Report every child that ended. One signal may stand for several of them."""
        names = {pid: name for name, pid in self._pids.items()}
        while names:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            name = names.pop(pid)
            del self._pids[name]
            _kill_group(pid)  # whatever processes the job left behind
            code = os.waitstatus_to_exitcode(status)
            ended = {"code": code, "signal": None} if code >= 0 else {"code": None, "signal": -code}
            self._channel.send({"ended": name, **ended})


def _kill_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
