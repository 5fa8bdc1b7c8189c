"""What models are asked: the prompts of systems and the wordings of a question, files that a user can copy and edit."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from string import Template

from influence.data.tasks.task import Example
from influence.errors import InputError
from influence.files import whole_file
from influence.filters import PROMPT, consistency_prompt
from influence.store.formats.distillation import AS_TUNED

SHIPPED = Path(__file__).parent / "prompts"
SHIPPED_WORDINGS = Path(__file__).parent / "wordings"

#: The name of the prompt that asks a model for the most consistent of its responses.
PICK = "pick"


@dataclass(frozen=True)
class Prompts:
    """Prompts by name, each exactly as it stands in its file.

    A prompt may name `$input` (the item's), any field of the item such as `$question`, and what its step hands it, such
    as `$rephrased`. A dollar sign is `$$`.

    Args:
        folder: Files of one's own, `NAME.txt`; prompts that have none there are the shipped ones.

    Raises:
        InputError: The folder is missing, has a file that is no prompt's, or one that cannot be read.
    """

    folder: Path | None = None
    _texts: dict[str, str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        own = {} if self.folder is None else _read_prompts(self.folder)
        object.__setattr__(self, "_texts", {**shipped(), **own})

    def text(self, name: str) -> str:
        """A prompt as it stands in its file."""
        return self._texts[name]

    def fill(self, name: str, item: Example, **handed: str) -> str:
        """The prompt for an item; what is put in is not looked at again.

        Args:
            handed: What the step hands on; the prompt must hold each.

        Raises:
            InputError: The item lacks a field that the prompt names, or the prompt leaves out what it is handed.
        """
        template = Template(self.text(name))
        for needed in handed:
            if needed not in template.get_identifiers():
                raise InputError(
                    f"The prompt {name} leaves out ${needed}.", fix=f"Put ${needed} where that text belongs."
                )
        values = {**item.fields, "input": item.input, **handed}
        try:
            return template.substitute(values)
        except KeyError as error:
            raise InputError(
                f"The prompt {name} names ${error.args[0]}, which the item {item.id!r} lacks.",
                have=f"${', $'.join(values)}",
                fix=f"Use a task or a file whose items have it (--field {error.args[0]}=NAME), or edit the prompt.",
            ) from error

    def pick(self, item: Example, responses: Sequence[str]) -> str:
        """The prompt that asks for the most consistent response."""
        return consistency_prompt(item.input, responses, Template(self.text(PICK)))

    def digests(self, names: Sequence[str]) -> dict[str, str]:
        """A short hash of each prompt, to tell one wording from another."""
        return {name: hashlib.sha256(self.text(name).encode()).hexdigest()[:16] for name in names}

    def write(self, folder: Path) -> None:
        """Write all prompts as files into a folder, which `Prompts` reads."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in self._texts.items():
            with whole_file(folder / f"{name}.txt") as part:
                part.write_text(text, encoding="utf-8", newline="\n")


def _read_prompts(folder: Path) -> dict[str, str]:
    if not folder.is_dir():
        raise InputError(
            f"There is no folder of prompts {folder}.",
            fix="`influence distill prompts DIR` writes the shipped ones to edit.",
        )
    texts = {}
    for file in sorted(folder.glob("*.txt")):
        if file.stem not in shipped():
            raise InputError(
                f"{file} is a prompt that no system uses.", fix=f"Prompts are {', '.join(shipped())}."
            )
        try:
            texts[file.stem] = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"The prompt {file} cannot be read.", have=str(error)) from error
        if not Template(texts[file.stem]).is_valid():
            raise InputError(f"The prompt {file} has a lone $.", fix="Write $$ for a dollar sign.")
    return texts


@cache
def shipped() -> dict[str, str]:
    """The prompts that come with the package, by name."""
    files = {file.stem: file.read_text(encoding="utf-8") for file in sorted(SHIPPED.glob("*.txt"))}
    return {**files, PICK: PROMPT.template}


def direct_prompt(item: Example, prompts: Prompts) -> str:
    """What System 1 is asked: another prompt for two responses to be compared."""
    return prompts.fill("direct-verdict" if "response_a" in item.fields else "direct", item)


class Wordings:
    """Ways to ask System 1: templates with `$input`, each in a file `NAME.txt`; the one the pairs have comes first.

    Args:
        prompts: Has the wording of the pairs.
        folder: Files of one's own instead of the shipped ones; None for the wording of the pairs alone.

    Raises:
        InputError: The folder has no wording, or one cannot be used.
    """

    def __init__(self, prompts: Prompts, folder: Path | None = SHIPPED_WORDINGS) -> None:
        self._prompts = prompts
        self._templates = {} if folder is None else _read_wordings(folder)

    def of(self, item: Example) -> dict[str, str]:
        """Name -> what System 1 is asked; those that come to the same text once. Pairs to judge have one wording."""
        own = direct_prompt(item, self._prompts)
        if "response_a" in item.fields:
            return {AS_TUNED: own}
        worded = {
            name: template.substitute(item.fields, input=item.input)
            for name, template in self._templates.items()
        }
        return {AS_TUNED: own, **{name: text for name, text in worded.items() if text.strip() != own.strip()}}


def _read_wordings(folder: Path) -> dict[str, Template]:
    files = sorted(folder.glob("*.txt"))
    if not files:
        raise InputError(
            f"{folder} has no wording.", fix="Put files such as please.txt there, with $input in each."
        )
    templates = {}
    for file in files:
        template = Template(file.read_text(encoding="utf-8").rstrip("\n"))
        if not template.is_valid() or template.get_identifiers() != ["input"]:
            raise InputError(
                f"The wording {file} is not usable.", fix="It names $input and nothing else; $$ is a dollar."
            )
        templates[file.stem] = template
    return templates
