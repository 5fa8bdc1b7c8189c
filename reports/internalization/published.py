"""What the paper found: its tables, and each effect with what stands for it here and the contrast that it rests on.

Deng, Choi, Shieber, arXiv 2405.14838, table 2 and figure 3. Its numbers are the only ones here that are typed by hand.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from reports.internalization.metrics import (
    Runs,
    curve_accuracy,
    curve_difference,
    end_accuracy,
    end_difference,
    end_speed,
)
from reports.internalization.scales import ABLATIONS, MIRRORED, TaskRuns
from reports.kit.claims import Claim

#: Problem -> method -> accuracy and relative speed, GPT-2 small; of GSM8K only the accuracy is compared here.
PUBLISHED: dict[str, dict[str, tuple[float, float | None]]] = {
    "4×4": {
        "explicit-cot": (1.00, 0.17),
        "no-cot": (0.29, 1.0),
        "icot-kd": (0.97, 0.67),
        "stepwise": (1.00, 1.02),
    },
    "5×5": {
        "explicit-cot": (1.00, 0.14),
        "no-cot": (0.01, 1.0),
        "icot-kd": (0.10, 0.71),
        "stepwise": (0.95, 1.00),
    },
    "7×7": {"explicit-cot": (1.00, 0.12), "no-cot": (0.00, 1.0), "stepwise": (0.95, 1.00)},
    "9×9": {"explicit-cot": (1.00, 0.09), "no-cot": (0.00, 1.0), "stepwise": (0.99, 1.00)},
    "GSM8K": {
        "explicit-cot": (0.41, None),
        "no-cot": (0.13, None),
        "icot-kd": (0.20, None),
        "stepwise": (0.30, None),
    },
}

#: A difference in accuracy or relative speed that counts as none.
MARGIN, SPEED_MARGIN = 0.05, 0.1

#: Ablation -> what the paper shows of it, at 7×7.
_SHOWN = {
    "no-smoothing": "7×7: falls to 0 near 50 removed tokens and stays there",
    "no-reset": "7×7: falls to 0 near 100 removed tokens",
    "right-side": "7×7: right is much worse than left",
    "larger-delta": "7×7: Δ = 16 does not converge",
}


@dataclass(frozen=True)
class Effect(Claim[Runs]):
    """A claim of the paper, with the runs it is measured on and what they must have reached for it to say anything.

    Attributes:
        needs: Runs that it is measured on.
        solves: The run that must solve more than no CoT by `MARGIN` for the contrast to say anything.
        at_last: Whether it must at its last stage; else at any.
        unsolved: Whether no CoT must leave the task unsolved, by `MARGIN` below 1, for it to say anything.
    """

    needs: tuple[str, ...] = ()
    solves: str | None = None
    at_last: bool = True
    unsolved: bool = False


def effects(task: TaskRuns) -> list[Effect]:
    """Every effect, in the order of the paper, whether the task has the runs for it or not."""
    wished = "none: the paper wishes for it"
    kd_published = "4×4: 0.97 against 0.29; 5×5: 0.10 against 0.01"
    return [
        *_methods("stepwise", "stepwise"),
        *_methods("adaptive", "stepwise, loss-triggered"),
        _more("adaptive", "stepwise", "accuracy of stepwise, loss-triggered", wished),
        _more("icot-kd", "no-cot", "accuracy of ICoT-KD", kd_published),
        _slower("explicit-cot", "explicit CoT", "4×4: 0.17; 5×5: 0.14"),
        _slower("icot-kd", "ICoT-KD", "4×4: 0.67; 5×5: 0.71"),
        *(effect for name in _shown(task) for effect in _ablation(name, task.changed_by(name))),
    ]


def _methods(name: str, words: str) -> list[Effect]:
    of = "" if name == "stepwise" else "linear: "
    accuracy = f"accuracy of {words}"
    return [
        _more(name, "no-cot", accuracy, f"{of}4×4: 1.00 against 0.29; 5×5: 0.95 against 0.01"),
        _at_least(name, "explicit-cot", accuracy, f"{of}4×4: 1.00 against 1.00; 5×5: 0.95 against 1.00"),
        _more(name, "icot-kd", accuracy, f"{of}4×4: 1.00 against 0.97; 5×5: 0.95 against 0.10"),
        Effect(
            f"at most {SPEED_MARGIN:g} below no CoT",
            lambda runs: end_speed(runs, name).minus(1 - SPEED_MARGIN),
            f"speed of {words}, no CoT = 1",
            f"{of}4×4: 1.02; 5×5: 1.00",
            partial(end_speed, name=name),
            needs=(name, "no-cot"),
        ),
    ]


def _more(more: str, less: str, subject: str, published: str) -> Effect:
    return Effect(
        f"more than {'no CoT' if less == 'no-cot' else less}",
        partial(end_difference, more=more, less=less),
        subject,
        published,
        partial(end_accuracy, name=more),
        needs=(more, less, "no-cot"),
        unsolved=True,
    )


def _at_least(name: str, other: str, subject: str, published: str) -> Effect:
    """Not worse than `other` by more than the margin."""
    return Effect(
        f"at most {MARGIN:g} below {other}",
        lambda runs: end_difference(runs, name, other).minus(-MARGIN),
        subject,
        published,
        partial(end_accuracy, name=name),
        needs=(name, other, "no-cot"),
        solves=other,
    )


def _slower(name: str, words: str, published: str) -> Effect:
    return Effect(
        "slower than no CoT",
        lambda runs: end_speed(runs, name).times(-1).minus(-1),
        f"speed of {words}, no CoT = 1",
        published,
        partial(end_speed, name=name),
        needs=(name, "no-cot"),
    )


def _shown(task: TaskRuns) -> list[str]:
    """Each of the paper's ablations, or what stands for it in this task."""
    mirrored = {name: other for name, other in MIRRORED.items() if other in task.ablations}
    return [mirrored.get(name, name) for name in ABLATIONS]


def _ablation(name: str, base: str) -> list[Effect]:
    at_end = partial(
        Effect, value=partial(end_accuracy, name=name), needs=(name, base, "no-cot"), solves=base
    )
    if name in ("kept-positions", "moved-positions"):
        kept, moved = (name, base) if name == "kept-positions" else (base, name)
        return [
            at_end(
                f"kept at most {MARGIN:g} below moved",
                lambda runs: end_difference(runs, kept, moved).minus(-MARGIN),
                f"accuracy with {name.replace('-', ' ')}, all removed",
                "kept: steadier, same end",
            )
        ]
    if name == "left-side":
        return [
            at_end(
                f"more than {base}",
                partial(end_difference, more=name, less=base),
                "accuracy with left-side, all removed",
                _SHOWN["right-side"],
            )
        ]
    return [
        at_end(
            f"less than {base}",
            partial(end_difference, more=base, less=name),
            f"accuracy with {name}, all removed",
            _SHOWN[name],
        ),
        Effect(
            f"less than {base}",
            partial(curve_difference, more=base, less=name),
            f"accuracy with {name}, mean over removal",
            _SHOWN[name],
            partial(curve_accuracy, name=name, other=base),
            needs=(name, base, "no-cot"),
            solves=base,
            at_last=False,
        ),
    ]
