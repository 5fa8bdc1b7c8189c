"""System 2 procedures by name."""

from __future__ import annotations

from influence.errors import InputError
from influence.train.distill.prompt_files import Prompts
from influence.train.distill.systems.attention import System2Attention
from influence.train.distill.systems.base import System
from influence.train.distill.systems.branch import BranchSolveMerge
from influence.train.distill.systems.direct import Direct
from influence.train.distill.systems.rephrase import RephraseOneStep, RephraseTwoSteps
from influence.train.distill.systems.thought import ChainOfThought, FewShotChainOfThought

#: A system of one's own goes here too.
SYSTEMS: dict[str, type[System]] = {
    system.name: system
    for system in (
        RephraseOneStep,
        RephraseTwoSteps,
        System2Attention,
        BranchSolveMerge,
        ChainOfThought,
        FewShotChainOfThought,
        Direct,
    )
}


def named_system(name: str, prompts: Prompts | None = None) -> System:
    """A system by its name; InputError where there is none."""
    if name not in SYSTEMS:
        raise InputError(f"There is no system {name!r}.", fix=f"Choose one of {', '.join(SYSTEMS)}.")
    return SYSTEMS[name](prompts)
