"""Which of two nodes a root reaches in a directed graph without cycles, with the path as the chain.

Like ProsQA (*Training Large Language Models to Reason in a Continuous Latent Space*, arXiv 2412.06769), in symbols:
`<edges> ? <root> : <two nodes>||<nodes between> #### <the node that is reached>`, an edge `3 7` leads from 3 to 7.
For the edges 3→7, 7→1 and 0→4, 4→5: `7 1 , 0 4 , 3 7 , 4 5 ? 3 : 5 1||7 #### 1`.

A graph has two paths of `hops` edges from two roots, whose ends are the two nodes asked about, and further nodes with
two edges each from earlier nodes, which lead away from the paths only. So exactly one of the two nodes is reached, by
exactly one path, and nothing but the edges tells which: the two halves are alike.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from influence.data.tasks.folder import settings_of
from influence.data.tasks.makers.problems import BATCH_LINES, Unsigned, key, mix, numbers, render
from influence.data.tasks.task import ANSWER_START, INPUT_END, Split
from influence.errors import InputError

Nodes = NDArray[np.int64]


@dataclass(frozen=True)
class Graphs:
    """n questions: edges [from, to], path from root to answer, the node not reached and whether it is named first."""

    edges_En2: Nodes
    path_Hn: Nodes
    other_n: Nodes
    other_first_n: NDArray[np.bool_]


@dataclass(frozen=True)
class Reachability:
    """Seeded questions, none twice in all splits together: also not with edges or the two nodes in another order.

    Args:
        hops: Edges from the root to the node it reaches; the chain has hops−1 nodes.
        nodes: Nodes of a graph, at least 2 × (hops + 1).
        train, valid, test: How many examples.
        seed: Chooses them.
    """

    hops: int = 4
    nodes: int = 16
    train: int = 100_000
    valid: int = 1000
    test: int = 1000
    seed: int = 0
    name: ClassVar[str] = "reachability"
    step_pattern: ClassVar[str] = r"\d+"  # a node on the path

    def __post_init__(self) -> None:
        if self.hops < 1 or not 2 * (self.hops + 1) <= self.nodes <= 1000:
            raise InputError(
                "A graph needs at least one hop, and 2 × (hops + 1) to 1,000 nodes: two paths of as many hops.",
                have=f"{self.hops} hops, {self.nodes} nodes",
            )

    @property
    def settings(self) -> dict[str, Any]:
        """What `task.json` says made the task."""
        return settings_of(self)

    def splits(self) -> dict[Split, tuple[int, Iterator[bytes]]]:
        """How many lines each split has, and these lines, some thousands at a time; to be read in this order."""
        batches = self._batches(key("reachability", self.hops, self.nodes, self.seed))
        asked: set[int] = set()
        return {
            "valid": (self.valid, self._lines(batches, self.valid, asked)),
            "test": (self.test, self._lines(batches, self.test, asked)),
            "train": (self.train, self._lines(batches, self.train, asked)),
        }

    def _batches(self, seed: int) -> Iterator[Graphs]:
        number = 0
        while True:
            yield self.draw(key(seed, number), BATCH_LINES)
            number += 1

    def _lines(self, batches: Iterator[Graphs], count: int, asked: set[int]) -> Iterator[bytes]:
        width = len(str(self.nodes - 1))
        while count:
            graphs = next(batches)
            new = _new(_questions(graphs), asked, count)
            if not new:
                raise InputError(
                    f"There are not enough graphs of {self.nodes} nodes and {self.hops} hops.",
                    have=f"no new one among {BATCH_LINES:,}, {count:,} missing",
                    fix="Ask for fewer examples, or for more nodes.",
                )
            count -= len(new)
            yield reachability_lines(
                Graphs(
                    graphs.edges_En2[:, new],
                    graphs.path_Hn[:, new],
                    graphs.other_n[new],
                    graphs.other_first_n[new],
                ),
                width,
            )

    def draw(self, seed: int, n: int) -> Graphs:
        """n graphs with their questions; some may be alike."""
        steps, further = self.hops, self.nodes - 2 * (self.hops + 1)
        edges = 2 * steps + 2 * further
        random = mix(np.arange(n * (self.nodes + 2 * further + edges + 1), dtype=np.uint64), seed).reshape(
            n, -1
        )
        for_names, for_parents, for_order, coin = np.split(
            random, np.cumsum([self.nodes, 2 * further, edges]), axis=1
        )
        names_Vn = np.argsort(for_names, axis=1, kind="stable").T
        paths = np.arange(2 * (steps + 1)).reshape(2, steps + 1)
        heads = np.repeat(paths[:, :-1].ravel()[:, None], n, axis=1)
        tails = np.repeat(paths[:, 1:].ravel()[:, None], n, axis=1)
        parents, children = _parents(for_parents, 2 * (steps + 1))
        heads, tails = np.concatenate([heads, parents]), np.concatenate([tails, children])
        edges_En2 = np.stack([np.take_along_axis(names_Vn, ends, axis=0) for ends in (heads, tails)], axis=2)
        order_En = np.argsort(for_order, axis=1, kind="stable").T
        return Graphs(
            np.take_along_axis(edges_En2, order_En[:, :, None], axis=0),
            names_Vn[paths[0]],
            names_Vn[paths[1, -1]],
            (coin[:, 0] & np.uint64(1)).astype(bool),
        )


def _parents(random: Unsigned, first: int) -> tuple[Nodes, Nodes]:
    """Two different earlier nodes for each node from `first` on: parents and children, `[2 × further nodes, n]`."""
    further = random.shape[1] // 2
    node = np.arange(first, first + further, dtype=np.uint64)
    one = random[:, :further] % node
    other = (one + np.uint64(1) + random[:, further:] % (node - np.uint64(1))) % node
    children = np.broadcast_to(np.concatenate([node, node])[:, None], (2 * further, len(random)))
    return np.concatenate([one, other], axis=1).T.astype(np.int64), children.astype(np.int64)


def _questions(graphs: Graphs) -> list[int]:
    """64 bits for each question that do not depend on the order of its edges or of the two nodes."""
    edges = graphs.edges_En2.astype(np.uint64)
    of_edges = mix(edges[:, :, 0] * np.uint64(1000) + edges[:, :, 1], key("edge")).sum(axis=0)
    root = mix(graphs.path_Hn[0].astype(np.uint64), key("root"))
    asked = mix(np.stack([graphs.path_Hn[-1], graphs.other_n]).astype(np.uint64), key("asked")).sum(axis=0)
    hashes: list[int] = (of_edges + root + asked).tolist()
    return hashes


def _new(questions: list[int], asked: set[int], count: int) -> list[int]:
    """Where the first `count` questions stand that were not asked before; from now on they were."""
    new: list[int] = []
    for index, question in enumerate(questions):
        if len(new) == count:
            break
        if question not in asked:
            asked.add(question)
            new.append(index)
    return new


def reachability_lines(graphs: Graphs, width: int) -> bytes:
    """The lines of the questions, each ended by a newline; nodes in `width` digits."""
    reached = graphs.path_Hn[-1]
    asked = np.where(graphs.other_first_n, (graphs.other_n, reached), (reached, graphs.other_n))
    edges = [piece for edge in graphs.edges_En2 for piece in (" , ", numbers(edge.T, width))][1:]
    between = [numbers(graphs.path_Hn[1:-1], width)] if len(graphs.path_Hn) > 2 else []
    root = numbers(graphs.path_Hn[:1], width)
    answer = numbers(reached[None], width)
    return render(
        [*edges, " ? ", root, " : ", numbers(asked, width), INPUT_END, *between, ANSWER_START, answer, "\n"],
        len(reached),
    )
