"""The study of retraining: its world, and a page on which what is missed stands first."""

from __future__ import annotations

import pandas as pd

from influence.validation.lds import CEILING
from influence.validation.methods import BM25_COMPLETION, CHANCE, PRESENCE
from reports.truth.results import PEERS, aims_table, findings_page, ours
from reports.truth.scales import SCALES, WORLDS
from reports.truth.world import documents_of, queries_of


def test_gold_documents_state_what_their_query_asks_for() -> None:
    documents = list(documents_of(60, seed=1))
    queries = queries_of(documents, 12)
    text_of = {document.id: document.text for document in documents}
    assert len(text_of) == 60
    assert {len(query.gold) for query in queries} == {1, 2, 3}
    for query in queries:
        value = query.completion.split()[0].rstrip(".").replace(",", "")
        assert all(value in text_of[name].replace(",", "") for name in query.gold), query


def test_what_is_missed_stands_first() -> None:
    value = (
        dict.fromkeys(ours(), 0.5) | dict.fromkeys(PEERS, 0.4) | {PRESENCE: 0.9, CHANCE: 0.0, CEILING: 0.64}
    )
    value |= {BM25_COMPLETION: 0.7, "all + head": 0.69}
    rows = [
        {
            "world": world,
            "seed": 0,
            "gold": gold,
            "method": name,
            "lds": lds,
            "over": lds - 0.5,
            "over_low": lds - 0.6,
            "over_high": lds - 0.4,
            "low": lds - 0.1,
            "high": lds + 0.1,
        }
        for world in WORLDS.values()
        for gold in ("counted", "taken out")
        for name, lds in value.items()
    ]
    table = pd.DataFrame(rows)
    aims = aims_table(table)
    assert aims["reached"].tolist() == ["no"] * 4 + ["yes"] * 2
    assert aims["goal"].tolist() == [0.7, 0.7, 0.7, 0.7, 0.85 * 0.8, 0.85 * 0.8]
    made_by = {"seeds": 1, "command": "c", "version": "1", "commit": None, "machine": "m", "hours": 0.5}
    page = findings_page(SCALES["laptop"], made_by, {"lds": table, "aims": aims})
    assert page.index("| no |") < page.index("| yes |") < page.index("## LDS on halves")
    assert "0.69 [0.59, 0.79]" in page
