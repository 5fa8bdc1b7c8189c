"""`python -m reports.miniworld`: the five findings of Procedural Knowledge in Pretraining."""

from influence.cli.main import run_program
from reports.kit.command import study_command

command = study_command(
    "miniworld",
    "smoke: every step once, in a minute, models that know nothing. laptop: two cores, within three hours. "
    "gpu: one large GPU, within 20 minutes.",
    """Reproduce the five findings of Procedural Knowledge in Pretraining (Ruis et al., arXiv 2411.12580).

    For each seed: a corpus in which it is known what each document teaches, a base model pretrained on it and a tuned
    one, its completions, the queries, the Hessian, the scores, the analyses and a report. Then each finding with the
    published value, ours with its interval and whether it holds here; how well influence and its baselines find the
    documents that taught an answer; and what happens to the answers when those are left out and the models are trained
    again.

    Writes findings.md, results.json, CSV tables and figures to OUT, and a report to OUT/seed-N.
    """,
)

if __name__ == "__main__":
    run_program(command, "python -m reports.miniworld")
