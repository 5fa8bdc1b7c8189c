"""Compare every causal type of transformers with autograd: `make families`. Slow, in one process, resumable.

Results are kept in `reports/families/results.jsonl`, one line per type and selection; the table is written at the end.
"""

from __future__ import annotations

import collections
import json
import sys
import textwrap
from dataclasses import asdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(Path(__file__).parent)]
REPORT = ROOT / "reports" / "families"
SELECTIONS = ("mlp", "all")
VERDICTS = ("right", "wrong", "refused", "traceback", "not built")


def main() -> None:
    """Compare what has no line yet, then write the table."""
    import torch
    import transformers
    from build import TYPES
    from compare import outcomes

    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    lines = REPORT / "results.jsonl"
    lines.parent.mkdir(exist_ok=True)
    records = [json.loads(line) for line in lines.read_text().splitlines()] if lines.exists() else []
    present = {(record["type"], record["layers"]) for record in records}
    with lines.open("a") as file:
        for kind in sys.argv[1:] or TYPES:
            missing = [selection for selection in SELECTIONS if (kind, selection) not in present]
            for selection, found in zip(missing, outcomes(kind, missing), strict=True):
                result = asdict(found)
                record = {"type": kind, "layers": selection, "tracked": result.pop("layers"), **result}
                print(
                    kind,
                    selection,
                    record["verdict"],
                    f"{record['difference']:.1e}",
                    record["reason"],
                    flush=True,
                )
                records.append(record)
                file.write(json.dumps(record) + "\n")
                file.flush()
    (REPORT / "README.md").write_text(table(records, transformers.__version__), encoding="utf-8")


def table(records: list[dict[str, object]], version: str) -> str:
    """The page; its lines have at most 120 characters."""
    counts = {s: collections.Counter(r["verdict"] for r in records if r["layers"] == s) for s in SELECTIONS}
    head = "| selection | " + " | ".join(VERDICTS) + " |\n|---|" + "---|" * len(VERDICTS)
    rows = [
        f"| `{s}` | " + " | ".join(str(counts[s][verdict]) for verdict in VERDICTS) + " |" for s in SELECTIONS
    ]
    by_type: dict[object, dict[object, dict[str, object]]] = {}
    for record in records:
        by_type.setdefault(record["type"], {})[record["layers"]] = record
    rows_of_types, reasons = [], {}
    for kind in sorted(by_type, key=str):
        both = [by_type[kind].get(selection) for selection in SELECTIONS]
        rows_of_types.append(f"| {kind} | {' | '.join(map(_cell, both))} |")
        reason = next((str(record["reason"]) for record in both if record and record["reason"]), "")
        if reason:
            reasons[kind] = reason.partition(" linear layers:")[0]
    return "\n".join(
        [
            "# Which families are scored right",
            "",
            f"Made by `make families` with transformers {version}: a tiny random model of every type of",
            "`MODEL_FOR_CAUSAL_LM_MAPPING`, all weights perturbed, in float32. Gradients of each tracked layer,",
            "norms and identity dot products of documents of 7 to 44 tokens, padded in one batch and alone, are",
            "compared with plain autograd on a batch of one document. Where a refusal names options,",
            "they are followed. The number is the largest relative difference.",
            "",
            head,
            *rows,
            "",
            "| type | `mlp` | `all` |",
            "|---|---|---|",
            *rows_of_types,
            "",
            "## Why not",
            "",
            *(
                line
                for kind, reason in reasons.items()
                for line in textwrap.wrap(f"- {kind}: {reason}", 120, subsequent_indent="  ")
            ),
            "",
        ]
    )


def _cell(record: dict[str, object] | None) -> str:
    if record is None:
        return ""
    if record["verdict"] == "right":
        return f"right {record['difference']:.0e}"
    return str(record["verdict"]) + (f"; as advised: {record['followed']}" if record["followed"] else "")


if __name__ == "__main__":
    main()
