"""`python -m reports.stages`: which documents a model leans on while it internalises its chain of thought."""

from influence.cli.main import run_program
from reports.kit.command import study_command

command = study_command(
    "stages",
    "smoke: every step once, in half a minute, models that know nothing. laptop: one core, about half an hour a "
    "seed; parity.",
    """Study which training documents a model leans on while it internalises its chain of thought.

    For each seed: stepwise internalisation, and two controls that see as many examples (no chain of thought, the whole
    chain); scores of the task's own examples in several forms at every stage, and probes. Then whether influence moves
    from documents with the answer to documents with the procedure, with the stages in shuffled order beside it.

    Writes findings.md, results.json and CSV tables to OUT, and a page to OUT/seed-N.
    """,
)

if __name__ == "__main__":
    run_program(command, "python -m reports.stages")
