"""Tasks: questions with answers, some with a chain of thought; made from a seed, or read from files.

`task` is what a task and an example are, `folder` writes and reads a task on disk, `records` reads files of other
forms, `makers` makes one task each, `named` gives a task by its name, `extract` reads the answer out of a reply.
"""
