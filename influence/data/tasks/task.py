"""A task: examples in splits that share no input, and how an answer is read out of what a model wrote.

One example serves every trainer: stepwise internalisation reads its input, chain and answer, a distillation its input,
choices and fields.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from influence.data.tasks.extract import Kind, read_answer
from influence.errors import InputError

Split = Literal["train", "valid", "test"]

#: The order in which splits are made, counted and shown.
SPLITS: tuple[Split, ...] = get_args(Split)

#: What stands between the input and the chain, and between the chain and the answer.
INPUT_END = "||"
ANSWER_START = " #### "


@dataclass(frozen=True, slots=True)
class Example:
    """One question of a task.

    Attributes:
        id: Unique in its split.
        input: The question as a model is asked it, without any instruction.
        chain: The chain of thought between input and answer, without the separators; empty where there is none.
        answer: What counts as right; None where nobody knows. A distillation only measures by it.
        choices: The options of a question with options, in the order they are shown.
        fields: The parts that prompts may name, such as `opinion` or the two responses of a pair.
    """

    id: str
    input: str
    chain: str = ""
    answer: str | None = None
    choices: tuple[str, ...] = ()
    fields: Mapping[str, str] = field(default_factory=dict)

    @property
    def gold(self) -> str:
        """The answer, where there must be one; InputError where nobody knows it."""
        if self.answer is None:
            raise InputError(
                f"The example {self.id!r} has no answer.",
                have=shortened(self.input),
                fix="Give each example the answer that a model is to learn or to be measured by.",
            )
        return self.answer

    def line(self) -> str:
        """The example as a line of a `.txt` file, without its end."""
        return f"{self.input}{INPUT_END}{self.chain}{ANSWER_START}{self.gold}"


@dataclass(frozen=True)
class Task:
    """Examples in splits that share no input.

    Attributes:
        name: The name of its maker, `own` for own files.
        kind: How an answer is read and compared.
        splits: Name -> examples, in memory or read from a file each time; a split that is not there is absent.
        step_pattern: A regular expression whose matches are the steps of a chain; None: the whole chain is one step.
        settings: What made it: digits, seed and so on; empty for own files.
        folder: Where its files are; None where it is in memory.
        sizes: How many examples each split has.

    Raises:
        InputError: A split is empty, splits share an input, an id stands twice in a split, or an answer cannot be read
            as an answer of this kind.
    """

    name: str
    kind: Kind
    splits: Mapping[Split, Iterable[Example]]
    step_pattern: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    folder: Path | None = None
    sizes: Mapping[Split, int] = field(init=False)

    def __post_init__(self) -> None:
        for split, examples in self.splits.items():
            if isinstance(examples, Sequence):  # an example of a file is named by its line
                _check_ids(examples, split)
        object.__setattr__(self, "sizes", self._checked_sizes())

    def split(self, name: Split) -> list[Example]:
        """All examples of a split, in their order; InputError where the split is missing."""
        return list(self.examples(name))

    def examples(self, name: Split) -> Iterator[Example]:
        """The examples of a split, one at a time; InputError where the split is missing."""
        if name not in self.splits:
            raise InputError(
                f"The task {self.folder or self.name} has no {name} split.",
                have=", ".join(self.splits) or "no split",
                fix=f"Add a file {name}.txt or {name}.jsonl to its folder.",
            )
        return iter(self.splits[name])

    def read(self, example: Example, text: str) -> str | None:
        """The answer that `text` gives to `example`; None where it gives none or several."""
        return answer_of(self.kind, example, text)

    def right(self, example: Example, answer: str | None) -> bool | None:
        """Whether an answer that was read is the right one; None where nobody knows."""
        return is_right(self.kind, example, answer)

    def _checked_sizes(self) -> dict[Split, int]:
        """The number of examples of each split, all of them checked; memory grows with the held-out splits only.

        Within a split an input may stand twice.
        """
        held_out: dict[str, Split] = {}
        sizes: dict[Split, int] = dict.fromkeys(self.splits, 0)
        for name in reversed(list(self.splits)):
            for number, example in enumerate(self.splits[name], start=1):
                other = held_out.get(example.input, name)
                if other != name:
                    raise InputError(
                        f"The {name} and the {other} split of the task {self.folder or self.name} overlap: "
                        f"example {number} of the {name} split is in both.",
                        have=shortened(example.input),
                        fix="Remove that input from one of them: what a model was trained on cannot test it.",
                    )
                if name != next(iter(self.splits)):
                    held_out[example.input] = name
                if example.answer is not None and gold_of(self.kind, example) is None:
                    raise InputError(
                        f"The answer of the example {example.id!r} in the {name} split of the task "
                        f"{self.folder or self.name} cannot be read as one of the kind {self.kind!r}.",
                        have=shortened(example.answer),
                        fix="Correct the answer, or leave the example out: no reply to it could be right.",
                    )
                sizes[name] = number
            if not sizes[name]:
                raise InputError(
                    f"The {name} split of the task {self.folder or self.name} is empty.",
                    fix="Add examples, or leave the split out.",
                )
        return sizes


def answer_of(kind: Kind, example: Example, text: str) -> str | None:
    """The answer a text gives to an example, in a form that equal answers share.

    Other names of the right answer, in the example's field `same` (one a line), count as it.
    """
    if kind == "letters":
        return read_answer(text, kind, example.fields.get("words", "").split())
    if kind != "option":
        return read_answer(text, kind)
    same = [name for name in example.fields.get("same", "").splitlines() if name not in example.choices]
    answer = read_answer(text, kind, [*example.choices, *same])
    return example.answer if answer in same else answer


def gold_of(kind: Kind, example: Example) -> str | None:
    """The right answer in the form that `answer_of` gives; None where nobody knows it or it cannot be read."""
    if example.answer is None:
        return None
    if kind == "option":
        for same in (str, str.casefold):
            chosen = [choice for choice in example.choices if same(choice) == same(example.answer)]
            if len(chosen) == 1:
                return chosen[0]
    plain = example.answer.strip().lower()
    if (kind == "letters" and plain.isalpha()) or (kind == "yes-no" and plain in ("yes", "no")):
        return plain
    return answer_of(kind, example, example.answer)


def is_right(kind: Kind, example: Example, answer: str | None) -> bool | None:
    """Whether an answer that was read is the right one; None where nobody knows."""
    return None if example.answer is None else answer is not None and answer == gold_of(kind, example)


def steps(chain: str, pattern: str | None) -> list[tuple[int, int]]:
    """Character spans `[(start, end)]` of the steps of a chain, in order; blanks at their ends left out.

    Every character that is not blank is in exactly one step; InputError where the pattern leaves some out.
    """
    spans = [
        match.span() for match in re.finditer(pattern or r"(?s)\S(?:.*\S)?", chain) if match.group().strip()
    ]
    starts = [start for start, _ in spans] + [len(chain)]
    ends = [0] + [end for _, end in spans]
    between = " ".join(chain[end:start] for end, start in zip(ends, starts, strict=True)).strip()
    if between:
        raise InputError(
            f"The step pattern {pattern!r} leaves out part of the chain {chain[:60]!r}.",
            have=between[:60],
            fix="Correct step_pattern in task.json so that its matches cover the chain; null: one step.",
        )
    return [_trimmed(chain, start, end) for start, end in spans]


def shortened(text: str) -> str:
    """The start of a text for an error message, in quotes."""
    return repr(text[:100]) + ("..." if len(text) > 100 else "")


def _trimmed(chain: str, start: int, end: int) -> tuple[int, int]:
    text = chain[start:end]
    return start + len(text) - len(text.lstrip()), end - len(text) + len(text.rstrip())


def _check_ids(examples: Sequence[Example], split: str) -> None:
    ids: set[str] = set()
    for example in examples:
        if example.id in ids:
            raise InputError(
                f"Two examples of the {split} split have the id {example.id!r}.", fix="Give each its own."
            )
        ids.add(example.id)


#: Shares of the splits of a single file.
_SHARES: Mapping[Split, float] = {"valid": 0.1, "test": 0.1}


def in_splits(examples: Iterable[Example], sizes: Mapping[Split, int]) -> dict[Split, tuple[Example, ...]]:
    """One example after the other into splits of these sizes, in the order train, valid, test."""
    left = list(examples)
    wanted = sum(sizes.values())
    if len(left) < wanted:
        raise InputError("There are too few inputs.", have=f"{len(left):,}, {wanted:,} are wanted")
    splits: dict[Split, tuple[Example, ...]] = {}
    for split in SPLITS:
        if count := sizes.get(split, 0):
            splits[split], left = tuple(left[:count]), left[count:]
    return splits


def drawn_splits(examples: Iterable[Example], seed: int) -> dict[Split, tuple[Example, ...]]:
    """A tenth each of the examples, drawn, to validate and to test; the rest, in its order, to train.

    Of examples with the same input the last one is taken.
    """
    different: Sequence[Example] = list({example.input: example for example in examples}.values())
    order = np.random.default_rng([seed, 31]).permutation(len(different)).tolist()
    splits: dict[Split, tuple[Example, ...]] = {}
    start = 0
    for split, share in _SHARES.items():
        end = start + round(share * len(different))
        if end > start:
            splits[split] = tuple(different[i] for i in sorted(order[start:end]))
        start = end
    return {"train": tuple(different[i] for i in sorted(order[start:])), **splits}
