"""Errors a user can act on: what is wrong, what was found, what to do next."""

from __future__ import annotations


class InfluenceError(Exception):
    """Base of every error this package raises on purpose.

    Args:
        message: What is wrong and where, in one sentence.
        have: What was found, if that helps.
        fix: What to do next, if we know.

    The command line prints these three and exits with `exit_code`, without a traceback.
    """

    exit_code = 2

    def __init__(self, message: str, *, have: str | None = None, fix: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.have = have
        self.fix = fix

    def __str__(self) -> str:
        parts = [self.message]
        if self.have:
            parts.append(f"  found: {self.have}")
        if self.fix:
            parts.append(f"  next:  {self.fix}")
        return "\n".join(parts)


class InputError(InfluenceError):
    """The user's data or arguments are not usable (queries, corpus, options)."""


class ModelError(InfluenceError):
    """The model cannot be loaded, or cannot be scored correctly as it is."""


class StoreError(InfluenceError):
    """A stored artefact is missing, damaged, or belongs to another run."""

    exit_code = 3


class ComputeError(InfluenceError):
    """A computation failed: a non-finite value, or no memory left even for one document."""

    exit_code = 4
