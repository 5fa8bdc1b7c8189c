"""Tasks with a chain of thought: made by us, made from GSM8K, or read from own files."""

from influence.data.chains.gsm8k import GSM8K
from influence.data.chains.multiplication import Multiplication
from influence.data.chains.parity import Parity
from influence.data.chains.reachability import Reachability
from influence.data.chains.task import ChainExample, Split, Task, read_examples, read_task, steps
from influence.data.chains.write import write_task

__all__ = [
    "GSM8K",
    "ChainExample",
    "Multiplication",
    "Parity",
    "Reachability",
    "Split",
    "Task",
    "read_examples",
    "read_task",
    "steps",
    "write_task",
]
