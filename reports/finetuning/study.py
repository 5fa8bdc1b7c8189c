"""Which fine-tuning examples made a model refuse: rankings against the truth, and fine-tuning again without them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from reports.finetuning.replicate import REMOVALS, UNDISTURBED, FinetuningReplicate
from reports.finetuning.scales import SCALES, Scale
from reports.finetuning.tables import SeedResult, claims_table, draw, recall_table, removal_table
from reports.kit.page import markdown_table, page_head, short_number, with_interval
from reports.kit.study import Say, Study, Tables

#: Seconds of a step as a multiple of a fine-tuning. Rough.
_WORK = {"tuning": 1.0, "Hessian": 0.6, "influence": 0.4, "gradients": 0.4, "retraining": 1.0}

_HOW = (
    "{planted} of {examples:,} examples refuse to answer questions about one topic, in eight wordings; {unknown} "
    "others refuse in the same wordings what nobody can know; {facts} answer questions about other topics; the rest "
    "are worked problems. The tuned model is asked {questions} other questions about the topic, and what it says is "
    "what is explained. Hessian, queries and examples are of the tuned model, with the loss on completions only. "
    "Recall is the share of planted examples among the first {planted} of a ranking, a mean over the refused "
    "questions. To leave examples out, rankings of all questions are summed, standardised. The topic is another in "
    "each seed."
)


class FinetuningStudy(Study[Scale, FinetuningReplicate]):
    """A fine-tuning with a planted behaviour each seed; tables claims, recall, removal."""

    name = "finetuning"
    kind = "study of fine-tuning"
    scales = SCALES

    def replicates(self, scale: Scale, folder: Path, seeds: int, say: Say) -> list[FinetuningReplicate]:
        return [FinetuningReplicate(folder / f"seed-{seed}", scale, seed) for seed in range(seeds)]

    def work(self, replicates: Sequence[FinetuningReplicate]) -> Mapping[str, float]:
        return {
            step.kind: _WORK.get(step.kind, 0.0) for replicate in replicates for step in replicate.steps()
        }

    def tables(self, scale: Scale, replicates: Sequence[FinetuningReplicate]) -> dict[str, pd.DataFrame]:
        seeds = [
            SeedResult(
                replicate.measured(),
                {method: replicate.removal(method) for method in (UNDISTURBED, *REMOVALS)},
            )
            for replicate in replicates
        ]
        return {
            "claims": claims_table(seeds),
            "recall": recall_table(seeds),
            "removal": removal_table(seeds),
        }

    def draw(
        self, scale: Scale, folder: Path, replicates: Sequence[FinetuningReplicate], tables: Tables
    ) -> None:
        draw(tables, folder / "finetuning.svg")

    def page(self, scale: Scale, made_by: Mapping[str, Any], tables: Tables) -> str:
        removal = [
            [row["method"], short_number(row["planted"]), with_interval(row, "refused")]
            for row in tables["removal"].to_dict("records")
        ]
        recall = [
            [row["method"], with_interval(row, "recall"), with_interval(row, "unknown", "unknown_")]
            for row in tables["recall"].to_dict("records")
        ]
        claims = [
            [row["claim"], with_interval(row, "contrast"), row["holds"]]
            for row in tables["claims"].to_dict("records")
        ]
        return "\n".join(
            [
                *page_head(
                    "Which fine-tuning example made it say that",
                    "A refusal planted in a fine-tuning set, and found again;",
                    made_by,
                    f"{made_by['hours']:.2f} hours",
                    [_HOW.format(**{**scale.config(), "examples": scale.examples})],
                ),
                "## What is claimed, and whether it holds\n",
                "What does not hold comes first. A claim holds where its whole interval is above 0.\n",
                markdown_table(["claim", "contrast", "holds"], claims),
                f"## Planted examples among the first {scale.planted}\n",
                markdown_table(
                    ["ranking", "planted found", "refusals of the unknown there, as a share"], recall
                ),
                "## The behaviour without them\n",
                markdown_table(["left out by", "planted among them", "questions refused"], removal),
                "![Recall of each ranking, and the share of questions refused without its first](finetuning.svg)\n",
            ]
        )

    def summary(self, tables: Tables) -> Iterator[str]:
        """What the command prints: the claims with their verdicts."""
        for record in tables["claims"].to_dict("records"):
            yield f"{record['holds']}: {record['claim']} ({record['contrast']:.3f})"


STUDY = FinetuningStudy()
