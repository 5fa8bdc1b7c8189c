"""What a distillation did, from the answers of its models: accuracy against tokens, wordings, judges, a verdict.

Accuracies have Wilson intervals; tokens, and differences between models on the same inputs, have percentile bootstrap
intervals over inputs. All are 95 %.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from influence.analysis.grouping import mean_interval, wilson
from influence.errors import StoreError
from influence.store.formats.distillation import (
    AS_TUNED,
    DISTILLED,
    GOLD,
    MODELS,
    SYSTEM_1,
    SYSTEM_2,
    Verdict,
)

#: A distillation that closes less of the way from System 1 to System 2 has failed; one that closes so much has not.
FAILED_BELOW, DONE_FROM = 0.5, 0.9


def measures(answers: pd.DataFrame) -> pd.DataFrame:
    """One row a model, asked as it was tuned and in the order as given.

    Returns:
        Columns model, n, right, accuracy, accuracy_low, accuracy_high, unread (answers that could not be read), tokens,
        tokens_low, tokens_high (a mean an input).
    """
    return pd.DataFrame([{"model": model, **_measured(own)} for model, own in _models(_plain(answers))])


def wordings(answers: pd.DataFrame) -> pd.DataFrame:
    """One row a model and wording: the columns of `measures`. Of models that were asked in several wordings."""
    as_given = answers[~answers["swapped"]]
    rows = []
    for model, own in _models(as_given):
        if own["wording"].nunique() > 1:
            rows += [
                {"model": model, "wording": wording, **_measured(part)}
                for wording, part in own.groupby("wording", sort=False)
            ]
    return pd.DataFrame(rows)


def sensitivity(table: pd.DataFrame) -> pd.DataFrame:
    """One row a model of `wordings`: lowest, highest and mean accuracy, and the spread between the extremes."""
    rows = []
    for model, own in _models(table):
        low, high = own["accuracy"].min(), own["accuracy"].max()
        rows.append(
            {"model": model, "wordings": len(own), "lowest": low, "highest": high, "spread": high - low}
            | {"mean": own["accuracy"].mean()}
        )
    return pd.DataFrame(rows)


def judges(answers: pd.DataFrame) -> pd.DataFrame:
    """One row a judge and subset: all pairs, those on which System 2 contradicts itself, the others.

    A judge contradicts itself where swapping the responses changes its winner, or where no verdict can be read.

    Returns:
        Columns model, pairs_are, n, agreement (with people, over both orders; its interval draws pairs), agreement_low,
        agreement_high, inconsistent (share of pairs), inconsistent_low, inconsistent_high, unread (share of verdicts).
    """
    if not answers["swapped"].any():
        return pd.DataFrame()
    both = _both_orders(answers[answers["wording"] == AS_TUNED])
    teacher = both[both["model"] == SYSTEM_2].set_index("id")["inconsistent"]
    rows = []
    for model, own in _models(both):
        contradicted = own["id"].map(teacher)
        subsets = {
            "all": own,
            "System 2 contradicts itself": own[contradicted == True],  # noqa: E712
            "System 2 is consistent": own[contradicted == False],  # noqa: E712
        }
        rows += [
            {"model": model, "pairs_are": name, **_judged(part)}
            for name, part in subsets.items()
            if len(part)
        ]
    return pd.DataFrame(rows)


def _both_orders(answers: pd.DataFrame) -> pd.DataFrame:
    """One row a model and pair: whether the verdicts differ, the share that is right, the share that was not read."""
    rows = []
    for (model, id_), own in answers.groupby(["model", "id"], sort=False):
        if len(own) == 2:
            said = own["answer"].tolist()
            rows.append(
                {
                    "model": model,
                    "id": id_,
                    "inconsistent": said[0] != said[1] or said[0] is None,
                    "agreement": float(own["right"].astype(float).mean()),
                    "unread": float(own["answer"].isna().mean()),
                }
            )
    return pd.DataFrame(rows, columns=["model", "id", "inconsistent", "agreement", "unread"])


def _judged(verdicts: pd.DataFrame) -> dict[str, Any]:
    n, contradictions = len(verdicts), int(verdicts["inconsistent"].sum())
    low, high = wilson(contradictions, n)
    agreement = mean_interval(verdicts["agreement"])
    return {
        "n": n,
        "agreement": agreement["mean"],
        "agreement_low": agreement["low"],
        "agreement_high": agreement["high"],
        "inconsistent": contradictions / n,
        "inconsistent_low": low,
        "inconsistent_high": high,
        "unread": float(verdicts["unread"].mean()),
    }


def differences(answers: pd.DataFrame) -> pd.DataFrame:
    """Accuracy of the distilled model minus that of every other, on the same inputs.

    Returns:
        Columns minus (the other model), n, difference, low, high.
    """
    right = _plain(answers).pivot_table("right", "id", "model", aggfunc="first", sort=False)
    if DISTILLED not in right:
        return pd.DataFrame(columns=["minus", "n", "difference", "low", "high"])
    rows = []
    for model in (name for name in MODELS if name in right and name != DISTILLED):
        both = right[[DISTILLED, model]].dropna().astype(float)
        interval = mean_interval(both[DISTILLED] - both[model])
        rows.append(
            {"minus": model, "n": interval["n"], "difference": interval["mean"]}
            | {"low": interval["low"], "high": interval["high"]}
        )
    return pd.DataFrame(rows)


def verdict(answers: pd.DataFrame, way: str) -> Verdict:
    """The rule above, applied to accuracies as tuned.

    Args:
        way: How it was internalised, for the text.
    """
    table = measures(answers).set_index("model")
    missing = [name for name in (SYSTEM_1, SYSTEM_2, DISTILLED) if name not in table.index]
    if missing:
        raise StoreError(
            f"There are no answers of {' and '.join(missing)}.", fix="Run influence distill evaluate."
        )
    accuracy = table["accuracy"].to_dict()
    one, two, distilled = (float(accuracy[name]) for name in (SYSTEM_1, SYSTEM_2, DISTILLED))
    closed = (distilled - one) / (two - one) if two > one else None
    if not _better(answers, SYSTEM_2, SYSTEM_1):
        text = f"System 2 ({two:.1%}) is not measurably better than System 1 ({one:.1%}): there is nothing to gain."
        return Verdict(outcome="nothing to gain", closed=closed, text=text)
    assert closed is not None
    numbers = f"System 1 {one:.1%}, System 2 {two:.1%}, distilled {distilled:.1%}: {closed:.0%} of the way."
    if closed >= DONE_FROM or (closed >= FAILED_BELOW and not _better(answers, SYSTEM_2, DISTILLED)):
        return Verdict(outcome="internalised", closed=closed, text=f"Internalised. {numbers}")
    if closed >= FAILED_BELOW:
        return Verdict(outcome="partly", closed=closed, text=f"Partly internalised. {numbers}")
    advice = _advice(answers, way, accuracy.get(GOLD))
    return Verdict(outcome="failed", closed=closed, text=f"Failed. {numbers} {advice}")


def _advice(answers: pd.DataFrame, way: str, gold: float | None) -> str:
    """What to do about a failure, by what was run."""
    if gold is not None and not _better(answers, GOLD, SYSTEM_1):
        return (
            f"The tuning failed, whatever its targets: on the right answers it taught no more ({gold:.1%}). Tune with "
            "another --lr or more --epochs, or a larger model"
            + ("; or remove the trace step by step: --way stepwise." if way == "answer-only" else ".")
        )
    if way == "stepwise":
        return "Remove the trace more slowly (a smaller --delta), or train longer on more inputs."
    if way == "context":
        return "Its own answers, judged with the trace in context, did not teach this procedure. Try --way stepwise."
    return (
        "Answers alone do not teach this procedure, as the paper found for arithmetic. Remove the trace step by step "
        "instead: influence distill tune --way stepwise."
    )


def _better(answers: pd.DataFrame, one: str, other: str) -> bool:
    """Whether a model is measurably more accurate than another on the same inputs."""
    right = _plain(answers).pivot_table("right", "id", "model", aggfunc="first", sort=False)
    both = right[[one, other]].dropna().astype(float)
    return mean_interval(both[one] - both[other])["low"] > 0


def _plain(answers: pd.DataFrame) -> pd.DataFrame:
    """Asked as tuned, in the order as given, with a right answer that is known."""
    chosen = answers[(answers["wording"] == AS_TUNED) & ~answers["swapped"] & answers["right"].notna()]
    return chosen.astype({"right": bool})


def _models(table: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    return [(str(model), own) for model, own in table.groupby("model", sort=False)] if len(table) else []


def _measured(answers: pd.DataFrame) -> dict[str, Any]:
    n, right = len(answers), int(answers["right"].astype(bool).sum())
    low, high = wilson(right, n)
    tokens = mean_interval(np.asarray(answers["tokens"], np.float64))
    return {
        "n": n,
        "right": right,
        "accuracy": right / n,
        "accuracy_low": low,
        "accuracy_high": high,
        "unread": int(answers["answer"].isna().sum()),
        "tokens": tokens["mean"],
        "tokens_low": tokens["low"],
        "tokens_high": tokens["high"],
    }
