"""No silent hang: each process of a run shows that it lives, and ends when another one does not.

A process that dies is the business of `torchrun`, which ends the others. One that is stopped, or whose machine is gone,
would leave them waiting for ever. So each counts its beats in the store of torchrun; the first process watches all,
and all watch the first.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

from torch._C._distributed_c10d import PrefixStore, TCPStore

#: Seconds of silence after which a process counts as lost.
SILENCE_VARIABLE = "INFLUENCE_SILENCE_SECONDS"
_SILENCE = 60.0
#: Seconds for the first beat: importing libraries from a busy disk takes a while.
_START = 600.0
#: Stands for the store among the processes that are watched.
_STORE = -1
#: What tells this start of the processes from earlier ones.
_THIS_START = ("TORCHELASTIC_RUN_ID", "TORCHELASTIC_RESTART_COUNT")


class Watch:
    """When each process was last heard of, by the watcher's own clock."""

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self._heard: dict[int, tuple[int, float]] = {}
        self._looked: float | None = None

    def silent(self, beats: Mapping[int, int], now: float) -> list[int]:
        """Processes whose beats have stood still for too long.

        A watcher that slept itself, as when a whole job is suspended, has learned nothing of the others.
        """
        slept = self._looked is not None and now - self._looked > self._limit / 2
        self._looked = now
        found = []
        for process, beat in beats.items():
            before, since = self._heard.get(process, (-1, now))
            if beat != before or slept:
                self._heard[process] = (beat, now)
            elif now - since > (self._limit if beat else max(self._limit, _START)):
                found.append(process)
        return found


class Heartbeat:
    """The beats of this process and its watch over others, in threads of their own, from now until `stop`.

    Its connection to the store is its own: others are held up by who waits for a value.
    """

    def __init__(self, rank: int, size: int) -> None:
        self._rank, self._size = rank, size
        self._limit = float(os.environ.get(SILENCE_VARIABLE, _SILENCE))
        self._store = PrefixStore(
            "influence/" + "/".join(os.environ.get(name, "") for name in _THIS_START),
            TCPStore(
                os.environ["MASTER_ADDR"],
                int(os.environ["MASTER_PORT"]),
                is_master=False,
                timeout=timedelta(seconds=max(self._limit, 60)),
            ),
        )
        self._ended = threading.Event()
        self._pause = min(5.0, self._limit / 6)
        self._beats = {_STORE: 0}
        self._store.set(f"host/{rank}", socket.gethostname())
        self._store.set(f"pid/{rank}", str(os.getpid()))
        self._store.add(f"beat/{rank}", 1)  # before it joins the others: from then on its silence is noticed
        if size > 1:
            global current
            current = self
            for run in (self._beat, self._watch):
                threading.Thread(target=run, daemon=True, name="heartbeat").start()

    def stop(self) -> None:
        """Beat and watch no more: the run is over."""
        self._ended.set()

    def _beat(self) -> None:
        """Show that this process lives, and ask after the others; where the network is cut, this waits for ever."""
        watched = [r for r in range(self._size) if r != self._rank] if self._rank == 0 else [0]
        try:
            while not self._ended.wait(self._pause):
                self._store.add(f"beat/{self._rank}", 1)
                self._beats |= {rank: self._store.add(f"beat/{rank}", 0) for rank in watched}
                self._beats[_STORE] += 1
        except RuntimeError as error:
            if not self._ended.is_set():
                self._give_up(f"the store of torchrun is gone: {str(error).partition(chr(10))[0]}", ask=False)

    def _watch(self) -> None:
        watch = Watch(self._limit)
        while not self._ended.wait(self._pause):
            silent = watch.silent(dict(self._beats), time.monotonic())
            if _STORE in silent:
                self._give_up(f"the store of torchrun has not answered for {self._limit:.0f} s.", ask=False)
            if silent:
                said = f"{self._named(silent)} silent for {self._limit:.0f} s: stopped, or lost."
                self._give_up(said, ask=True)

    def _named(self, silent: list[int]) -> str:
        names = []
        for rank in silent:
            known = self._store.check([f"host/{rank}"])
            host = self._store.get(f"host/{rank}").decode() if known else "a machine that never answered"
            names.append(f"process {rank} on {host}")
        return f"of {self._size} processes, {', '.join(names)} {'has' if len(names) == 1 else 'have'} been"

    def lost(self) -> list[int]:
        """Processes of this machine that are no more, as far as the store still answers."""
        lost = []
        try:
            for rank in range(self._size):
                if self._store.check([f"pid/{rank}"]) and self._here(rank):
                    pid = int(self._store.get(f"pid/{rank}"))
                    lost += [] if _lives(pid) else [rank]
        except RuntimeError:
            pass
        return lost

    def _here(self, rank: int) -> bool:
        return bool(self._store.get(f"host/{rank}").decode() == socket.gethostname())

    def _give_up(self, what: str, ask: bool) -> None:
        """End this process, with a line if it is the first; without a store to `ask`, with one in any case."""
        if not ask or self.claim_the_word():
            advice = "look at that machine; the same command goes on where this run stopped."
            assert sys.__stderr__ is not None
            os.write(sys.__stderr__.fileno(), f"Error: {what}\n  next:  {advice}\n".encode())
        os._exit(4)

    def claim_the_word(self) -> bool:
        """Whether this process is the first of all to report an error."""
        try:
            return bool(self._store.add("errors", 1) == 1)
        except RuntimeError:  # the store is gone: rather twice than never
            return True


def _lives(pid: int) -> bool:
    """Whether a process of this machine runs; one that ended and was not waited for does not."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except ProcessLookupError:
        return False
    except OSError:  # it is another user's by now, or there is no /proc here
        return True


#: That of this process, once there are others.
current: Heartbeat | None = None
