"""How large a reproduction is: every number that a scale chooses, in one frozen record."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from influence.data.tasks.makers.multiplication import Multiplication
from influence.data.tasks.makers.parity import Parity
from influence.errors import InputError
from influence.train.stepwise.settings import KdSettings, Settings

#: The paper's methods, in the order of its table; `adaptive` is the loss-triggered schedule that it wishes for.
METHODS = ("explicit-cot", "no-cot", "icot-kd", "stepwise", "adaptive")
#: One thing changed in the run that a task's `ablated` names; `larger-delta` in the linear one always.
ABLATIONS = ("no-smoothing", "no-reset", "right-side", "larger-delta", "kept-positions")
#: Instead, where the run that is changed removes from the right and keeps positions.
MIRRORED = {"right-side": "left-side", "kept-positions": "moved-positions"}


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRuns:
    """A task, a model, and the runs of each seed.

    Attributes:
        name: Of its folder.
        title: What a reader sees. Without " of ".
        problem: The paper's problem of this size, a key of `published.PUBLISHED`; None: it has none.
        maker: Makes the task; the same one for all seeds, which seed weights, order and draws.
        model: A shape trained from scratch, or a folder or hub name.
        stepwise: The linear schedule; batch size, learning rate, precision and checks of every run but ICoT-KD.
        adaptive: What the loss-triggered schedule has otherwise.
        explicit_epochs: Of the explicit chain of thought, which is also the teacher of ICoT-KD.
        no_cot_epochs: Of no chain of thought.
        kd: ICoT-KD; None leaves it out.
        ablated: "stepwise" or "adaptive": in which run ablations change one thing.
        larger_delta: Δ of that ablation.
        ablations: Those that are run, of `ABLATIONS` or mirrored.
    """

    name: str
    title: str
    problem: str | None = None
    maker: Multiplication | Parity
    model: str
    stepwise: Settings
    adaptive: dict[str, Any]
    explicit_epochs: float
    no_cot_epochs: float
    kd: KdSettings | None
    ablated: str = "stepwise"
    larger_delta: float
    ablations: tuple[str, ...] = ABLATIONS

    def runs(self, seed: int) -> dict[str, Settings | KdSettings]:
        """Name -> settings of each run of a seed, in the order in which they are made.

        Raises:
            InputError: An ablation or the run it changes is unknown.
        """
        linear = dataclasses.replace(self.stepwise, seed=seed)
        adaptive = dataclasses.replace(linear, adaptive=True, **self.adaptive)
        known: dict[str, Settings | KdSettings] = {
            "no-cot": self._baseline(linear, "no-cot", self.no_cot_epochs),
            "explicit-cot": self._baseline(linear, "explicit-cot", self.explicit_epochs),
            "stepwise": linear,
            "adaptive": adaptive,
        }
        if self.kd is not None:
            known["icot-kd"] = dataclasses.replace(self.kd, seed=seed)
        base = {"stepwise": linear, "adaptive": adaptive}.get(self.ablated)
        unknown = [name for name in self.ablations if name not in (*ABLATIONS, *MIRRORED.values())]
        if base is None or unknown:
            raise InputError("There is no such ablation.", have=", ".join(unknown) or self.ablated)
        changed = {
            "no-smoothing": dataclasses.replace(base, smoothing=None),
            "no-reset": dataclasses.replace(base, reset_optimizer=False),
            "right-side": dataclasses.replace(base, side="right"),
            "left-side": dataclasses.replace(base, side="left"),
            "larger-delta": dataclasses.replace(linear, delta=self.larger_delta),
            "kept-positions": dataclasses.replace(base, keep_positions=True),
            "moved-positions": dataclasses.replace(base, keep_positions=False),
        }
        return known | {name: changed[name] for name in self.ablations}

    def changed_by(self, ablation: str) -> str:
        """The run in which an ablation changes one thing."""
        return "stepwise" if ablation == "larger-delta" else self.ablated

    @staticmethod
    def _baseline(linear: Settings, mode: Any, epochs: float) -> Settings:
        return dataclasses.replace(linear, mode=mode, explicit_epochs=0.0, after_epochs=epochs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """One size of the reproduction.

    Attributes:
        tasks: Each with its model and runs.
        examples: Test problems that every kept stage answers.
        timed: Of them, those that the stages of the methods answer one at a time, for their speed.
        batch_size: Problems decoded together.
        seeds: How often every run is made.
    """

    tasks: tuple[TaskRuns, ...]
    examples: int
    timed: int
    batch_size: int = 64
    seeds: int

    def measuring(self) -> dict[str, Any]:
        """How runs are measured, which is the same for all of them."""
        return {name: getattr(self, name) for name in ("examples", "timed", "batch_size")}

    def config(self) -> dict[str, Any]:
        """All that determines the result, by names of tasks and settings."""
        return {**self.measuring(), "tasks": {task.name: dataclasses.asdict(task) for task in self.tasks}}


def _four_by_four(name: str, title: str, model: str, lr: float) -> TaskRuns:
    return TaskRuns(
        name=name,
        title=title,
        problem="4×4",
        maker=Multiplication(digits=4),
        model=model,
        stepwise=Settings(
            delta=8, after_epochs=2, explicit_epochs=1, batch_size=256, lr=lr, dtype="bf16", stage_every=2
        ),
        adaptive={"recovered": 0.95, "patience": 2, "cap": 0.5},
        explicit_epochs=3,
        no_cot_epochs=9,
        kd=KdSettings(epochs=5, batch_size=256, lr=lr, dtype="bf16"),
        larger_delta=16,
    )


SCALES = {
    # every step once, for tests: the models learn nothing
    "smoke": Scale(
        tasks=(
            TaskRuns(
                name="2x2",
                title="2×2 multiplication",
                maker=Multiplication(digits=2, train=320, valid=32, test=32),
                model="tiny",
                stepwise=Settings(
                    delta=4, after_epochs=1, lr=1e-3, check_every=5, check_examples=16, stage_every=4
                ),
                adaptive={"recovered": 0.9, "patience": 1, "cap": 0.25},
                explicit_epochs=1,
                no_cot_epochs=1,
                kd=KdSettings(epochs=1, lr=1e-3),
                larger_delta=8,
            ),
        ),
        examples=16,
        timed=4,
        seeds=2,
    ),
    # two cores, hours in the background
    "laptop": Scale(
        tasks=(
            TaskRuns(
                name="parity",
                title="parity, 5 from 20 bits",
                maker=Parity(bits=20, k=5, train=400_000),
                model="laptop",
                stepwise=Settings(
                    delta=4,
                    side="right",  # the answer takes in bit after bit
                    keep_positions=True,
                    explicit_epochs=0.4,
                    after_epochs=0.3,
                    batch_size=128,
                    lr=5e-4,
                ),
                adaptive={"recovered": 0.98, "patience": 1, "cap": 0.5},
                explicit_epochs=0.5,
                no_cot_epochs=1,
                kd=KdSettings(epochs=1, batch_size=128, lr=5e-4),
                ablated="adaptive",
                ablations=("no-smoothing", "no-reset", "left-side", "larger-delta"),
                larger_delta=16,
            ),
            # few problems: of all 8,100, no CoT remembers those it has seen and is wrong about the others
            TaskRuns(
                name="2x2",
                title="2×2 multiplication",
                maker=Multiplication(digits=2, train=6_100, valid=400, test=600),
                model="laptop",
                stepwise=Settings(
                    delta=0.1,
                    keep_positions=True,
                    explicit_epochs=10,
                    after_epochs=25,
                    batch_size=64,
                    lr=1e-3,
                    stage_every=2,
                ),
                adaptive={"recovered": 0.95, "patience": 2, "cap": 40, "explicit_epochs": 0},
                explicit_epochs=15,
                no_cot_epochs=110,
                kd=None,
                ablated="adaptive",
                ablations=(),
                larger_delta=0.8,
            ),
        ),
        examples=1000,
        timed=50,
        seeds=2,
    ),
    # one large GPU, in pieces if need be
    "gpu": Scale(
        tasks=(
            _four_by_four("4x4", "4×4 multiplication, 2 layers, width 768", "paper", 5e-5),
            _four_by_four("4x4-gpt2", "4×4 multiplication, size GPT-2 small", "gpt2-small", 5e-5),
        ),
        examples=1000,
        timed=100,
        batch_size=500,
        seeds=2,
    ),
}
