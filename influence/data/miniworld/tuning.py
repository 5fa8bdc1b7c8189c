"""Pairs of prompt and completion that teach the format of the queries, and nothing that the queries ask for."""

from __future__ import annotations

from random import Random

from influence.data.miniworld.evaluation import STEP_BY_STEP
from influence.data.miniworld.problems import PROCEDURES, work
from influence.data.miniworld.world import COUNTS, World


def tuning_pairs(
    world: World,
    *,
    seed: int,
    n_problems: int = 1000,
    n_questions: int | None = None,
    counts: tuple[int, ...] = COUNTS[1:],
) -> list[tuple[str, str]]:
    """Prompts and completions for supervised fine-tuning, in the exact format of the queries.

    Args:
        world: Its facts for tuning are asked; its facts for asking never are. Problems are drawn from those that
            queries never use, and no withheld step is written out.
        seed: Chooses and orders the pairs.
        n_problems: Worked problems of each of the three procedures; the same problem may come again.
        n_questions: Questions with their answers; None: every fact once. More than there are facts repeats them.
        counts: Only facts stated in so many documents are asked: a model cannot know those stated in none.

    Returns:
        `(prompt, completion)` pairs in random order. Joined as they stand, they read like a query: the completion
        begins with a line break or a blank.
    """
    rng = Random(f"influence tuning {seed}")
    pairs = [
        (problem.question() + STEP_BY_STEP, "\n" + work(problem))
        for procedure in PROCEDURES
        for problem in (world.draw(procedure, rng) for _ in range(n_problems))
    ]
    facts = [fact for fact in world.facts() if fact.role == "tuning" and fact.count in counts]
    rng.shuffle(facts)
    wanted = len(facts) if n_questions is None or not facts else n_questions
    asked = (facts[index % len(facts)] for index in range(wanted))
    pairs += [(fact.ask(), " " + fact.state()) for fact in asked]
    rng.shuffle(pairs)
    return pairs
