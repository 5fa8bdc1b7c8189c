"""`influence distill`."""

from __future__ import annotations

import click


class _Steps(click.Group):
    """Runs all steps where none is named: `influence distill --system rar2 …` is `influence distill run …`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if "run" in self.commands and args and args[0].startswith("-") and args[0] not in ("-h", "--help"):
            args = ["run", *args]
        return super().parse_args(ctx, args)


@click.group(cls=_Steps)
def distill() -> None:
    """Distil System 2 into System 1 (arXiv 2407.06023).

    System 2 answers unlabelled inputs with intermediate text; its answers are filtered without labels; the same model
    is tuned to give them at once.
    """
