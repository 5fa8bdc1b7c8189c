"""A local model as judge: greedy, repeatable, and no longer than its context."""

from __future__ import annotations

import pytest
import torch
from tiny import tiny_model

from influence.errors import ModelError
from influence.models.generate import Generator


def test_replies_are_greedy_and_of_the_model_alone() -> None:
    language_model = tiny_model()
    generator = Generator(language_model, max_new_tokens=5)
    reply, other = generator(["1 + 1 =", "what?"])
    ids = language_model.tokenizer("1 + 1 =", return_tensors="pt")["input_ids"]
    expected = []
    with torch.no_grad():
        for _ in range(5):
            best = language_model.model(ids).logits[0, -1].argmax()
            expected.append(int(best))
            ids = torch.cat([ids, best.view(1, 1)], dim=1)
            if int(best) == language_model.model.config.eos_token_id:
                break
    assert reply == language_model.tokenizer.decode(expected, skip_special_tokens=True)
    assert generator(["what?"]) == [other]
    assert language_model.fingerprint in generator.name
    assert generator.name.endswith(":5")


def test_a_chat_template_is_used() -> None:
    language_model = tiny_model()
    plain = Generator(language_model, 4)(["hello"])
    language_model.tokenizer.chat_template = "hello"
    assert Generator(language_model, 4)(["anything"]) == plain  # the template makes `hello` of it


def test_a_prompt_that_leaves_no_room_is_refused() -> None:
    with pytest.raises(ModelError, match="context of 64"):
        Generator(tiny_model(), max_new_tokens=60)(["longer than four"])
