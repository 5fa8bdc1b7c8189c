"""Groups of documents by their metadata: means by hand, intervals, and a test that is right under the null."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from scipy import stats
from stores import CONFIG, make_document, make_query, write_scores

from influence.analysis.document_groups import group_influence
from influence.cli.main import cli
from influence.errors import InputError
from influence.store.scores import Scores

TOPICS, FORMATS = ("law", "law", "food", "food", "food", None), ("chat", "list", "chat", "chat", "list", 3)
DOT = np.array([[1.0, 3, 0, 2, 4, 9], [3.0, 5, 5, 0, -2, 1]])


@pytest.fixture
def store(tmp_path: Path) -> Scores:
    documents = [
        replace(make_document(n), metadata={"format": form} | ({} if topic is None else {"topic": topic}))
        for n, (topic, form) in enumerate(zip(TOPICS, FORMATS, strict=True))
    ]
    queries = [replace(make_query(n), task="t") for n in range(2)]
    return write_scores(tmp_path / "scores", DOT, documents=documents, queries=queries)


def test_means_and_intervals_by_hand(store: Scores) -> None:
    table = group_influence(store, ["topic"]).set_index("group")
    value_D = DOT.mean(0)
    assert table["documents"].to_dict() == {"–": 1, "law": 2, "food": 3}
    assert list(table.index) == ["–", "law", "food"]
    for name, rows in {"law": [0, 1], "food": [2, 3, 4]}.items():
        own = value_D[rows]
        low, high = stats.t.interval(0.95, len(own) - 1, own.mean(), stats.sem(own))
        np.testing.assert_allclose(
            table.loc[name, ["mean", "low", "high"]].astype(float), [own.mean(), low, high]
        )
        assert table.loc[name, "difference"] == pytest.approx(own.mean() - value_D.mean())
    assert np.isnan(table.loc["–", "low"])


def test_two_fields_are_combined_and_groups_may_be_sources(store: Scores) -> None:
    assert set(group_influence(store, ["topic", "format"])["group"]) == {
        "law × chat", "law × list", "food × chat", "food × list", "– × 3",
    }  # fmt: skip
    assert group_influence(store, ["source"])["documents"].sum() == 6


def test_p_is_small_where_a_group_differs_and_uniform_where_none_does(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    documents = [replace(make_document(n), metadata={"topic": "ab"[n % 2]}) for n in range(60)]
    found = []
    for trial in range(100):
        store = write_scores(tmp_path / str(trial), rng.normal(size=(1, 60)), documents=documents)
        found.append(group_influence(store, ["topic"], permutations=99)["p"].iloc[0])
    assert stats.kstest(found, "uniform").pvalue > 0.01
    shifted = rng.normal(size=(1, 60)) + 2 * (np.arange(60) % 2)
    store = write_scores(tmp_path / "shifted", shifted, documents=documents)
    assert group_influence(store, ["topic"])["p"].max() == pytest.approx(0.001)


def test_documents_that_were_not_scored_count_nowhere(tmp_path: Path) -> None:
    documents = [replace(make_document(n), metadata={"topic": "ab"[n % 2]}) for n in range(4)]
    store = write_scores(
        tmp_path,
        [[1.0, 2, np.nan, 4]],
        gradient_norm=[1, 1, np.nan, 1],
        documents=documents,
        config={**CONFIG, "index": {}},
    )
    assert group_influence(store, ["topic"]).set_index("group")["mean"].to_dict() == {"b": 3.0, "a": 1.0}


def test_the_command_prints_groups_and_refuses_unknown_fields(store: Scores) -> None:
    arguments = ["analyze", "sources", str(store.folder), "--field", "topic", "--field", "format"]
    result = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    assert "food × chat" in result.stdout
    with pytest.raises(InputError, match="has a field 'colour' in its metadata"):
        CliRunner().invoke(cli, [*arguments, "--field", "colour"], catch_exceptions=False)
