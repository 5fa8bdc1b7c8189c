"""Ways to word the question to System 1: how much an answer depends on the prompt alone."""

from __future__ import annotations

from pathlib import Path
from string import Template

from influence.data.tasks.item import Item
from influence.distill.names import AS_TUNED
from influence.distill.prompt_files import Prompts
from influence.distill.systems.direct import direct_prompt
from influence.errors import InputError

SHIPPED = Path(__file__).parent / "wordings"


class Wordings:
    """Templates with `$input`, each in a file `NAME.txt`; the one the pairs have comes first.

    Args:
        prompts: Has the wording of the pairs.
        folder: Files of one's own instead of the shipped ones; None for the wording of the pairs alone.

    Raises:
        InputError: The folder has no wording, or one cannot be used.
    """

    def __init__(self, prompts: Prompts, folder: Path | None = SHIPPED) -> None:
        self._prompts = prompts
        self._templates = {} if folder is None else _read(folder)

    def of(self, item: Item) -> dict[str, str]:
        """Name -> what System 1 is asked; those that come to the same text once. Pairs to judge have one wording."""
        own = direct_prompt(item, self._prompts)
        if "response_a" in item.fields:
            return {AS_TUNED: own}
        worded = {
            name: template.substitute(item.fields, input=item.input)
            for name, template in self._templates.items()
        }
        return {AS_TUNED: own, **{name: text for name, text in worded.items() if text.strip() != own.strip()}}


def _read(folder: Path) -> dict[str, Template]:
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
