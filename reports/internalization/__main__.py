"""`python -m reports.internalization`: the comparison and the ablations of From Explicit CoT to Implicit CoT."""

from influence.cli.main import run_program
from reports.kit.command import study_command

command = study_command(
    "internalization",
    "smoke: every step once, in half a minute, models that know nothing. laptop: two cores, hours in the "
    "background; parity and 2×2 multiplication. gpu: one large GPU; 4×4 multiplication, two sizes of model.",
    """Reproduce the comparison and the ablations of From Explicit CoT to Implicit CoT (Deng et al., arXiv 2405.14838).

    For each task and seed: no chain of thought, explicit chain of thought, stepwise internalisation linear in time and
    triggered by the loss, ICoT-KD; then without smoothing, without optimizer reset, from the right, with a larger Δ,
    with kept positions. Every kept stage answers unseen problems. Then a table of methods with accuracy and speed,
    curves of accuracy against removed tokens, and each effect with the published value, ours with its interval and
    whether it appears here.

    Writes findings.md, results.json, CSV tables and figures to OUT; each run, and a page of each stepwise one, to
    OUT/TASK/seed-N.
    """,
)

if __name__ == "__main__":
    run_program(command, "python -m reports.internalization")
