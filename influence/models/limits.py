"""What a checkpoint may ask to have built: no more than its files could fill, so that an absurd size ends at once.

A configuration of 10^7 layers or 10^12 words is refused by its numbers, or by the first module that is too many, before
memory is taken: models are built without any first.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.module import (
    register_module_buffer_registration_hook,
    register_module_module_registration_hook,
    register_module_parameter_registration_hook,
)

from influence.errors import ModelError

#: Most layers, heads, experts or labels of a model, and most modules in all.
MOST_PARTS, MOST_MODULES = 10_000, 200_000
#: Numbers for each byte of the checkpoint's folder, of which some are stored in 1.5 bits and some are tied; and numbers
#: that need no file, such as tables of positions.
NUMBERS_OF_A_BYTE, FREE_NUMBERS = 16, 2**28

#: Names of numbers in a configuration: of parts, and of the rank of an adapter.
_PARTS = re.compile(r"(layer|block|head|expert|label)s?$|^r$")


def require_countable_parts(config: Mapping[str, Any], name: str) -> None:
    """Refuse a configuration with a number of parts that no model has; they would be made one by one.

    Args:
        config: As it stands in config.json.
        name: The model in an error.

    Raises:
        ModelError: There are more than 10,000 of something.
    """
    for key, value in config.items():
        if isinstance(value, Mapping):
            require_countable_parts(value, name)
        elif _PARTS.search(key) and isinstance(value, int | float) and value > MOST_PARTS:
            raise _absurd(name, f"{key} is {value:,}, and no model has more than {MOST_PARTS:,}")


@contextmanager
def buildable_from(folder: Path, name: str) -> Iterator[None]:
    """Refuse to build a model of more modules or numbers than its files could fill, as soon as one is too many.

    Args:
        folder: That of the checkpoint; of a name on a hub the numbers are not counted.
        name: The model in an error.

    Raises:
        ModelError: There are too many; from within what builds the model.
    """
    files = [path for path in folder.iterdir() if path.is_file()] if folder.is_dir() else []
    stored = sum(path.stat().st_size for path in files)
    most = stored * NUMBERS_OF_A_BYTE + FREE_NUMBERS if stored else None
    modules = numbers = 0

    def count_module(*_: object) -> None:
        nonlocal modules
        modules += 1
        if modules > MOST_MODULES:
            raise _absurd(name, f"more than {MOST_MODULES:,} modules")

    def count_numbers(_: nn.Module, key: str, tensor: Tensor | None) -> None:
        nonlocal numbers
        numbers += 0 if tensor is None else tensor.numel()
        if most is not None and numbers > most:
            raise _absurd(name, f"{numbers:,} numbers up to its {key}, and {stored:,} bytes in its folder")

    hooks = [
        register_module_module_registration_hook(count_module),
        register_module_parameter_registration_hook(count_numbers),
        register_module_buffer_registration_hook(count_numbers),
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _absurd(name: str, have: str) -> ModelError:
    return ModelError(
        f"The configuration of {name} asks for a model that its files cannot fill.",
        have=have,
        fix="Look at its config.json: it is damaged, or of another model.",
    )
