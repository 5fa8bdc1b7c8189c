"""A run interrupted anywhere and run again is, bit for bit, the run that was never interrupted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from texts import MemoryCorpus, random_documents, random_queries
from tiny import tiny_model

import influence.engine.fit as fit_module
import influence.engine.fit_parts as parts_module
import influence.engine.loops as loops_module
import influence.engine.query as query_module
import influence.engine.run as run_module
import influence.engine.score as score_module
import influence.engine.tokenised as tokenised_module
from influence.engine.fit import fit_hessian
from influence.engine.score import score
from influence.models.selection import find_layers
from influence.store.factors import Factors
from influence.store.scores import Scores

MODEL = tiny_model("llama", num_hidden_layers=1)
CORPUS = MemoryCorpus(random_documents(14, seed=9, longest=20))
QUERIES = random_queries(2)

#: Everything that computes or writes, between which a run can die.
FIT_STEPS = [
    (tokenised_module, "write_documents"),
    (tokenised_module, "write_json"),
    (parts_module, "backward"),
    (loops_module, "save_tensors"),
    (parts_module, "eigenbasis"),
    (parts_module, "save_tensors"),
    (fit_module, "write_kronfluence_arguments"),
    (run_module, "finish"),
]
SCORE_STEPS = [
    (tokenised_module, "write_documents"),
    (score_module, "write_query_records"),
    (score_module, "query_gradients"),
    (score_module, "precondition_queries"),
    (query_module, "save_tensors"),
    (score_module, "backward"),
    (loops_module, "write_arrays"),
    (score_module, "write_arrays"),
    (score_module, "allocate_scores"),
    (score_module, "map_arrays"),
    (run_module, "finish"),
]


class Steps:
    """Counts steps; at number `die_at` raises KeyboardInterrupt, before the step or after it."""

    def __init__(self, die_at: int | None, after: bool = False) -> None:
        self.taken = 0
        self.die_at = die_at
        self.after = after

    def __call__(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        self.taken += 1
        dies = self.taken == self.die_at
        if dies and not self.after:
            raise KeyboardInterrupt
        result = function(*args, **kwargs)
        if dies:
            raise KeyboardInterrupt
        return result


@contextmanager
def watched(places: list[tuple[Any, str]], steps: Steps) -> Iterator[None]:
    """Route the functions in `places` through `steps`; small blocks, and sums saved after each."""
    with pytest.MonkeyPatch.context() as patch:
        for module, name in places:
            patch.setattr(module, name, partial(steps, getattr(module, name)))
        patch.setattr(
            score_module, "BLOCK_TOKENS", 150
        )  # of several groups, and so with states inside a block
        patch.setattr(query_module, "SECONDS_BETWEEN_SAVES", -1.0)
        patch.setattr(loops_module, "SECONDS_BETWEEN_SAVES", -1.0)
        yield


def run_fit(folder: Path, steps: Steps) -> Factors:
    with watched(FIT_STEPS, steps):
        return fit_hessian(MODEL, CORPUS, out=folder, batch_tokens=30)


def run_score(factors: Factors, folder: Path, steps: Steps) -> Scores:
    with watched(SCORE_STEPS, steps):
        return score(MODEL, factors, QUERIES, CORPUS, folder, batch_tokens=30)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file but the manifest, which holds the time."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "manifest.json"
    }


@dataclass(frozen=True, repr=False)
class Undisturbed:
    """What a run that nothing interrupts leaves, and in how many steps."""

    factors: Factors
    fit: dict[str, bytes]
    fit_steps: int
    scores: dict[str, bytes]
    score_steps: int

    def __repr__(self) -> str:  # kilobytes of bytes otherwise, printed for each example
        return "Undisturbed()"


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    folder = tmp_path_factory.mktemp("undisturbed")
    fit_steps, score_steps = Steps(None), Steps(None)
    factors = run_fit(folder / "hessian", fit_steps)
    run_score(factors, folder / "scores", score_steps)
    return Undisturbed(
        factors, contents(folder / "hessian"), fit_steps.taken, contents(folder / "scores"), score_steps.taken
    )


def live_and_die(run: Callable[[Steps], Any], deaths: list[int], after: bool) -> None:
    """Run once for each death, so many steps in, then to the end."""
    for death in deaths:
        steps = Steps(death, after)
        try:
            run(steps)
        except KeyboardInterrupt:
            continue
        assert steps.taken < death
    run(Steps(None))


Deaths = st.lists(st.integers(1, 45), min_size=1, max_size=3)


@settings(max_examples=40)
@given(deaths=Deaths, after=st.booleans())
def test_an_interrupted_fit(
    undisturbed: Undisturbed, deaths: list[int], after: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("interrupted") / "hessian"
    live_and_die(lambda steps: run_fit(folder, steps), deaths, after)
    assert contents(folder) == undisturbed.fit


@settings(max_examples=40)
@given(deaths=Deaths, after=st.booleans())
def test_an_interrupted_score(
    undisturbed: Undisturbed, deaths: list[int], after: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("interrupted") / "scores"
    live_and_die(lambda steps: run_score(undisturbed.factors, folder, steps), deaths, after)
    assert contents(folder) == undisturbed.scores


def test_a_run_that_dies_again_and_again_comes_to_its_end(undisturbed: Undisturbed, tmp_path: Path) -> None:
    """Each life is long enough for one block: no life is wasted on the blocks of earlier ones."""
    lives = 0
    finished = False
    while not finished and lives < undisturbed.fit_steps:
        lives += 1
        try:
            run_fit(tmp_path / "hessian", Steps(8))
            finished = True
        except KeyboardInterrupt:
            pass
    assert finished
    assert 3 < lives <= undisturbed.fit_steps / 4
    assert contents(tmp_path / "hessian") == undisturbed.fit


def test_a_scan_that_dies_within_a_block_goes_on_within_it(undisturbed: Undisturbed, tmp_path: Path) -> None:
    """One block holds all documents; groups that one life scored, and queries that it prepared, are not made again."""

    def live(folder: str, die_at: int | None) -> tuple[int, int]:
        """How many batches were run and prepared layers were stored."""
        batches, layers = Steps(die_at), Steps(None)
        with pytest.MonkeyPatch.context() as patch:
            for module in (loops_module, query_module):
                patch.setattr(module, "SECONDS_BETWEEN_SAVES", -1.0)
            patch.setattr(score_module, "backward", partial(batches, score_module.backward))
            patch.setattr(query_module, "save_tensors", partial(layers, query_module.save_tensors))
            with nullcontext() if die_at is None else pytest.raises(KeyboardInterrupt):
                score(MODEL, undisturbed.factors, QUERIES, CORPUS, tmp_path / folder, batch_tokens=30)
        return batches.taken, layers.taken

    whole, layers = live("undisturbed", None)
    assert (whole, layers) == (8, len(find_layers(MODEL.model)))
    # Groups are of two, three and three batches: each life that dies in its fourth stored one group.
    assert [live("scores", die_at) for die_at in (4, 4, None)] == [(4, layers), (4, 0), (3, 0)]
    assert contents(tmp_path / "scores") == contents(tmp_path / "undisturbed")
