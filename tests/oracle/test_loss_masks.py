"""Fine-tuning examples through the engine against autograd: only the tokens that were learnt count, on every path."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from chats import MARKED, MESSAGES, PLAIN
from hypothesis import given, settings
from hypothesis import strategies as st
from texts import MemoryCorpus, random_documents, random_queries
from tiny import tiny_model
from torch import Tensor

from influence.config import FitConfig, IndexConfig, ScoreConfig, SearchConfig
from influence.curvature.statistics import document_gradients
from influence.data.document_tokens import TokenReport, encode_documents
from influence.data.queries import queries_digest
from influence.data.query_tokens import encode_query
from influence.engine.batching import pad
from influence.engine.decompose import decompose
from influence.engine.fit import fit_hessian
from influence.engine.index.build import build_index
from influence.engine.index.search import search_index
from influence.engine.parallel.merge import merge
from influence.engine.passes import backward
from influence.engine.plan.plan import plan_score
from influence.engine.score import score
from influence.models.layers import TrackedLayer
from influence.models.load import LanguageModel
from influence.models.selection import find_layers
from influence.store.factors import load_tensors
from influence.store.pieces import Shard
from influence.store.scores import Scores, open_scores
from influence.types import Chat, Completion, Document, Query, TokenIds

MAX_LENGTH = 60
QUERIES = random_queries(3)
#: Of one query, by the code before queries had a contrast or messages.
DIGEST_OF_BEFORE = "e26e086b814ab8575465c0724745fa28"


def chat_model(template: str = PLAIN, bos: bool = False) -> LanguageModel:
    model = tiny_model("llama", bos=bos, max_position_embeddings=256)
    model.tokenizer.chat_template = template
    return model


def documents() -> list[Document]:
    """Plain texts among examples of every kind, of different lengths; one of them has nothing to learn."""
    rng = random.Random(4)
    ids = tuple(rng.randint(2, 40) for _ in range(23))
    counts = tuple(rng.random() < 0.4 for _ in ids)
    return [
        *random_documents(4, seed=5),
        Document("pair", "2+3=5", example=Completion("2+3=", "5")),
        Document("chat", "", example=Chat(tuple(MESSAGES[1:3]))),
        Document("turns", "", example=Chat(tuple(MESSAGES))),
        Document("last", "", example=Chat(tuple(MESSAGES), loss="last")),
        Document("all", "", example=Chat(tuple(MESSAGES[1:]), loss="all")),
        Document("ids", "", example=TokenIds(ids, counts)),
        Document("nothing", "", example=Chat(tuple(MESSAGES[:2]))),
    ]


CORPUS = MemoryCorpus(documents())


def gradient(model: LanguageModel, layers: list[TrackedLayer], ids: list[int], counts: Any) -> Tensor:
    """Gradient of the summed NLL of the tokens that count, one document alone, by autograd."""
    row = torch.tensor([ids])
    log_p = model.model(input_ids=row, use_cache=False).logits[0, :-1].log_softmax(-1)
    nll_T = -log_p.gather(1, row[0, 1:, None])[:, 0]
    loss = (nll_T * torch.tensor(list(counts)[1:])).sum()
    weights = [model.model.get_submodule(layer.name).weight for layer in layers]
    for weight in weights:
        weight.requires_grad_(True)
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, weights)])


def by_autograd(
    model: LanguageModel, corpus: MemoryCorpus, max_length: int = MAX_LENGTH, windows: bool = False
) -> tuple[list[str], np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Ids, `dot [Q, D]` and norms of plain gradient dot products."""
    layers = find_layers(model.model)
    pieces = list(encode_documents(corpus, model.tokenizer, max_length, windows, TokenReport()))
    g_DP = torch.stack([gradient(model, layers, ids, d.loss_mask or (True,) * len(ids)) for d, ids in pieces])
    encoded = [encode_query(model.tokenizer, query, 512) for query in QUERIES]
    g_QP = torch.stack(
        [gradient(model, layers, ids, [n >= start for n in range(len(ids))]) for ids, start in encoded]
    )
    return [d.id for d, _ in pieces], (g_QP @ g_DP.mT).numpy(), g_DP.norm(dim=1).numpy()


def run(model: LanguageModel, out: Path, corpus: MemoryCorpus = CORPUS, **given_: Any) -> Scores:
    config = {"max_length": MAX_LENGTH, **given_.pop("config", {})}
    return score(model, None, QUERIES, corpus, out, config=ScoreConfig(**config), **given_)


@pytest.mark.parametrize("windows", [False, True])
@pytest.mark.parametrize("bos", [False, True])
@pytest.mark.parametrize("template", [PLAIN, MARKED], ids=["prefixes", "marks"])
def test_scores_of_examples_are_those_of_autograd(
    tmp_path: Path, template: str, bos: bool, windows: bool
) -> None:
    model = chat_model(template, bos)
    length = 23 if windows else MAX_LENGTH
    scores = run(model, tmp_path / "run", config={"max_length": length, "windows": windows}, batch_tokens=200)
    ids, dot_QD, norm_D = by_autograd(model, CORPUS, length, windows)
    assert list(scores.documents.ids) == ids
    assert not any(name.startswith("nothing") for name in ids)
    np.testing.assert_allclose(scores.dot, dot_QD, rtol=1e-8, atol=1e-9)
    np.testing.assert_allclose(scores.gradient_norm, norm_D, rtol=1e-9)
    assert "fine-tuning examples" in scores.manifest["provenance"]["summary"]


@settings(max_examples=25)
@given(st.lists(st.lists(st.booleans(), min_size=2, max_size=20), min_size=1, max_size=5), st.integers(0, 99))
def test_a_batch_of_random_masks_has_each_documents_gradient(masks: list[list[bool]], seed: int) -> None:
    model = chat_model()
    layers = find_layers(model.model)
    rng = random.Random(seed)
    ids = [[rng.randint(2, 60) for _ in mask] for mask in masks]
    found: dict[int, Tensor] = {}

    def keep(index: int, a_BTI: Tensor, s_BTO: Tensor) -> None:
        found[index] = document_gradients(s_BTO, a_BTI).flatten(1)

    backward(model, layers, pad(ids, model.device, masks=[np.array(m) for m in masks]), keep, what="the test")
    g_BP = torch.cat([found[index] for index in range(len(layers))], 1)
    expected = torch.stack([gradient(model, layers, i, m) for i, m in zip(ids, masks, strict=True)])
    torch.testing.assert_close(g_BP, expected, rtol=1e-8, atol=1e-10)


def test_pieces_reuse_tokens_and_a_dry_run_keep_the_masks(tmp_path: Path) -> None:
    model = chat_model()
    whole = run(model, tmp_path / "whole", batch_tokens=1)
    for number in (1, 2):
        run(model, tmp_path / f"piece-{number}", shard=Shard(number, 2), batch_tokens=1)
    merged = merge([tmp_path / "piece-1", tmp_path / "piece-2"], tmp_path / "merged")
    np.testing.assert_array_equal(merged.dot, whole.dot)
    for column in range(len(whole.documents)):
        mask, same = whole.documents.loss_mask(column), merged.documents.loss_mask(column)
        assert (mask is None and same is None) or np.array_equal(mask, same)  # type: ignore[arg-type]

    other = documents()
    other[6] = Document(
        "turns", "", example=Chat(tuple(MESSAGES), loss="last")
    )  # the same tokens, another loss
    changed = MemoryCorpus(other)
    config = ScoreConfig(max_length=MAX_LENGTH)
    assert (
        plan_score(model, None, QUERIES, changed, reuse=whole, config=config).scored
        == len(whole.documents) - 1
    )
    again = run(model, tmp_path / "again", changed, reuse=whole)
    assert again.manifest["provenance"]["reused"] == len(whole.documents) - 1
    np.testing.assert_allclose(again.dot, by_autograd(model, changed)[1], rtol=1e-8, atol=1e-9)
    assert abs(again.dot[0, 6] - whole.dot[0, 6]) > 1e-6

    done = decompose(whole, model, None, k=20)
    assert done.worst < 1e-9
    assert done.left_out == 1  # of "ids": this tokenizer's decoding puts blanks between its characters


def test_an_index_finds_exact_scores_of_examples(tmp_path: Path) -> None:
    model = chat_model()
    for kind in ("lowrank", "data"):
        built = build_index(
            model,
            None,
            CORPUS,
            tmp_path / kind,
            config=IndexConfig(max_length=MAX_LENGTH, kind=kind, bytes=512),  # type: ignore[arg-type]
        )
        found = search_index(
            built, model, None, QUERIES, tmp_path / f"{kind}-found", config=SearchConfig(best=1.0)
        )
        np.testing.assert_allclose(found.dot, by_autograd(model, CORPUS)[1], rtol=1e-6, atol=1e-8)


def test_gradient_covariances_are_of_the_loss_that_was_trained(tmp_path: Path) -> None:
    model = chat_model()
    fit_hessian(model, CORPUS, out=tmp_path, config=FitConfig(max_length=MAX_LENGTH, empirical=True))
    layer = find_layers(model.model)[0]
    expected = torch.zeros(layer.shape[0], layer.shape[0], dtype=torch.float64)
    tokens = 0
    for document, ids in encode_documents(CORPUS, model.tokenizer, MAX_LENGTH, False, TokenReport()):
        mask = np.array(document.loss_mask or (True,) * len(ids))

        def add(index: int, a_BTI: Tensor, s_BTO: Tensor) -> None:
            if index == 0:
                expected.add_(s_BTO[0].mT @ s_BTO[0])

        backward(
            model, find_layers(model.model), pad([ids], model.device, masks=[mask]), add, what="the test"
        )
        tokens += len(ids)
    stored = load_tensors(tmp_path / "gradient_covariance.safetensors")[layer.name]
    torch.testing.assert_close(stored, expected, rtol=1e-9, atol=1e-12)


def test_another_loss_or_template_is_another_corpus(tmp_path: Path) -> None:
    from influence.engine.tokenised import survey

    model, other = chat_model(PLAIN), chat_model(MARKED)
    chat = Document("c", "", example=Chat(tuple(MESSAGES)))
    last = Document("c", "", example=Chat(tuple(MESSAGES), loss="last"))
    prints = {
        survey(MemoryCorpus([document]), m.tokenizer).fingerprint
        for document, m in ((chat, model), (last, model), (chat, other))
    }
    assert len(prints) == 3
    plain = MemoryCorpus(random_documents(3))
    assert survey(plain, model.tokenizer).fingerprint == survey(plain, other.tokenizer).fingerprint


@pytest.mark.parametrize("template", [PLAIN, MARKED], ids=["prefixes", "marks"])
def test_queries_of_chats_texts_and_contrasts_are_those_of_autograd(tmp_path: Path, template: str) -> None:
    model = chat_model(template)
    layers = find_layers(model.model)
    asked = [
        Query("plain", "t", "g", "ab", "cde"),
        Query("contrast", "t", "g", "ab", "cde", contrast="f"),
        Query("text", "t", "any word", "", "abcdef"),
        Query("chat", "t", "g", "2+2?", "it is 4.", messages=tuple(MESSAGES[:2])),
        Query("against", "t", "g", "2+2?", "4.", contrast="it is 5.", messages=tuple(MESSAGES[:2])),
    ]
    corpus = MemoryCorpus(random_documents(5))
    scores = score(model, None, asked, corpus, tmp_path, batch_tokens=100)
    assert open_scores(tmp_path).queries == tuple(asked)

    def nll_gradient(query: Query, completion: str) -> Tensor:
        if query.messages:
            before = model.tokenizer.apply_chat_template(
                list(query.messages), add_generation_prompt=True, tokenize=False
            )
            text = before + completion + "\n"
        else:
            before, text = query.prompt, query.prompt + completion
        ids = list(model.tokenizer(text, add_special_tokens=False)["input_ids"])
        start = len(model.tokenizer(before, add_special_tokens=False)["input_ids"])
        return gradient(model, layers, ids, [n >= start for n in range(len(ids))])

    g_QP = torch.stack(
        [nll_gradient(q, q.completion) - (nll_gradient(q, q.contrast) if q.contrast else 0) for q in asked]
    )
    encoded = encode_documents(corpus, model.tokenizer, 512, False, TokenReport())
    g_DP = torch.stack([gradient(model, layers, ids, [True] * len(ids)) for _, ids in encoded])
    np.testing.assert_allclose(scores.dot, (g_QP @ g_DP.mT).numpy(), rtol=1e-8, atol=1e-9)
    assert scores.query_nll[0] == pytest.approx(scores.query_nll[1])
    assert (scores.query_nll > 0).all()


def test_the_digest_of_queries_of_before_is_unchanged() -> None:
    assert queries_digest([Query("q", "t", "control", "a", "b", answer="c")]) == DIGEST_OF_BEFORE
