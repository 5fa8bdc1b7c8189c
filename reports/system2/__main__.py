"""`python -m reports.system2`: the distillations and controls of Distilling System 2 into System 1."""

from influence.cli.main import run_program
from reports.kit.command import study_command

command = study_command(
    "system2",
    "smoke: every step once, in half a minute, a model that knows next to nothing. laptop: one core, hours; "
    "last letters, coin flip, multiplication.",
    """Reproduce the distillations and controls of Distilling System 2 into System 1 (Yu et al., arXiv 2407.06023).

    For each seed: a small model is trained on text until its System 2 (rephrase, then answer) is good and its System 1
    poor. Then, for each task, System 2 on unlabelled inputs, a majority, tuning, the three controls, and the other
    internalisers; for multiplication the failure of answers alone, and stepwise removal.

    Writes findings.md, results.json and CSV tables to OUT, and each distillation with its report to OUT/seed-N/TASK.
    """,
)

if __name__ == "__main__":
    run_program(command, "python -m reports.system2")
