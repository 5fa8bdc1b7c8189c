"""Tasks with a chain of thought: made by us, made from GSM8K, or read from own files."""

from influence.data.chains.task import ChainExample, Split, Task, read_examples, read_task, steps

__all__ = ["ChainExample", "Split", "Task", "read_examples", "read_task", "steps"]
