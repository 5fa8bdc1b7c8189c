"""A stage reads texts as in training: the same tokens, positions and loss; kinds of documents; probes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from influence.data.tasks.document_kinds import COUNTS, Piece, choose, operands_of, running_quantities
from influence.data.tasks.folder import write_task
from influence.data.tasks.makers.parity import Parity
from influence.data.tasks.task import Example, Task
from influence.data.tokens import tokenise
from influence.engine.batching import pad
from influence.engine.passes import backward
from influence.errors import InputError
from influence.models.load import LanguageModel
from influence.models.selection import find_layers
from influence.subjects.documents import task_documents
from influence.subjects.probes import Probe
from influence.subjects.questions import Texts
from influence.subjects.stages import given, kept_positions, read_as_trained
from influence.train.core.batches import IGNORED_LABEL
from influence.train.stepwise.batches import Cut
from influence.train.stepwise.new_model import SHAPES, new_model, task_tokenizer
from influence.train.stepwise.sequences import rows_of, separator, tokenize_task
from influence.train.stepwise.settings import Side

CHAIN = 3


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Task:
    maker = Parity(bits=7, k=CHAIN + 1, train=90, valid=8, test=8)
    return write_task(maker, tmp_path_factory.mktemp("task") / "parity")


@pytest.fixture(scope="module")
def texts(task: Task) -> Texts:
    return Texts(task_tokenizer(task.split("train")))


@pytest.mark.parametrize("side", ["left", "right"])
def test_texts_are_the_sequences_of_training(task: Task, texts: Texts, side: Side) -> None:
    examples = task.split("test")
    sequences = tokenize_task(examples, task, texts.tokenizer)
    rows = np.arange(len(examples))
    for removed in range(CHAIN + 1):
        cut = Cut(side, False, True, 0, None)
        batch, _ = cut.batch(sequences, rows, np.full(len(rows), removed))
        written = [texts.prompt(one) + texts.target(one, removed, side) for one in examples]
        ids = torch.tensor([tokens.ids for tokens in tokenise(texts.tokenizer, written)])
        assert torch.equal(ids, batch["input_ids"])
        kept = kept_positions(ids, separator(texts.tokenizer), CHAIN, side)
        assert torch.equal(kept, batch["position_ids"])
    texts.check(examples, task)


def test_what_is_given_is_the_input(task: Task, texts: Texts) -> None:
    mark = separator(texts.tokenizer)
    row = next(rows_of(tokenize_task(task.split("test"), task, texts.tokenizer)))
    ids = torch.from_numpy(np.stack([row, np.where(row == mark, 0, row)]).astype(np.int64))
    first = int(np.flatnonzero(row == mark)[0])
    assert given(ids, mark)[0].nonzero().flatten().tolist() == list(range(first))
    assert not given(ids, mark)[1].any()  # without a separator everything is predicted
    assert torch.equal(kept_positions(ids[1:], mark, 9, "right")[0], torch.arange(len(row)))


@pytest.mark.parametrize("keep_positions", [False, True])
def test_the_gradient_of_a_text_is_that_of_the_training_loss(
    task: Task, texts: Texts, keep_positions: bool
) -> None:
    examples, removed = task.split("test")[:4], 2
    net = new_model(SHAPES["tiny"], texts.tokenizer, 20, seed=0).double()
    sequences = tokenize_task(examples, task, texts.tokenizer)
    cut = Cut("right", False, keep_positions, 0, None)
    batch, tokens = cut.batch(sequences, np.arange(4), np.full(4, removed))
    labels = batch.pop("labels")
    mask = torch.ones_like(batch["input_ids"])
    logits = net(**batch, attention_mask=mask).logits[:, -labels.shape[1] - 1 : -1]
    loss = torch.nn.functional.cross_entropy(
        logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORED_LABEL, reduction="sum"
    )
    assert tokens == int((labels != IGNORED_LABEL).sum())
    layer = find_layers(net, ("mlp",))[0]
    (wanted,) = torch.autograd.grad(loss, [layer.module.get_parameter("weight")])

    model = read_as_trained(LanguageModel(net, texts.tokenizer), CHAIN, "right", keep_positions)
    written = [texts.prompt(one) + texts.target(one, removed, "right") for one in examples]
    found = torch.zeros(layer.shape, dtype=torch.float64)

    def reduce(index: int, a_BTI: torch.Tensor, s_BTO: torch.Tensor) -> None:
        nonlocal found
        if index == 0:
            found += torch.einsum("bto,bti->oi", s_BTO, a_BTI)

    padded = pad([tokens.ids for tokens in tokenise(texts.tokenizer, written)], torch.device("cpu"))
    nll = backward(model, find_layers(net, ("mlp",)), padded, reduce, what="a test")
    assert nll.sum().item() == pytest.approx(loss.item(), rel=1e-12)
    torch.testing.assert_close(found[:, : wanted.shape[0]], wanted.mT, rtol=1e-9, atol=1e-12)


def test_reading_as_trained_leaves_the_model_as_it_came(texts: Texts) -> None:
    """The view has hooks and a configuration of its own, and the fingerprint that stores of such a model have."""
    net = new_model(SHAPES["tiny"], texts.tokenizer, 20, seed=0).eval()
    model = LanguageModel(net, texts.tokenizer)
    ids = torch.tensor([[4, 5, separator(texts.tokenizer), 6, separator(texts.tokenizer), 4]])
    config, logits = net.config.to_dict(), net(input_ids=ids).logits
    view = read_as_trained(model, CHAIN, "right", True)
    assert not torch.equal(view.model(input_ids=ids).logits, logits)
    assert torch.equal(net(input_ids=ids).logits, logits)
    assert net.config.to_dict() == config
    assert not net._forward_hooks
    assert not net._forward_pre_hooks
    assert not net._forward_hooks_with_kwargs
    assert dict(view.model.named_parameters()) == dict(net.named_parameters())
    assert view.fingerprint != model.fingerprint
    net.config.influence_reading = {"given": "input", "kept": [CHAIN, "right"]}
    assert view.fingerprint == LanguageModel(net, texts.tokenizer).fingerprint


def test_kinds_are_what_they_say(task: Task, texts: Texts) -> None:
    asked = task.split("test")[:3]
    counts = {"full chain": 6, "partial chain": 6, "answer only": 6, "distractor": 5, "same operands": 4}
    pieces = choose(task, asked, counts=counts | {"shared partial result": 4})
    assert pieces == choose(task, asked, counts=counts | {"shared partial result": 4})
    assert pieces != choose(task, asked, counts=counts | {"shared partial result": 4}, seed=1)
    of_kind = {kind: [piece for piece in pieces if piece.kind == kind] for kind in COUNTS}
    shown = {kind: [piece.example for piece in of_kind[kind]] for kind in ("full chain", "answer only")}
    assert shown["full chain"] == shown["answer only"]
    truth = {example.input: example for example in task.split("train")}
    for piece in pieces:
        example = truth[piece.example.input]
        assert (piece.example == example) == (piece.kind != "distractor")
        if piece.asked is None:
            continue
        query = asked[piece.asked]
        same = operands_of(example, task) == operands_of(query, task)
        assert same == (piece.kind == "same operands")
        if not same:
            assert example.answer != query.answer
            equal = np.array(example.chain.split()) == np.array(query.chain.split())
            assert equal.mean() >= 0.5
    documents = list(task_documents(pieces, task, texts, "right"))
    by_origin = {(d.source, d.metadata["origin"]): d for d in documents}
    for piece, document in zip(pieces, documents, strict=True):
        left = CHAIN - document.metadata["removed"]
        assert document.text.split("<sep>")[1].split() == piece.example.chain.split()[:left]
        assert {"full": left == CHAIN, "partial": 0 < left < CHAIN, "answer": left == 0}[piece.form]
    assert len(by_origin) >= 18
    assert len({document.id for document in documents}) == len(documents)


def test_counts_that_cannot_be(task: Task, texts: Texts) -> None:
    with pytest.raises(InputError, match="no such kind"):
        choose(task, task.split("test"), counts={"poems": 3})
    with pytest.raises(InputError, match="train split has 90"):
        choose(task, task.split("test"), counts={"full chain": 91})
    foreign = Piece("full chain", "full", Example("", "1 0 x", "1", "0"), "train-0")
    with pytest.raises(InputError, match="does not know"):
        list(task_documents([foreign], task, texts, "left"))


def test_running_quantities(task: Task) -> None:
    sums = running_quantities(task, task.split("test"))
    assert list(sums) == [f"running sum {place}" for place in range(1, CHAIN + 2)]
    positions = task.settings["positions"]
    for number, example in enumerate(task.split("test")):
        bits = [int(example.input.split()[place]) for place in positions]
        assert [int(values[number]) for values in sums.values()] == (np.cumsum(bits) % 2).tolist()
    product = Task("multiplication", "text", {})
    columns = running_quantities(product, [Example("", "7 6 9 2 * 1 6 3 6", "…", "7 8 0 3 7 8 8 1")])
    assert [int(values[0]) % 10 for values in columns.values()] == [7, 8, 0, 3, 7, 8, 8, 1]
    assert int(columns["column 2"][0]) == 7 * 6 + 6 * 1 + 0
    assert running_quantities(Task("own", "text", {}), []) == {}


def test_probes_read_what_is_there_and_only_that() -> None:
    rng = np.random.default_rng(0)
    states = rng.normal(size=(900, 8))
    probe = Probe(states[:600], states[600:])
    bit = (states @ np.arange(8) > 0).astype(int)
    measure, value, low, high, chance = probe.read(bit[:600], bit[600:])
    assert measure == "accuracy"
    assert value > 0.95
    assert low <= value <= high
    assert chance < 0.6
    noise = rng.integers(0, 2, 900)
    assert abs(probe.read(noise[:600], noise[600:])[1] - 0.5) < 0.12
    number = np.round(20 * states[:, 3] + 7).astype(int)
    measure, value, *_ = probe.read(number[:600], number[600:])
    assert (measure, round(value, 2)) == ("R2", 1.0)


def test_a_byte_tokenizer_whose_separator_is_its_end(task: Task) -> None:
    """As GPT-2's: the text of an example has its EOS three times."""
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    lines = [example.line() for example in task.split("train")]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=["<|endoftext|>"], initial_alphabet=alphabet, show_progress=False
    )
    core.train_from_iterator(lines, trainer)
    texts = Texts(PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<|endoftext|>"))
    examples = task.split("test")
    texts.check(examples, task)
    rows = np.arange(len(examples))
    sequences = tokenize_task(examples, task, texts.tokenizer)
    sides: tuple[Side, ...] = ("left", "right")
    for side in sides:
        batch, _ = Cut(side, False, True, 0, None).batch(sequences, rows, np.full(len(rows), 2))
        written = [texts.prompt(one) + texts.target(one, 2, side) for one in examples]
        ids = torch.tensor([tokens.ids for tokens in tokenise(texts.tokenizer, written)])
        assert torch.equal(ids, batch["input_ids"])
        assert torch.equal(
            kept_positions(ids, separator(texts.tokenizer), CHAIN, side), batch["position_ids"]
        )
