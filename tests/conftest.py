"""Modules in this folder (`tiny`, `texts`, `stores`) can be imported by every test.

Set here before any test imports torch: one thread (tests fork, and the child of a process with a pool of threads
hangs in its first product), no network; property tests draw the same examples each time.
"""

import os

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import logging

import hypothesis
import pytest

hypothesis.settings.register_profile(
    "suite",
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture, hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("suite")


@pytest.fixture
def messages(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """Messages of this package, also where a command has run in this process before."""
    monkeypatch.setattr(logging.getLogger("influence"), "propagate", True)
    caplog.set_level(logging.INFO, "influence")
    return caplog


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Empty pictures in the stead of charts: drawing them is most of the time of a page."""
    monkeypatch.setattr("influence.report.drawing.fit", lambda figure: None)
    empty = '<svg xmlns="http://www.w3.org/2000/svg" version="1.1"/>'
    monkeypatch.setattr("matplotlib.figure.Figure.savefig", lambda self, stream, **how: stream.write(empty))
