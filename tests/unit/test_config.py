"""Settings: names that do not exist, values of another type, and the help of each field."""

from __future__ import annotations

import tomllib
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import pytest

from influence.config import (
    FitConfig,
    IndexConfig,
    ScoreConfig,
    SearchConfig,
    field_help,
    from_mapping,
    settings,
)
from influence.errors import InputError

CONFIGS = [FitConfig, ScoreConfig, IndexConfig, SearchConfig]


@settings
@dataclass(frozen=True, kw_only=True, slots=True)
class Kinds:
    """One field of each kind.

    Attributes:
        name: A text.
        side: Which end: left
            or right.
        first, second: Two of a kind.
    """

    name: str = "a"
    side: Literal["left", "right"] = "left"
    first: float | None = None
    second: float | None = None
    rows: tuple[int, ...] = ()
    folder: Path = Path()


@pytest.mark.parametrize("config", CONFIGS)
def test_a_misspelt_setting_names_the_nearest(config: type[Any]) -> None:
    name = next(iter(field_help(config)))
    for make in (lambda: config(**{name + "s_": 1}), lambda: from_mapping(config, {name + "s_": 1})):
        with pytest.raises(InputError) as caught:
            make()
        assert caught.value.fix == f"Did you mean {name}?"


def test_a_setting_that_is_like_none_lists_them_all() -> None:
    with pytest.raises(InputError, match=r"no setting 'quux' in run\.toml") as caught:
        from_mapping(ScoreConfig, {"quux": 1}, "run.toml")
    assert caught.value.fix == "Use one of damping, max_length, windows, query_error, self_influence."
    with pytest.raises(InputError, match="no setting 'dampin'"):
        replace(ScoreConfig(), dampin=0.2)  # type: ignore[call-arg]


def test_toml_gives_what_the_constructor_takes() -> None:
    given = tomllib.loads('layers = ["*.up"]\ncovariance_tokens = 1\nwindows = true\nseed = 3')
    config = from_mapping(FitConfig, given)
    assert config == FitConfig(layers=("*.up",), covariance_tokens=1.0, windows=True, seed=3)
    assert isinstance(config.covariance_tokens, float)
    assert from_mapping(FitConfig, asdict(config)) == config
    kinds = from_mapping(Kinds, {"side": "right", "first": 2, "rows": [1, 2], "folder": "x"})
    assert kinds == Kinds(side="right", first=2.0, rows=(1, 2), folder=Path("x"))


@pytest.mark.parametrize(
    ("value", "takes"),
    [
        ({"side": "up"}, "one of 'left', 'right'"),
        ({"first": "2"}, "a number"),
        ({"first": True}, "a number"),
        ({"rows": 3}, "a list, each item a whole number"),
        ({"rows": [1, "2"]}, "a list, each item a whole number"),
        ({"rows": [True]}, "a list, each item a whole number"),
        ({"name": 3}, "a text"),
        ({"folder": 3}, "a path"),
    ],
)
def test_a_value_of_another_type_is_refused(value: dict[str, Any], takes: str) -> None:
    with pytest.raises(InputError, match=f"setting {next(iter(value))} in run.toml takes {takes}") as caught:
        from_mapping(Kinds, value, "run.toml")
    assert caught.value.have == repr(next(iter(value.values())))


@pytest.mark.parametrize("config", CONFIGS)
def test_each_field_has_help(config: type[Any]) -> None:
    for name, text in field_help(config).items():
        assert text.endswith("."), name
        assert "  " not in text


def test_help_is_that_of_the_docstring() -> None:
    assert field_help(Kinds) == {
        "name": "A text.",
        "side": "Which end: left or right.",
        "first": "Two of a kind.",
        "second": "Two of a kind.",
        "rows": "",
        "folder": "",
    }

    @dataclass(frozen=True)
    class More(Kinds):
        """One field more.

        Attributes:
            name: Another text.
        """

    assert field_help(More)["name"] == "Another text."
    assert field_help(More)["side"] == "Which end: left or right."
