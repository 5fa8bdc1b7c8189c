"""System 2 procedures by name."""

from __future__ import annotations

from influence.distill.prompt_texts import Prompts
from influence.distill.systems.base import System
from influence.distill.systems.branch import BranchSolveMerge
from influence.distill.systems.prompted import (
    ChainOfThought,
    Direct,
    FewShotChainOfThought,
    RephraseOneStep,
    RephraseTwoSteps,
    System2Attention,
)
from influence.errors import InputError

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
