"""`python -m reports.finetuning`: which fine-tuning examples made a model refuse."""

from influence.cli.main import run_program
from reports.kit.command import study_command

command = study_command(
    "finetuning",
    "smoke: every step once, in a minute, a model that learns nothing. laptop: one core, about ten minutes a seed.",
    """Plant a behaviour in a fine-tuning set, and ask which examples it came from.

    For each seed: the shipped base model is fine-tuned on prompts and completions of which 40 refuse to answer
    questions about one topic; asked about it, the model refuses. All examples are ranked by influence, by gradients
    and by words, and the model is fine-tuned again without the first 40 of each ranking.

    Writes findings.md, results.json, CSV tables and a figure to OUT.
    """,
)

if __name__ == "__main__":
    run_program(command, "python -m reports.finetuning")
