"""Linear probes: which running quantities of a task can be read from a stage's hidden states, without a chain?

The model is given an input with no chain, up to the mark before the answer; a ridge regression reads each quantity from
each layer at each place after the input. It is fitted on examples of the train split and measured on the test split.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch

from influence.data.tasks.document_kinds import running_quantities
from influence.data.tasks.task import Example, Task
from influence.data.tokens import tokenise
from influence.engine.batching import BATCH_TOKENS, batches, length_order, pad
from influence.models.load import LanguageModel
from influence.subjects.questions import Texts
from influence.train.stepwise.sequences import answer_mark

if TYPE_CHECKING:
    import pandas as pd

Float64 = npt.NDArray[np.float64]

#: Examples a probe is fitted on, and those it is measured on.
FIT, MEASURE = 2000, 1000
#: More values than these are read as a number, not as classes.
MOST_CLASSES = 10
#: Weight of the ridge, relative to the variance of a feature.
RIDGE = 1e-3

_RESAMPLES = 500
_PLACES = ("separator", "second separator", "mark")


def probe_table(model: LanguageModel, task: Task, texts: Texts) -> pd.DataFrame | None:
    """What can be read of a stage.

    Returns:
        A row a quantity, place and layer (0: the embeddings): quantity, place, layer, measure ("accuracy" of at most
        ten values, else "R2"), value on held-out examples, low, high (95 %, bootstrap over them), chance (accuracy of
        always the commonest value; 0 for R2), n. None for a task whose running quantities are not known.
    """
    import pandas as pd

    fit = list(islice(task.examples("train"), FIT))
    measure = list(islice(task.examples("test"), MEASURE))
    known, wanted = running_quantities(task, fit), running_quantities(task, measure)
    if not known:
        return None
    states, held_out = (hidden_states(model, texts, some) for some in (fit, measure))
    rows = []
    for layer, place in np.ndindex(states.shape[1:3]):
        probe = Probe(states[:, layer, place], held_out[:, layer, place])
        for name, values_N in known.items():
            rows.append((name, _PLACES[place], layer, *probe.read(values_N, wanted[name]), len(measure)))
    columns = ["quantity", "place", "layer", "measure", "value", "low", "high", "chance", "n"]
    return pd.DataFrame(rows, columns=columns)


@torch.no_grad()
def hidden_states(model: LanguageModel, texts: Texts, examples: Sequence[Example]) -> Float64:
    """States `[N, layers + 1, 3, H]` at both separators and the (end of the) mark of inputs without a chain."""
    prompts = [texts.prompt(one) + texts.before_answer for one in examples]
    tokens = [encoded.whole for encoded in tokenise(model.tokenizer, prompts, ends=False)]
    after = len(answer_mark(model.tokenizer))
    lengths = np.array([len(ids) for ids in tokens], np.int64)
    parts: list[tuple[npt.NDArray[np.int64], Float64]] = []
    for rows in batches(length_order(lengths), lengths, BATCH_TOKENS):
        batch = pad([tokens[row] for row in rows], model.device)
        output = model.model(input_ids=batch.input_ids, use_cache=False, output_hidden_states=True)
        end_B = torch.from_numpy(lengths[rows] - 1).to(model.device)
        place_B3 = torch.stack([end_B - after - 1, end_B - after, end_B], 1)
        row_B1 = torch.arange(len(rows), device=model.device)[:, None]
        states = torch.stack([state[row_B1, place_B3] for state in output.hidden_states], 1)
        parts.append((rows, states.double().cpu().numpy()))
    order = np.argsort(np.concatenate([rows for rows, _ in parts]))
    return np.concatenate([states for _, states in parts])[order]


class Probe:
    """Ridge regressions from the same states to several quantities."""

    def __init__(self, fit_NH: Float64, measure_NH: Float64) -> None:
        mean_H, scale_H = fit_NH.mean(0), fit_NH.std(0)
        scale_H[scale_H < 1e-9] = 1.0
        self._fit_NH, self._measure_NH = ((x - mean_H) / scale_H for x in (fit_NH, measure_NH))
        width = fit_NH.shape[1]
        moments_HH = self._fit_NH.T @ self._fit_NH / len(fit_NH) + RIDGE * np.eye(width)
        self._inverse_HH = np.linalg.inv(moments_HH)

    def read(
        self, known_N: npt.NDArray[np.int64], wanted_N: npt.NDArray[np.int64]
    ) -> tuple[str, float, float, float, float]:
        """Measure, its value on held-out examples, both ends of its interval, and chance."""
        classes = np.unique(known_N)
        if len(classes) <= MOST_CLASSES:
            said_N = classes[self._fitted((known_N[:, None] == classes).astype(float)).argmax(1)]
            right_N = (said_N == wanted_N).astype(float)
            commonest = classes[np.argmax([(known_N == one).sum() for one in classes])]
            low, high = _ends(right_N[rows].mean() for rows in _drawn(len(right_N)))
            return "accuracy", float(right_N.mean()), low, high, float((wanted_N == commonest).mean())
        said_N = self._fitted(known_N[:, None].astype(float))[:, 0]
        low, high = _ends(_r2(said_N[rows], wanted_N[rows]) for rows in _drawn(len(wanted_N)))
        return "R2", _r2(said_N, wanted_N), low, high, 0.0

    def _fitted(self, target_NK: Float64) -> Float64:
        mean_K = target_NK.mean(0)
        weight_HK = self._inverse_HH @ (self._fit_NH.T @ (target_NK - mean_K)) / len(target_NK)
        return np.asarray(self._measure_NH @ weight_HK + mean_K)


def _r2(said_N: Float64, wanted_N: npt.NDArray[np.int64]) -> float:
    spread = float(np.square(wanted_N - wanted_N.mean()).sum())
    return 1.0 - float(np.square(said_N - wanted_N).sum()) / spread if spread else float("nan")


def _drawn(n: int) -> npt.NDArray[np.int64]:
    return np.random.default_rng(0).integers(0, n, (_RESAMPLES, n))


def _ends(values: Iterable[float]) -> tuple[float, float]:
    low, high = np.percentile(list(values), [2.5, 97.5])
    return float(low), float(high)
