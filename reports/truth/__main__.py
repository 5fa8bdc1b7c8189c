"""`python -m reports.truth`: which scores predict retraining, against a ceiling."""

from influence.cli.main import run_program
from reports.kit.command import study_command

command = study_command(
    "truth",
    "smoke: every step once, models that know nothing. laptop: one core, about half an hour.",
    """Measure which scores predict what retraining on random halves of a corpus does.

    Two worlds of the same documents: one whose model knows them by heart, one whose model saw them a few times. For
    each: the model with checkpoints, the scores in several settings, baselines and kronfluence's factors on the same
    checkpoint, and trainings on random halves with two seeds, which bound what a perfect method could reach.

    Writes findings.md, results.json and CSV tables to OUT. The same command after a kill goes on.
    """,
)

if __name__ == "__main__":
    run_program(command, "python -m reports.truth")
