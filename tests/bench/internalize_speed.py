"""Speed of the stage loop beside a loop that works as the released code of stepwise internalisation does.

    python tests/bench/internalize_speed.py --task data/mult3 --model laptop --steps 1000 --batch-size 32

Both train the same model on the same number of examples under the same schedule, from nothing removed to everything;
tokens are counted without padding. The plain loop here behaves as the released one is known to: it shuffles examples of
all lengths, finds the separators and cuts the chain of each example by itself with Python numbers taken from the
device, pads the batch again, computes the logits of every token and their accuracy at each step, makes a new optimizer
at each removal, and after each epoch walks over the whole validation split, generating every answer by sampling. Ours
is `influence train stepwise` with its checks and checkpoints. Printed are tokens a second of training alone, and how
many times faster whole epochs are, for which the time of one evaluation is measured: it weighs the more, the fewer
examples an epoch has.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from influence.data.tasks.folder import read_task
from influence.data.tasks.task import Task
from influence.train.core.batches import IGNORED_LABEL, Order, order_by_examples
from influence.train.stepwise.new_model import SHAPES, new_model, task_tokenizer
from influence.train.stepwise.run import internalize
from influence.train.stepwise.schedule import Place, Schedule, draw_removed
from influence.train.stepwise.sequences import Sequences, separator, tokenize_task
from influence.train.stepwise.settings import Settings, make_schedule

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
EPOCHS = (8_000, 64_000, 808_000)  # GSM8K without augmentation, a laptop's, the paper's multiplication


def wait() -> float:
    """The time now, once the device is done."""
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


class PlainLoop:
    """What is trained, cut and evaluated one example at a time."""

    def __init__(self, task: Task, shape: str, settings: Settings) -> None:
        splits = [task.split("train"), task.split("valid")]
        self.tokenizer = task_tokenizer(example for split in splits for example in split)
        self.train, self.valid = (tokenize_task(split, task, self.tokenizer) for split in splits)
        self.separator = separator(self.tokenizer)
        longest = int(max(self.train.lengths.max(), self.valid.lengths.max()))
        self.model: Any = new_model(SHAPES[shape], self.tokenizer, longest, settings.seed).to(DEVICE)  # type: ignore[arg-type]
        self.settings = settings

    def padded(self, rows: Any, split: Sequences) -> torch.Tensor:
        """The whole sequences of a batch, on the device."""
        examples = [
            torch.from_numpy(split.tokens[split.starts[i] : split.starts[i + 1]]).long() for i in rows
        ]
        pad: Any = self.tokenizer.pad_token_id
        return torch.nn.utils.rnn.pad_sequence(examples, batch_first=True, padding_value=pad).to(DEVICE)

    def cut(self, ids: torch.Tensor, removed: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """Cut each example by itself; ids and labels, padded again."""
        pad: Any = self.tokenizer.pad_token_id
        kept, labels = [], []
        for b in range(ids.shape[0]):
            places = (ids[b] == self.separator).nonzero()
            first, second = int(places[0].item()), int(places[1].item())
            end = int((ids[b] == self.tokenizer.eos_token_id).nonzero()[0].item()) + 1
            start = min(first + 1 + removed[b], second)
            kept.append(torch.cat([ids[b, : first + 1], ids[b, start:end]]))
            label = kept[-1].clone()
            label[: first + 1] = IGNORED_LABEL
            labels.append(label)
        longest = max(len(row) for row in kept)
        new_ids = torch.full((len(kept), longest), pad, device=DEVICE)
        new_labels = torch.full((len(kept), longest), IGNORED_LABEL, device=DEVICE)
        for b, (row, label) in enumerate(zip(kept, labels, strict=True)):
            new_ids[b, : len(row)] = row
            new_labels[b, : len(label)] = label
        return new_ids, new_labels

    def optimizer(self) -> torch.optim.AdamW:
        """AdamW from nothing."""
        return torch.optim.AdamW(self.model.parameters(), lr=self.settings.lr, fused=DEVICE.type == "cuda")

    def step(
        self, optimizer: torch.optim.Optimizer, ids: torch.Tensor, labels: torch.Tensor
    ) -> tuple[float, float]:
        """One step; loss and token accuracy as numbers."""
        with torch.autocast(DEVICE.type, torch.bfloat16, enabled=self.settings.dtype == "bf16"):
            logits = self.model(input_ids=ids).logits
            loss = torch.nn.functional.cross_entropy(
                logits[:, :-1].flatten(0, 1).float(), labels[:, 1:].flatten(), ignore_index=IGNORED_LABEL
            )
        asked = labels[:, 1:] != IGNORED_LABEL
        right = ((logits[:, :-1].argmax(-1) == labels[:, 1:]) & asked).sum()
        accuracy = (right / asked.sum()).item()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        return loss.item(), accuracy

    def shuffled(self, steps_per_epoch: int, steps: int) -> list[Any]:
        """The examples of each step: shuffled, whatever their lengths."""
        rng = np.random.default_rng(self.settings.seed)
        batches: list[Any] = []
        while len(batches) < steps:
            batches += np.array_split(rng.permutation(len(self.train)), steps_per_epoch)
        return batches[:steps]

    def run(self, schedule: Schedule, order: Order, steps: int) -> tuple[float, int]:
        """Seconds and trained tokens of the training alone."""
        self.model.train()
        optimizer = self.optimizer()
        place, tokens, began = Place(), 0, wait()
        for step, rows in enumerate(self.shuffled(order.steps_per_epoch, steps)):
            drawn = draw_removed(
                np.random.default_rng([self.settings.seed, step, 1]),
                len(rows),
                schedule.removed(place),
                schedule.total,
                smoothing=self.settings.smoothing,
            )
            ids, labels = self.cut(self.padded(rows, self.train), drawn.tolist())
            self.step(optimizer, ids, labels)
            tokens += int(
                (self.train.lengths[rows] - np.minimum(drawn, self.train.chain_lengths[rows])).sum()
            )
            after = schedule.advance(place, step + 1)
            if after.level != place.level:
                optimizer = self.optimizer()
            place = after
        return wait() - began, tokens

    @torch.no_grad()
    def evaluate(self, removed: int, most: int) -> float:
        """Seconds an example: teacher-forced measures, and an answer generated by sampling."""
        self.model.eval()
        self.model.config.use_cache = True
        rows = np.arange(min(most, len(self.valid)))
        began = wait()
        for start in range(0, len(rows), self.settings.batch_size):
            some = rows[start : start + self.settings.batch_size]
            ids, labels = self.cut(self.padded(some, self.valid), [removed] * len(some))
            logits = self.model(input_ids=ids).logits
            right = (logits[:, :-1].argmax(-1) == labels[:, 1:]) | (labels[:, 1:] == IGNORED_LABEL)
            right.float().mean().item()
            for b in range(len(some)):
                first = int((ids[b] == self.separator).nonzero()[0].item())
                self.model.generate(
                    ids[b : b + 1, : first + 1], max_new_tokens=ids.shape[1] - first - 1, do_sample=True
                )
        return (wait() - began) / len(rows)


def ours(task: Task, shape: str, settings: Settings) -> float:
    """Seconds of `influence train stepwise`, from the first step to the last, with checks and checkpoints."""
    with tempfile.TemporaryDirectory() as folder:
        return float(internalize(task, shape, Path(folder) / "run", settings)["seconds"])


def main() -> None:
    """Run both and print the comparison as JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--task", required=True, type=Path)
    parser.add_argument("--model", default="laptop", choices=list(SHAPES))
    parser.add_argument("--steps", default=1000, type=int, help="optimizer steps of each loop")
    parser.add_argument("--batch-size", default=32, type=int)
    parser.add_argument(
        "--evaluated", default=64, type=int, help="examples over which an evaluation is timed"
    )
    parser.add_argument("--dtype", default="fp32", choices=["fp32", "bf16"])
    parser.add_argument("--compile", action="store_true", help="ours only: the plain loop's shapes change")
    given = parser.parse_args()

    task = read_task(given.task)
    plain_settings = Settings(
        batch_size=given.batch_size, lr=1e-3, dtype=given.dtype, after_epochs=1e-9, check_examples=128
    )
    plain = PlainLoop(task, given.model, plain_settings)
    order = order_by_examples(plain.train.lengths, given.batch_size, plain_settings.seed)
    total = int(max(plain.train.chain_lengths.max(), plain.valid.chain_lengths.max()))
    delta = round(total * order.steps_per_epoch / given.steps, 4)  # everything is removed as the steps end
    settings = Settings(
        **{
            **{name: getattr(plain_settings, name) for name in plain_settings.__dataclass_fields__},
            "delta": delta,
            "compile": given.compile,
            "stage_every": max(1, total // 4),
        }
    )
    schedule = make_schedule(settings, total, order.steps_per_epoch)
    steps = schedule.most_steps
    plain_seconds, tokens = plain.run(schedule, order, steps)
    evaluation = plain.evaluate(total // 2, given.evaluated)
    our_seconds = ours(task, given.model, settings)

    examples = steps * len(plain.train) / order.steps_per_epoch
    epochs = {}
    for size in EPOCHS:
        plain_epoch = plain_seconds / examples * size + 1000 * evaluation
        epochs[f"{size:,} examples"] = round(plain_epoch / (our_seconds / examples * size), 2)
    result = {
        "model": given.model,
        "device": torch.cuda.get_device_name()
        if DEVICE.type == "cuda"
        else f"{torch.get_num_threads()} threads",
        "steps": steps,
        "tokens": tokens,
        "tokens_per_second": {
            "plain, training alone": round(tokens / plain_seconds),
            "ours, with checks and checkpoints": round(tokens / our_seconds),
        },
        "plain_seconds_an_evaluated_example": round(evaluation, 4),
        "times_faster": {
            "training alone": round(plain_seconds / our_seconds, 2),
            "epochs with an evaluation of 1,000": epochs,
        },
    }
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
