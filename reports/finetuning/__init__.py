"""Which training example made it say that: a behaviour planted in a fine-tuning set, and found again.

`reports.finetuning.study.STUDY` is the whole of it. What belongs to it:

| module | does |
|---|---|
| `scales` | every number of a scale, in one place |
| `planting` | the examples of one seed, some of which carry the behaviour, and the questions that ask for it |
| `replicate` | the steps of one seed: fine-tune, ask, score, rank, fine-tune again without the first of each ranking |
| `tables` | means over seeds with intervals, what is claimed, and the figure |
| `study` | the tables, the page and the command's last lines |
"""
