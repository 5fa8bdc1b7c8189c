"""What commands need, made once, and the program to run them on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from inputs import Inputs, write_model_corpus_queries
from kills import write_inputs
from program import Server


@pytest.fixture(scope="session")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Inputs:
    return write_model_corpus_queries(tmp_path_factory.mktemp("inputs"))


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("output"))
    yield server
    server.close()


@pytest.fixture(scope="session")
def given(program: Server, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the jobs of `kills.JOBS` need."""
    folder = tmp_path_factory.mktemp("given")
    write_inputs(folder, program)
    return folder
