"""Sharing a run among processes, as far as one process shows it; `tests/cli/test_torchrun.py` starts several."""

from __future__ import annotations

import socket
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from tiny import tiny_model
from torch.distributed.tensor import DTensor

from influence.engine.batching import Budget, pad
from influence.engine.loops import keep_step, run_blocks
from influence.engine.parallel.distributed import World, dealt_by_cost, processes, shares_of_missing
from influence.engine.parallel.heartbeat import Watch
from influence.engine.passes import backward
from influence.errors import ComputeError, InputError
from influence.files import JOURNAL, close_journal, whole_file
from influence.models.selection import find_layers
from influence.store.journal import (
    intact,
    keep_journal,
    read_journal,
    remove_journals,
)


def test_a_world_of_one_starts_nothing() -> None:
    with processes("cpu") as world:
        assert world == World(device="cpu")
        assert world.broadcast({"a": [1]}) == {"a": [1]}
        ones = torch.ones(3)
        world.sum_to_first([ones])
        world.barrier()
        assert ones.sum() == 3
        assert not dist.is_initialized()


def test_fsdp_without_torchrun_is_refused() -> None:
    with pytest.raises(InputError, match="torchrun did not start any"), processes(fsdp=True):
        pass


def test_costly_jobs_are_dealt_first_and_equal_ones_in_turn() -> None:
    assert dealt_by_cost({0: 1, 1: 8, 2: 1, 5: 7, 7: 1}, 2) == [[1, 2], [5, 0, 7]]
    assert dealt_by_cost(dict.fromkeys(range(5), 1), 2) == [[0, 2, 4], [1, 3]]
    assert dealt_by_cost({}, 3) == [[], [], []]


def write(path: Path, text: str) -> None:
    with whole_file(path) as part:
        part.write_text(text)


def test_each_process_has_a_journal_and_all_are_read(tmp_path: Path) -> None:
    keep_journal(tmp_path)
    write(tmp_path / "a", "of the first")
    keep_journal(tmp_path, 1)  # as another process would
    write(tmp_path / "b", "of the second")
    assert intact(tmp_path / "a")
    assert intact(tmp_path / "b")
    assert shares_of_missing([1] * 4, lambda n: intact(tmp_path / "abcd"[n]), World()) == [[2, 3]]

    keep_journal(tmp_path)  # the next run takes over what it finds
    assert [path.name for path in tmp_path.glob("*.journal")] == [JOURNAL]
    keep_journal(tmp_path, 2)
    write(tmp_path / "b", "anew")
    first, last = read_journal(tmp_path)["b"]
    assert first != last
    assert intact(tmp_path / "b")
    close_journal(tmp_path)
    remove_journals(tmp_path)
    assert not list(tmp_path.glob("*.journal"))


def test_the_silent_are_found_but_not_by_who_slept() -> None:
    watch = Watch(limit=10)
    for now in range(0, 40, 4):
        assert watch.silent({1: now, 2: now}, now) == []
    assert watch.silent({1: 40, 2: 36}, 40) == []
    assert watch.silent({1: 44, 2: 36}, 44) == []
    assert watch.silent({1: 48, 2: 36}, 48) == [2]
    assert watch.silent({1: 48, 2: 36}, 500) == []  # nobody looked for minutes: the whole job was suspended
    assert watch.silent({1: 49, 2: 37}, 504) == []


def test_the_first_beat_may_take_long() -> None:
    watch = Watch(limit=10)
    assert not any(watch.silent({1: 0}, now) for now in range(0, 604, 4))
    assert watch.silent({1: 0}, 604) == [1]


@dataclass
class Told:
    """A process that is one of several, in a script: what the first says at each block's end."""

    says: list[bool]
    size: int = 2
    heard: list[bool] = field(default_factory=list)

    def broadcast(self, value: bool) -> bool:
        self.heard.append(value)
        return self.says[len(self.heard) - 1]


def test_who_runs_out_of_memory_goes_back_alone() -> None:
    """Two of five blocks a round; saved after the first; memory runs out in the third: back to what was saved."""
    world, ran, saved, stored = Told([True, False, True]), [], [], 0
    budget = Budget(64)

    def run(position: int, tick: object) -> None:
        ran.append(position)
        if len(ran) == 3:
            raise MemoryError

    def save(position: int) -> None:
        nonlocal stored
        stored = position
        saved.append(position)

    run_blocks(
        [8] * 5,
        8,
        budget,
        run=run,
        restore=lambda: stored,
        save=save,
        world=world,
        title="x",  # type: ignore[arg-type]
    )
    assert ran == [0, 2, 4, 2, 4]
    assert saved == [2, 5]
    assert len(world.heard) == 3  # one word a round, whoever goes back
    assert budget.batch_tokens == 32


def test_in_lockstep_batches_do_not_shrink() -> None:
    with pytest.raises(ComputeError, match="Not enough memory for batches of 64 tokens") as caught:
        Budget(64, lockstep=True).shrink(8, MemoryError("full"))
    assert "--batch-tokens" in str(caught.value.fix)


@pytest.mark.parametrize(("fsdp", "expected"), [(True, 3), (False, 0)])
def test_who_has_fewer_batches_keeps_step(fsdp: bool, expected: int) -> None:
    idled: list[int] = []
    keep_step(World(1, 3, fsdp=fsdp), [4, 2, 5].__getitem__, lambda: idled.append(1))
    assert len(idled) == expected


def test_a_sharded_model_shows_whole_activations_and_forms_no_weight_gradient(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with socket.socket() as found_port:
        found_port.bind(("127.0.0.1", 0))
        monkeypatch.setenv("MASTER_PORT", str(found_port.getsockname()[1]))
    for name, value in {
        "RANK": "0",
        "LOCAL_RANK": "0",
        "WORLD_SIZE": "1",
        "MASTER_ADDR": "127.0.0.1",
    }.items():
        monkeypatch.setenv(name, value)
    model = tiny_model("llama")
    layers, seen = find_layers(model.model), []
    batch = pad([[3, 4, 5, 6], [7, 8]], torch.device("cpu"))
    with processes("cpu", fsdp=True) as world:
        for _ in range(2):
            found: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
            backward(model, layers, batch, lambda index, *pair: found.update({index: pair}), what="x")  # noqa: B023
            seen.append(found)
            world.shard(model)
    for index, pair in seen[0].items():
        torch.testing.assert_close(seen[1][index], pair, rtol=0, atol=0)
    for parameter in model.model.parameters():
        assert isinstance(parameter, DTensor)
        assert parameter.grad is None
    assert not dist.is_initialized()
