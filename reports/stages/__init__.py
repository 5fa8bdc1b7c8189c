"""Influence along the stages of internalisation, from the task and the training to the tables over seeds.

`reports.stages.study.stages` is the whole of it. What belongs to it:

| module | does |
|---|---|
| `scales` | every number of a scale, in one place |
| `replicate` | the steps of one seed: its three trainings, the scores of their checkpoints, its page |
| `metrics` | numbers of one seed's checkpoints, a value a query |
| `tables` | means over seeds with intervals; the questions, and the rule that answers them |
| `results` | the page of the findings |

Nobody has published this, so there is nothing to compare with: the controls are a model that never had a chain of
thought and one that kept it, both trained as long, and the stages in shuffled order.
"""
