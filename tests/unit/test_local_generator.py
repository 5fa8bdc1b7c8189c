"""A local model as generator: greedy or drawn, repeatable whatever else is asked, and no longer than its context."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import pytest
import torch
from tiny import tiny_model

from influence.errors import ComputeError, InputError, ModelError
from influence.generate import local
from influence.generate.local import LocalGenerator
from influence.generate.request import KeptReplies, Reply, Request, Sampling
from influence.models.load import LanguageModel

PROMPTS = ["1 + 1 =", "what?", "a", "the quick brown fox", "b c", "zz zz"]
DRAWN = Sampling(max_tokens=9, temperature=1.3, top_p=0.9)


def ask(generator: LocalGenerator, requests: list[Request]) -> list[Reply]:
    return [reply for _, reply in sorted(generator.replies(requests), key=lambda pair: pair[0])]


def stepwise(language_model: LanguageModel, prompt: str, count: int) -> list[int]:
    """The most likely tokens, one full pass each."""
    ids = language_model.tokenizer(prompt, return_tensors="pt")["input_ids"]
    start = ids.shape[1]
    with torch.no_grad():
        while ids.shape[1] < start + count and (ids.shape[1] == start or int(ids[0, -1]) != 0):
            best = language_model.model(ids).logits[0, -1].argmax()
            ids = torch.cat([ids, best.view(1, 1)], dim=1)
    return list(ids[0, start:].tolist())


def test_greedy_replies_are_those_of_the_model_alone() -> None:
    language_model = tiny_model()
    replies = ask(LocalGenerator(language_model), [Request(p, Sampling(max_tokens=8)) for p in PROMPTS])
    for prompt, reply in zip(PROMPTS, replies, strict=True):
        expected = stepwise(language_model, prompt, 8)
        assert reply.text == language_model.tokenizer.decode(expected, skip_special_tokens=True)
        assert reply.tokens == len(expected)
        assert reply.finished == (expected[-1] == 0)
        assert reply.prompt_tokens == len(prompt)


def test_batches_order_and_company_change_nothing() -> None:
    generator = LocalGenerator(tiny_model(), batch_size=1)
    requests = [Request(prompt, DRAWN, sample) for prompt in PROMPTS for sample in range(3)]
    alone = ask(generator, requests)
    assert len({reply.text for reply in alone}) > 12
    for batch_size in (2, 5, 64):
        assert ask(LocalGenerator(tiny_model(), batch_size), requests) == alone
    assert ask(LocalGenerator(tiny_model(), 4), requests[::-1]) == alone[::-1]
    assert ask(LocalGenerator(tiny_model(), 4), requests[5:9]) == alone[5:9]
    mixed = [*requests[:4], Request("what?", Sampling(max_tokens=5)), *requests[4:]]
    assert [
        reply for place, reply in enumerate(ask(LocalGenerator(tiny_model(), 4), mixed)) if place != 4
    ] == alone


def test_samples_and_seeds_differ_and_repeat() -> None:
    generator = LocalGenerator(tiny_model())
    first, second = ask(generator, [Request("abc", DRAWN, 0), Request("abc", DRAWN, 1)])
    assert first != second
    assert ask(generator, [Request("abc", DRAWN, 1)]) == [second]
    other = Sampling(max_tokens=9, temperature=1.3, top_p=0.9, seed=1)
    assert ask(generator, [Request("abc", other, 0)]) != [first]


def test_draws_follow_the_distribution() -> None:
    """One token, 4000 draws: frequencies within five standard errors, and nothing from outside of the nucleus."""
    language_model = tiny_model()
    ids = language_model.tokenizer("abc", return_tensors="pt")["input_ids"]
    with torch.no_grad():
        p = (language_model.model(ids).logits[0, -1] / 0.7).softmax(-1)
    order = p.argsort(descending=True)
    inside = order[: int((p[order].cumsum(0) < 0.8).sum()) + 1].tolist()
    expected = {token: float(p[token] / p[inside].sum()) for token in inside}
    sampling = Sampling(max_tokens=1, temperature=0.7, top_p=0.8)
    count = 4000
    texts = LocalGenerator(language_model, 500).replies([Request("abc", sampling, n) for n in range(count)])
    seen = Counter(reply.text for _, reply in texts)
    spelled = {language_model.tokenizer.decode([t], skip_special_tokens=True): q for t, q in expected.items()}
    assert len(spelled) > 3
    assert set(seen) <= set(spelled)
    for text, q in spelled.items():
        assert abs(seen[text] / count - q) < 5 * math.sqrt(q * (1 - q) / count), text


def test_a_stop_text_ends_a_reply() -> None:
    language_model = tiny_model()
    generator = LocalGenerator(language_model)
    whole = ask(generator, [Request(prompt, Sampling(max_tokens=20)) for prompt in PROMPTS])
    word = next(reply.text[5:7] for reply in whole if len(reply.text) > 8)
    stopped = ask(generator, [Request(prompt, Sampling(max_tokens=20, stop=(word,))) for prompt in PROMPTS])
    assert any(word in reply.text for reply in whole)
    for prompt, before, after in zip(PROMPTS, whole, stopped, strict=True):
        assert after.text == before.text.split(word)[0]
        if word in before.text:
            assert after.finished
            ids = stepwise(language_model, prompt, 20)
            texts = [language_model.tokenizer.decode(ids[:n]) for n in range(len(ids))]
            assert after.tokens == next(n for n, text in enumerate(texts) if word in text)
        else:
            assert after == before


def test_kept_replies_are_not_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = LocalGenerator(tiny_model(), batch_size=4)
    requests = [Request(prompt, DRAWN, sample) for prompt in PROMPTS for sample in range(2)]
    expected = ask(generator, requests)
    kept = KeptReplies(tmp_path / "replies.jsonl")
    calls = 0
    original = local.continuations

    def counted(language_model: LanguageModel, prompts: list[list[int]], *rest: object) -> object:
        nonlocal calls
        calls += len(prompts)
        if 8 < calls <= 12:  # the third batch of four
            raise KeyboardInterrupt
        return original(language_model, prompts, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(local, "continuations", counted)
    with pytest.raises(KeyboardInterrupt):
        kept.replies(generator, requests)
    with kept.path.open("a") as file:  # a kill in the middle of a line
        file.write('{"key": "0a')
    assert kept.replies(generator, requests) == expected
    assert calls == 12 + 4  # the two batches before the kill are not made again
    assert kept.replies(generator, requests[::-1]) == expected[::-1]
    assert len(kept.path.read_text().splitlines()) == 12


def test_another_model_or_setting_has_other_replies() -> None:
    request = Request("abc", DRAWN)
    names = {
        LocalGenerator(tiny_model()).name,
        LocalGenerator(tiny_model(seed=1)).name,
        LocalGenerator(tiny_model(dtype=torch.float32)).name,
    }
    assert len(names) == 3
    templated = tiny_model()
    templated.tokenizer.chat_template = "hello"
    names.add(LocalGenerator(templated).name)
    assert len(names) == 4
    keys = {request.key(name) for name in names}
    others = [Request("abd", DRAWN), Request("abc", DRAWN, 1), Request("abc", Sampling(max_tokens=9))]
    assert len(keys | {other.key(names.pop()) for other in others}) == 7


def test_a_chat_template_is_used() -> None:
    language_model = tiny_model()
    sampling = Sampling(max_tokens=4)
    plain = LocalGenerator(language_model).texts(["hello"], sampling)
    language_model.tokenizer.chat_template = "hello"
    made = LocalGenerator(language_model).texts(["anything"], sampling)
    assert made == plain  # the template makes `hello` of it


def test_the_settings_of_a_checkpoint_do_not_change_replies() -> None:
    language_model = tiny_model()
    before = LocalGenerator(language_model).texts(PROMPTS, Sampling(max_tokens=8))
    settings = language_model.model.generation_config
    settings.repetition_penalty, settings.do_sample, settings.temperature, settings.top_k = 3.0, True, 0.1, 1
    assert LocalGenerator(language_model).texts(PROMPTS, Sampling(max_tokens=8)) == before
    drawn = [Request(prompt, DRAWN) for prompt in PROMPTS]
    assert ask(LocalGenerator(language_model), drawn) == ask(LocalGenerator(tiny_model()), drawn)


def test_a_batch_too_large_for_memory_is_halved(monkeypatch: pytest.MonkeyPatch) -> None:
    requests = [Request(prompt, DRAWN) for prompt in PROMPTS]
    expected = ask(LocalGenerator(tiny_model()), requests)
    original = local.continuations

    def narrow(language_model: LanguageModel, prompts: list[list[int]], *rest: object) -> object:
        if len(prompts) > room:
            raise torch.OutOfMemoryError
        return original(language_model, prompts, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(local, "continuations", narrow)
    room = 2
    assert ask(LocalGenerator(tiny_model()), requests) == expected
    room = 0
    with pytest.raises(ComputeError, match="alone"):
        ask(LocalGenerator(tiny_model()), requests)


def test_a_prompt_that_leaves_no_room_is_refused_before_anything_is_made() -> None:
    generator = LocalGenerator(tiny_model(), batch_size=1)
    requests = [Request(prompt, Sampling(max_tokens=60)) for prompt in ("abc", "longer than four")]
    with pytest.raises(ModelError, match="context of 64"):
        next(generator.replies(requests))


@pytest.mark.parametrize(
    "settings",
    [
        {"max_tokens": 0},
        {"temperature": -1.0},
        {"temperature": math.nan},
        {"top_p": 0.0},
        {"top_p": 1.1},
        {"stop": ("",)},
    ],
)
def test_settings_out_of_range(settings: dict[str, float]) -> None:
    with pytest.raises(InputError):
        Sampling(**settings)  # type: ignore[arg-type]
