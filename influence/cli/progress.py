"""What a command says on stderr while it works: messages, and progress for calls that are told how far they are."""

from __future__ import annotations

import logging

import click

from influence.errors import plain
from influence.progress import Progress


class _Messages(logging.Handler):
    """Prints each message as a line on stderr."""

    def emit(self, record: logging.LogRecord) -> None:
        click.echo(plain(self.format(record)), err=True)


def show_messages(quiet: bool = False) -> None:
    """Print the messages of this package on stderr; with `quiet` only errors, and no progress either."""
    logger = logging.getLogger("influence")
    logger.setLevel(logging.ERROR if quiet else logging.INFO)
    logger.handlers = [_Messages()]
    logger.propagate = False


class Bar:
    """Progress that begins once the first are done, and anew when the total or what is done changes.

    Args:
        unit: What is counted.
    """

    def __init__(self, unit: str) -> None:
        self._unit = unit
        self._progress: Progress | None = None

    def __enter__(self) -> Bar:
        return self

    def __call__(self, done: int, total: int, what: str = "") -> None:
        """Set how many of all are done."""
        if self._progress is None or (self._progress.title, self._progress.total) != (what, total):
            self.__exit__()
            self._progress = Progress(what, total, done - 1, self._unit)
        self._progress.move_to(done)

    def __exit__(self, *error: object) -> None:
        if self._progress is not None:
            self._progress.__exit__(None, None, None)
