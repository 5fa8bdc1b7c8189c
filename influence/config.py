"""Settings of a run, frozen: those that change its result. Everything else is an argument of the call."""

from __future__ import annotations

import difflib
import functools
import inspect
import types
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from influence.errors import InputError

T = TypeVar("T")

#: Sketches of an index, see `influence.curvature.sketch`.
SKETCHES = ("lowrank", "random", "weighted", "data")


def settings(cls: type[T]) -> type[T]:
    """Let a keyword-only dataclass refuse names that are none of its fields, with the nearest name as advice.

    Raises:
        InputError: on construction, where a setting does not exist.
    """
    initialise: Any = cls.__init__

    @functools.wraps(initialise)
    def checked(self: T, **given: Any) -> None:
        _require_fields(cls, given)
        initialise(self, **given)

    setattr(cls, "__init__", checked)  # noqa: B010  (mypy refuses the plain assignment)
    return cls


def field_help(cls: type[Any]) -> dict[str, str]:
    """Return one line of help for each field: its text in the `Attributes:` section of the class's docstring.

    A field of a base class has the base's text unless the class describes it again.
    """
    texts: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        _, _, section = inspect.cleandoc(base.__dict__.get("__doc__") or "").partition("\nAttributes:\n")
        names: list[str] = []
        for line in section.splitlines():
            if not line.startswith("    "):
                break
            if not line.startswith("     "):
                head, _, text = line.strip().partition(": ")
                names = [name.strip() for name in head.split(",")]
                texts |= dict.fromkeys(names, text)
            else:
                texts |= {name: f"{texts[name]} {line.strip()}" for name in names}
    return {field.name: texts.get(field.name, "") for field in fields(cls)}


def from_mapping(cls: type[T], mapping: Mapping[str, Any], where: str = "") -> T:
    """Make settings from names and values as TOML or JSON gives them: a list for a tuple, an integer for a float.

    Args:
        cls: A dataclass of settings.
        where: Name of the file, for the errors.

    Raises:
        InputError: a name is no field, or a value has another type than its field.
    """
    _require_fields(cls, mapping, where)
    hints = get_type_hints(cls)
    return cls(**{name: _value(name, hints[name], value, where) for name, value in mapping.items()})


def _require_fields(cls: type[Any], given: Mapping[str, Any], where: str = "") -> None:
    names = [field.name for field in fields(cls)]
    for name in given:
        if name not in names:
            nearest = difflib.get_close_matches(name, names, n=1)
            raise InputError(
                f"There is no setting {name!r}{f' in {where}' if where else ''}.",
                fix=f"Did you mean {nearest[0]}?" if nearest else f"Use one of {', '.join(names)}.",
            )


def _value(name: str, hint: Any, value: Any, where: str) -> Any:
    """The value as the field has it; InputError where it is of another type."""
    converted = _converted(hint, value)
    if converted is _UNFIT:
        raise InputError(
            f"The setting {name}{f' in {where}' if where else ''} takes {_described(hint)}.", have=repr(value)
        )
    return converted


_UNFIT = object()


def _converted(hint: Any, value: Any) -> Any:
    """The value as a field of this type has it, or `_UNFIT`."""
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        values = (_converted(part, value) for part in get_args(hint))
        return next((converted for converted in values if converted is not _UNFIT), _UNFIT)
    if origin is Literal:
        return value if value in get_args(hint) else _UNFIT
    if origin is tuple and isinstance(value, (list, tuple)):
        items = tuple(_converted(get_args(hint)[0], item) for item in value)
        return items if _UNFIT not in items else _UNFIT
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if hint is Path and isinstance(value, str):
        return Path(value)
    plain = isinstance(hint, type) and isinstance(value, hint)
    return value if plain and (hint is bool or not isinstance(value, bool)) else _UNFIT


def _described(hint: Any) -> str:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return " or ".join(_described(part) for part in arguments if part is not type(None))
    if origin is Literal:
        return "one of " + ", ".join(map(repr, arguments))
    if origin is tuple:
        return f"a list, each item {_described(arguments[0])}"
    names = {str: "a text", int: "a whole number", float: "a number", bool: "true or false", Path: "a path"}
    return names.get(hint, str(hint))


@settings
@dataclass(frozen=True, kw_only=True, slots=True)
class FitConfig:
    """Settings of a Hessian fit.

    Attributes:
        layers: Tracked layers: `mlp`, `experts`, `router`, `all`, `adapter`, `head`, `embedding`, or globs over layer
            names; none means `adapter` in a model that has one, and else `mlp`.
        exclude_layers: Globs over names of layers, or of modules of experts, that are not tracked.
        max_length: Most tokens of a document.
        windows: Cut longer documents into windows instead of truncating them.
        documents: Fit on at most this many documents, drawn uniformly.
        covariance_tokens: Share of the tokens that the covariances are summed over, drawn at random: less time, more
            noise.
        covariance_blocks: Blocks on the diagonal of each covariance that are kept, 1 keeps it whole: less memory and
            time, coarser.
        expert_covariances: Whether each expert has its `own` covariances, or all of a layer have `shared` ones, each
            expert with its own corrected eigenvalues: less memory and time, coarser.
        empirical: Use the corpus's own labels (empirical Fisher) instead of labels sampled from the model.
        seed: Seed of the draw of documents, of tokens and of labels.
        backend: Program that computes the fit: `influence` or `kronfluence`.
    """

    layers: tuple[str, ...] = ()
    exclude_layers: tuple[str, ...] = ()
    max_length: int = 512
    windows: bool = False
    documents: int = 100_000
    covariance_tokens: float = 1.0
    covariance_blocks: int = 1
    expert_covariances: Literal["own", "shared"] = "own"
    empirical: bool = False
    seed: int = 0
    backend: Literal["influence", "kronfluence"] = "influence"

    def __post_init__(self) -> None:
        _positive("max_length", self.max_length)
        _positive("documents", self.documents)
        _positive("covariance_blocks", self.covariance_blocks)
        if self.backend not in ("influence", "kronfluence"):
            raise InputError(f"There is no backend {self.backend!r}.", fix="Use influence or kronfluence.")
        if self.expert_covariances not in ("own", "shared"):
            raise InputError(
                f"There are no expert covariances {self.expert_covariances!r}.", fix="Use own or shared."
            )
        if not 0 < self.covariance_tokens <= 1:
            raise InputError(
                "covariance_tokens is a share, above 0 and at most 1.", have=str(self.covariance_tokens)
            )
        if self.covariance_tokens < 1 and self.backend != "influence":
            raise InputError(
                "kronfluence sums covariances over all tokens.",
                fix="Leave out --covariance-tokens, or --backend kronfluence.",
            )
        if self.covariance_blocks > 1 and self.backend != "influence":
            raise InputError(
                "kronfluence keeps whole covariances.",
                fix="Leave out --covariance-blocks, or --backend kronfluence.",
            )

    def identity(self) -> dict[str, Any]:
        """Return what a manifest records.

        Settings newer than a stored fit are left out at their old default, so that its manifest still compares equal.
        """
        recorded = asdict(self)
        for name in ("covariance_tokens", "covariance_blocks"):
            if recorded[name] == 1:
                del recorded[name]
        if not self.exclude_layers:
            del recorded["exclude_layers"]
        if self.expert_covariances == "own":
            del recorded["expert_covariances"]
        return recorded


@settings
@dataclass(frozen=True, kw_only=True, slots=True)
class ScoreConfig:
    """Settings of a scoring run.

    Attributes:
        damping: Relative damping: each layer's is this × its mean eigenvalue.
        max_length: Most tokens of a document, and of a query.
        windows: Cut longer documents into windows instead of truncating them.
        query_error: Keep each query at the least rank that loses at most this share of its squared norm, as documents
            see it, from 0.005 on in eight bits: less memory, and scores whose R with the exact ones is measured and
            recorded. None keeps queries exact.
        self_influence: Also compute gᵀ (H + damping)⁻¹ g of each document: large for mislabelled and outlying ones.
    """

    damping: float = 0.1
    max_length: int = 512
    windows: bool = False
    query_error: float | None = None
    self_influence: bool = False

    def __post_init__(self) -> None:
        _positive("max_length", self.max_length)
        _positive("damping", self.damping)
        if self.query_error is not None and not 0 < self.query_error < 1:
            raise InputError("query_error is a share, between 0 and 1.", have=str(self.query_error))


@settings
@dataclass(frozen=True, kw_only=True, slots=True)
class IndexConfig:
    """Settings of an index.

    Attributes:
        kind: Kind of sketch: `lowrank` keeps the leading singular vectors of each document; `random`, `weighted` (by
            the Hessian) and `data` (by gradients seen) are projections.
        bytes: Most bytes of a document's code, to 65536.
        bits: Bits of each of its numbers, 1, 4 or 8: fewer bits keep more numbers in the same bytes.
        damping: Relative damping: each layer's is this × its mean eigenvalue.
        max_length: Most tokens of a document, and of a query.
        windows: Cut longer documents into windows instead of truncating them.
        seed: Seed of the random rows and of the documents drawn.
    """

    kind: Literal["lowrank", "random", "weighted", "data"] = "lowrank"
    bytes: int = 65536
    bits: Literal[1, 4, 8] = 4
    damping: float = 0.1
    max_length: int = 512
    windows: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        if self.kind not in SKETCHES:
            raise InputError(f"There is no sketch {self.kind!r}.", fix=f"Use one of {', '.join(SKETCHES)}.")
        _positive("damping", self.damping)
        sketch_numbers(self.bytes, self.bits)


@settings
@dataclass(frozen=True, kw_only=True, slots=True)
class SearchConfig:
    """Settings of a search of an index.

    Attributes:
        best: Part of the corpus that is scored exactly, all queries together. Below 5 % the estimates are cheaper too.
        by: Reading to retrieve by: `normed` (sketches of norm 1) or `dot`.
    """

    best: float = 0.02
    by: Literal["normed", "dot"] = "normed"

    def __post_init__(self) -> None:
        if not 0 < self.best <= 1:
            raise InputError(
                "The part of the corpus to score must be above 0 and at most all of it.", have=f"{self.best}"
            )
        if self.by not in ("normed", "dot"):
            raise InputError(f"There is no retrieval by {self.by!r}.", fix="Use normed or dot.")


#: Bits of a number in an index -> bytes that the quantiser needs beside the numbers of a document.
SKETCH_BITS = {1: 8, 4: 0, 8: 0}
_MOST_SKETCH_BYTES = 1 << 16


def sketch_numbers(bytes_per_document: int, bits: int) -> int:
    """Return how many numbers of a sketch fit into some bytes.

    Raises:
        InputError: more bytes than an index may take, too few for a number, or bits that no quantiser has.
    """
    if bits not in SKETCH_BITS:
        raise InputError(f"There is no quantiser of {bits} bits.", fix="Use 1, 4 or 8.")
    if bytes_per_document > _MOST_SKETCH_BYTES:
        raise InputError(
            f"An index takes at most {_MOST_SKETCH_BYTES:,} bytes a document.",
            have=f"{bytes_per_document:,}",
            fix="Lower --bytes; fewer --bits keep more numbers in the same bytes.",
        )
    count = (bytes_per_document - SKETCH_BITS[bits]) * 8 // bits
    if count < 8:
        raise InputError(f"{bytes_per_document} bytes a document hold no sketch.", fix="Use 4096 or more.")
    return count


def _positive(name: str, value: float) -> None:
    if not value > 0:
        raise InputError(f"{name} must be positive.", have=str(value))
