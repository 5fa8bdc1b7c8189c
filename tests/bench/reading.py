"""How often answers are read, and read rightly, in logs of real models and in GSM8K's own solutions.

    python tests/bench/reading.py ../shared/data

Prints one line a log: its texts, how many were read, and how many of these give the log's answer. The solutions of four
models to GSM8K are labelled: it prints how often the reading agrees with the label.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

from influence.data.tasks.extract import read_answer

_MODELS = ("6b_finetuning", "6b_verification", "175b_finetuning", "175b_verification")


def records(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a JSONL file."""
    with path.open(encoding="utf-8") as file:
        yield from map(json.loads, file)


def value(text: str) -> Fraction:
    """The number at the end of a published answer."""
    return Fraction(re.split(r"####|A:", text)[-1].strip().replace(",", "").replace("$", ""))


def report(name: str, answers: list[tuple[str | None, bool]]) -> None:
    """Print how many answers were read and how many are right."""
    read = sum(answer is not None for answer, _ in answers)
    right = sum(is_right for _, is_right in answers)
    print(f"{name}: {len(answers):,} texts, {read:,} read, {right:,} right, {read - right:,} wrong")


def number(text: str, gold: Fraction) -> tuple[str | None, bool]:
    """The number read in a text, and whether it is the gold one."""
    answer = read_answer(text, "number")
    return answer, answer is not None and Fraction(answer) == gold


def main(data: Path) -> None:
    """Read every log."""
    agree, count = 0, 0
    for record in records(data / "gsm8k" / "example_model_solutions.jsonl"):
        for model in _MODELS:
            _, right = number(record[model]["solution"], value(record["ground_truth"]))
            agree += right == record[model]["is_correct"]
            count += 1
    print(f"GSM8K, solutions of four models: {agree:,} of {count:,} readings agree with the label")
    equations, worded = [], []
    for split in ("train", "test"):
        for record in records(data / "gsm8k" / f"{split}.jsonl"):
            solution, gold = record["answer"].rpartition("####")[0], value(record["answer"])
            marked = re.findall(r"<<(.*?)>>", solution)
            if (
                marked
                and re.fullmatch(r"-?[\d.]+", result := marked[-1].split("=")[-1])
                and Fraction(result) == gold
            ):
                equations.append(number(f"The answer is {marked[-1]}.", gold))
            worded.append(number(re.sub("<<.*?>>", "", solution), gold))
    report("GSM8K, its own last equation after a declaration", equations)
    report("GSM8K, its own solution without the last line", worded)
    for path in sorted((data / "rar").glob("log*/*.json")):
        answers = []
        for record in records(path):
            quoted = re.search(r'"([^"]+)"', record["question"])
            words = quoted[1].split() if quoted else ()
            answer = read_answer(record["response"], "letters" if quoted else "yes-no", words)
            answers.append((answer, answer == record["answer"].lower()))
        report(f"{path.parent.name}/{path.stem}", answers)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
