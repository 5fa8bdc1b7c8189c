"""The loop every pass shares: blocks of batches, forward, backward, a reducer; and what can go wrong in it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.distributed.tensor import DTensor
from tqdm import tqdm

from influence.curvature.statistics import augment
from influence.engine.batching import Columns, TokenBatch, pad
from influence.engine.distributed import ALONE, World, shares_of_missing
from influence.errors import ComputeError, ModelError
from influence.models.capture import capture
from influence.models.layers import TrackedLayer
from influence.models.load import LanguageModel
from influence.models.losses import SummedNll
from influence.store.documents import DocumentTable

#: `(index of the layer, a_BTI with the bias's 1, s_BTO)`.
Reducer = Callable[[int, Tensor, Tensor], None]
#: From logits to the labels `[B, T]` the loss is taken of.
Labels = Callable[[Tensor], Tensor]

_SECONDS_BETWEEN_SAVES = 60.0


def backward(
    model: LanguageModel,
    layers: Sequence[TrackedLayer],
    batch: TokenBatch,
    reduce: Reducer,
    *,
    labels: Labels | None = None,
    what: str,
) -> Tensor:
    """One batch forward and backward; `reduce` sees each tracked layer. Returns the NLL of each document `[B]`, nats.

    Args:
        labels: Draws labels from the logits; default the batch's own tokens.
        what: Says which documents these are, for an error.

    Raises:
        ComputeError: an activation or gradient is not finite, naming the layer and the documents.
    """
    sums: dict[int, Tensor] = {}

    def consume(index: int, a_BTI: Tensor, s_BTO: Tensor) -> None:
        sums[index] = torch.stack([a_BTI.sum(dtype=torch.float32), s_BTO.sum(dtype=torch.float32)])
        reduce(index, augment(a_BTI, layers[index].has_bias), s_BTO)

    with capture(model.model, layers, batch.input_ids.shape, consume):
        logits_BTV = model.model(input_ids=batch.input_ids, use_cache=False).logits
        label_BT = batch.input_ids if labels is None else labels(logits_BTV)
        nll_BT: Tensor = SummedNll.apply(logits_BTV, label_BT, batch.loss_BT)  # type: ignore[no-untyped-call]
        del logits_BTV
        if not nll_BT.requires_grad:
            raise ModelError(
                f"None of the tracked layers has an effect on the loss of {what}.",
                have=f"{len(layers)} tracked, first {layers[0].name}",
                fix="Track other layers: --layers all",
            )
        nll_BT.sum().backward()
    finite_L2 = torch.isfinite(torch.stack([sums[index] for index in range(len(layers))]))
    if not finite_L2.all():
        raise _not_finite(model, layers, finite_L2, what)
    return nll_BT.detach().sum(-1)


def _not_finite(
    model: LanguageModel, layers: Sequence[TrackedLayer], finite_L2: Tensor, what: str
) -> ComputeError:
    """Name where it began: the first layer with a bad input, else the last one with a bad gradient."""
    forward_L, backward_L = (~finite_L2).unbind(1)
    index = int(forward_L.nonzero()[0] if forward_L.any() else backward_L.nonzero()[-1])
    where = "going into" if forward_L.any() else "coming back to"
    weights = [
        (name, p.to_local() if isinstance(p, DTensor) else p) for name, p in model.model.named_parameters()
    ]
    broken = [name for name, p in weights if not torch.isfinite(p).all()]
    return ComputeError(
        f"A value that is not finite appeared {where} layer {layers[index].name}, in {what}.",
        have=f"weights that are not finite: {', '.join(broken[:3])}" if broken else None,
        fix="The checkpoint is damaged: fetch or train it again."
        if broken
        else "Check these documents; in bfloat16, try --dtype float32.",
    )


def describe_documents(ids: npt.NDArray[np.object_]) -> str:
    """A batch in an error message: how many documents, and the first of them."""
    return f"a batch of {len(ids)} documents: {', '.join(map(str, ids[:3]))}{', …' if len(ids) > 3 else ''}"


def idle_pass(model: LanguageModel, layers: Sequence[TrackedLayer], table: DocumentTable) -> None:
    """A pass whose result is dropped. It takes the longest document, so that no layer is without effect."""
    tokens = table.tokens(int(table.lengths.argmax()))
    backward(model, layers, pad([tokens], model.device), lambda *_: None, what="a pass that only keeps step")


def keep_step(world: World, passes: Callable[[int], int], idle: Callable[[], Any]) -> None:
    """With FSDP: `idle` as often as this process makes fewer `passes`, by rank, than the one that makes most."""
    if world.fsdp:
        for _ in range(max(map(passes, range(world.size))) - passes(world.rank)):
            idle()


class Budget:
    """Padded tokens of a batch; halves each time memory runs out.

    Args:
        lockstep: Processes must make the same number of batches, so none may halve by itself.
    """

    def __init__(self, batch_tokens: int, lockstep: bool = False) -> None:
        self.batch_tokens = batch_tokens
        self.halvings = 0
        self._lockstep = lockstep

    def shrink(self, longest: int, error: BaseException) -> None:
        """Halve; ComputeError once a batch was a single document already."""
        if self._lockstep:
            raise ComputeError(
                f"Not enough memory for batches of {self.batch_tokens} tokens.",
                have=str(error).partition("\n")[0] or type(error).__name__,
                fix="Lower --batch-tokens: with --fsdp batches do not shrink by themselves.",
            ) from error
        if self.batch_tokens <= longest:
            raise ComputeError(
                f"Not enough memory for a single document of {longest} tokens.",
                have=str(error).partition("\n")[0] or type(error).__name__,
                fix="Lower --max-length, use --dtype bfloat16, or track fewer --layers.",
            ) from error
        self.batch_tokens //= 2
        self.halvings += 1


def is_out_of_memory(error: BaseException) -> bool:
    """Whether this is an allocator's refusal, on any device."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


def run_blocks(
    sizes: Sequence[int],
    longest: int,
    budget: Budget,
    *,
    run: Callable[[int, Callable[[float], Any]], Any],
    title: str,
    restore: Callable[[], int] = lambda: 0,
    save: Callable[[int], None] | None = None,
    world: World = ALONE,
) -> None:
    """Run all blocks, resuming where `restore` says, going back there with half the budget when memory runs out.

    Args:
        sizes: Tokens of each block, for the progress bar: documents come longest first, so their rate misleads.
        run: Run one block, calling the function it is given with the tokens of each batch done.
        restore: Bring the state back to what is stored and return the number of finished blocks.
        save: Store the state after so many blocks; called each minute and at the end. None: `run` stores by itself.
        world: Processes that take so many blocks at a time between them, `run` this one's part of all from the number
            it is given; they `save` together, and none of them `restore`s but by itself.
    """
    position = met = restore()
    saved = time.monotonic()
    with progress(title, sum(sizes), sum(sizes[:position]), unit="tok") as bar:
        while position < len(sizes):
            try:
                run(position, lambda tokens: bar.update(tokens * world.size))
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                budget.shrink(longest, error)
                error.__traceback__ = None  # it holds the tensors that filled the memory
                if torch.cuda.is_available():
                    torch.cuda.empty_cache()
                position = restore() if save else position
                bar.n = sum(sizes[:position])
                bar.set_postfix_str(f"out of memory: batches of {budget.batch_tokens} tokens")
                continue
            position = min(position + world.size, len(sizes))
            if save is None or position <= met:  # the others do not go back when memory runs out here
                continue
            met = position
            if world.broadcast(position == len(sizes) or time.monotonic() - saved > _SECONDS_BETWEEN_SAVES):
                save(position)
                saved = time.monotonic()


def run_missing(
    plan: Sequence[Columns],
    lengths: Columns,
    budget: Budget,
    world: World,
    *,
    whole: Callable[[int], bool],
    run: Callable[[int, Callable[[float], Any]], Any],
    passes: Callable[[int], int],
    idle: Callable[[], Any],
    title: str,
) -> None:
    """Run the blocks whose results are not there yet, dealt out among the processes.

    Args:
        plan: Columns of each block.
        lengths: Tokens of each document.
        whole: Whether the result of a block is stored.
        run: Run one block by its number, and store the result; see `run_blocks`.
        passes: How many times a block goes through the model.
        idle: With FSDP: a pass that adds nothing.
    """
    shares = shares_of_missing([1] * len(plan), whole, world)
    own = shares[world.rank]
    run_blocks(
        [int(lengths[plan[number]].sum()) for number in own],
        int(lengths.max(initial=1)),
        budget,
        run=lambda at, tick: run(own[at], tick),
        title=title if world.size == 1 else f"{title}, 1 of {world.size} processes",
    )
    keep_step(world, lambda rank: sum(map(passes, shares[rank])), idle)


@contextmanager
def progress(title: str, total: int, initial: int = 0, unit: str = "doc") -> Iterator[tqdm[Any]]:
    """A progress bar on stderr with rate and time left."""
    with tqdm(
        total=total,
        initial=initial,
        desc=title,
        unit=unit,
        unit_scale=unit == "tok",
        dynamic_ncols=True,
        smoothing=0.1,
    ) as bar:
        yield bar
