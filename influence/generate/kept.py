"""Replies kept on disk, so that nothing is asked twice: neither by a stopped run that goes on, nor by the next one."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from influence.errors import StoreError
from influence.generate.request import Generator, Reply, Request

#: Called with (replies so far, all) when one arrives.
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class KeptReplies:
    """A file of replies, one JSON line each: `key`, which names what was asked, and `reply`.

    Each is written when it arrives. A line that a kill cut short is passed over, and what it answered asked again.
    """

    path: Path

    def collect(
        self,
        keys: Sequence[str],
        ask: Callable[[Sequence[int]], Iterator[tuple[int, Any]]],
        progress: Progress | None = None,
    ) -> list[Any]:
        """A reply for each key; equal keys are asked once, those kept not at all.

        Args:
            keys: One a question.
            ask: From the places in `keys` whose reply is missing to pairs of a place's number in that list and its
                reply, which JSON can hold, in any order.
            progress: Told of each reply.
        """
        wanted = set(keys)
        kept = {key: reply for key, reply in self._lines() if key in wanted}
        missing: dict[str, int] = {}
        for place, key in enumerate(keys):
            if key not in kept:
                missing.setdefault(key, place)
        if missing:
            order = list(missing)
            self.path.parent.mkdir(parents=True, exist_ok=True)
            torn = self.path.exists() and not self.path.read_bytes().endswith(b"\n")
            with self.path.open("a", encoding="utf-8", newline="\n") as file:
                file.write("\n" if torn else "")
                for number, reply in ask(list(missing.values())):
                    file.write(json.dumps({"key": order[number], "reply": reply}) + "\n")
                    file.flush()
                    kept[order[number]] = reply
                    if progress:
                        progress(len(kept), len(wanted))
        return [kept[key] for key in keys]

    def replies(
        self, generator: Generator, requests: Sequence[Request], progress: Progress | None = None
    ) -> list[Reply]:
        """A generator's replies in the order of the requests.

        Raises:
            StoreError: a kept reply is none of a generator.
        """
        records = self.collect(
            [request.key(generator.name) for request in requests],
            lambda places: (
                (number, asdict(reply))
                for number, reply in generator.replies([requests[place] for place in places])
            ),
            progress,
        )
        try:
            return [Reply(**record) for record in records]
        except TypeError as error:
            raise StoreError(
                f"{self.path} holds replies in another form.", have=str(error), fix="Remove the file."
            ) from error

    def _lines(self) -> Iterator[tuple[str, Any]]:
        if not self.path.exists():
            return
        with self.path.open(encoding="utf-8", errors="replace") as file:
            for line in file:
                try:
                    record = json.loads(line)
                    yield str(record["key"]), record["reply"]
                except (ValueError, KeyError, TypeError):
                    continue
