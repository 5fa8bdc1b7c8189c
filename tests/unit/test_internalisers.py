"""Three ways to internalise, one interface: each learns from the same lessons and leaves a model that can be asked."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import tiny_model

from influence.distill.lessons import Lesson
from influence.distill.settings import TuneSettings
from influence.distill.tune import internalise
from influence.errors import InputError
from influence.generate.request import Request, Sampling
from influence.models.load import load_model
from influence.train.answering import StageGenerator, load_generator
from influence.train.context import reverse_divergence

LESSONS = [
    Lesson(f"{n}", f"say {word}", word[0], f"{word[1]} {word[2]}", f"the word {word} has first")
    for n, word in enumerate(("abc", "bcd", "cde", "dea"))
]


@pytest.fixture
def base(tmp_path: Path) -> Path:
    model = tiny_model(dtype=torch.float32, bos_token_id=None)
    model.tokenizer.eos_token = model.tokenizer.bos_token
    model.model.save_pretrained(tmp_path / "base")
    model.tokenizer.save_pretrained(tmp_path / "base")
    return tmp_path / "base"


def answers(model: Path, count: int = 8) -> dict[str, str]:
    generator = load_generator(model)
    requests = [Request(lesson.prompt, Sampling(max_tokens=count)) for lesson in LESSONS]
    return {LESSONS[number].id: reply.text.strip() for number, reply in generator.replies(requests)}


def test_answer_only_learns_the_answers(base: Path, tmp_path: Path) -> None:
    settings = TuneSettings(epochs=60, lr=1e-2, batch_size=4)
    record = internalise(base, LESSONS, tmp_path / "tuned", settings)
    assert answers(tmp_path / "tuned") == {lesson.id: lesson.completion for lesson in LESSONS}
    assert record["examples"] == len(LESSONS)


def test_lora_leaves_a_plain_model(base: Path, tmp_path: Path) -> None:
    settings = TuneSettings(epochs=2, lr=1e-2, lora_rank=2)
    internalise(base, LESSONS, tmp_path / "tuned", settings)
    tuned, before = load_model(tmp_path / "tuned").model, load_model(base).model
    assert not any("lora" in name for name, _ in tuned.named_parameters())
    same = {
        name: torch.equal(one, other)
        for (name, one), other in zip(before.named_parameters(), tuned.parameters(), strict=True)
    }
    assert all(equal for name, equal in same.items() if "proj" not in name)
    assert not all(equal for name, equal in same.items() if "proj" in name)


def test_stepwise_removes_the_traces_and_is_asked_as_a_stage(
    base: Path, tmp_path: Path, messages: pytest.LogCaptureFixture
) -> None:
    settings = TuneSettings(way="stepwise", epochs=25, lr=1e-2, batch_size=12, delta=1.0)
    internalise(base, LESSONS * 3, tmp_path / "tuned", settings)
    assert isinstance(load_generator(tmp_path / "tuned"), StageGenerator)
    assert messages.messages
    assert (tmp_path / "tuned" / "metrics.jsonl").exists()
    right = sum(answers(tmp_path / "tuned")[lesson.id] == lesson.completion for lesson in LESSONS)
    assert right >= 3  # one of the four is held out


def test_context_moves_the_student_to_the_teacher(base: Path, tmp_path: Path) -> None:
    settings = TuneSettings(way="context", epochs=40, lr=3e-3, batch_size=4, max_tokens=3)
    record = internalise(base, LESSONS, tmp_path / "tuned", settings)
    divergence = record["divergence_nats_per_token"]
    assert divergence["last tenth"] < divergence["first tenth"] / 2
    assert record["steps"] == 40
    answers(tmp_path / "tuned")


def test_divergence_is_that_of_two_distributions() -> None:
    student, teacher = torch.randn(2, 3, 5), torch.randn(2, 3, 5)
    expected = torch.distributions.kl_divergence(
        torch.distributions.Categorical(logits=student), torch.distributions.Categorical(logits=teacher)
    )
    torch.testing.assert_close(reverse_divergence(student, teacher), expected)
    assert math.isclose(float(reverse_divergence(student, student).sum()), 0, abs_tol=1e-5)


@pytest.mark.parametrize(
    ("lessons", "settings", "message"),
    [
        ([], {}, "nothing to learn"),
        ([Lesson("1", "say", " ")], {}, "completion"),
        ([Lesson("1", "say", "a")], {"way": "stepwise"}, "no trace"),
        ([Lesson("1", "say", "a")], {"way": "context"}, "no context"),
    ],
)
def test_lessons_that_cannot_teach_are_refused(
    tmp_path: Path, lessons: list[Lesson], settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        internalise("nowhere", lessons, tmp_path / "tuned", TuneSettings(**settings))


def test_settings_out_of_range_are_refused() -> None:
    for wrong in ({"way": "prayer"}, {"epochs": 0}, {"lr": 0.0}, {"temperature": 0.0}):
        with pytest.raises(InputError):
            TuneSettings(**wrong)  # type: ignore[arg-type]
