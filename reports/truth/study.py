"""Which scores predict what retraining on halves of a corpus does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from reports.kit.study import Say, Study, Tables
from reports.truth.replicate import TruthReplicate
from reports.truth.results import aims_table, findings_page, lds_of_worlds
from reports.truth.scales import SCALES, WORLDS, Scale


class TruthStudy(Study[Scale, TruthReplicate]):
    """Worlds whose models are trained again and again; tables lds and aims. `out/WORLD/seed-N` has all of a world."""

    name = "truth"
    kind = "study of retraining"
    scales = SCALES

    def replicates(self, scale: Scale, folder: Path, seeds: int, say: Say) -> list[TruthReplicate]:
        return [
            TruthReplicate(folder / world / f"seed-{seed}", scale, world, seed)
            for seed in range(seeds)
            for world in scale.epochs
        ]

    def where(self, replicate: TruthReplicate, seeds: int) -> str:
        return f"{WORLDS[replicate.world]}, seed {replicate.seed + 1} of {seeds}"

    def tables(self, scale: Scale, replicates: Sequence[TruthReplicate]) -> dict[str, pd.DataFrame]:
        lds = lds_of_worlds(replicates)
        return {"lds": lds, "aims": aims_table(lds)}

    def page(self, scale: Scale, made_by: Mapping[str, Any], tables: Tables) -> str:
        return findings_page(scale, made_by, tables)

    def summary(self, tables: Tables) -> Iterator[str]:
        """The aims and what was reached."""
        for row in tables["aims"].to_dict("records"):
            yield f"{row['world']}: {row['aim']}: {row['reached']}"


STUDY = TruthStudy()
