"""Shared by all tests: one thread a process, and nothing that a release needs may be skipped there."""

import os
import signal

import hypothesis
import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # two processes with default threads are many times slower than with one

# Started in the background of a shell, they would hand on to every program they start that Ctrl-C is to be ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)

hypothesis.settings.register_profile("untimed", deadline=None)  # how long an example takes says nothing
hypothesis.settings.load_profile("untimed")

pytest.register_assert_rewrite("study_contract")


def pytest_configure(config: pytest.Config) -> None:
    os.environ.setdefault("HF_HUB_OFFLINE", "1")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo):  # type: ignore[no-untyped-def]
    """Where ``ABLATE_REQUIRE_ALL`` is set (the release check), a skipped test is a failed one."""
    outcome = yield
    report = outcome.get_result()
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get("ABLATE_REQUIRE_ALL"):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped where every test is required: {report.longrepr}"
