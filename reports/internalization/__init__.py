"""Stepwise internalisation against its baselines and ablations, from the tasks to the table of effects.

`reports.internalization.study.internalization` is the whole of it. What belongs to it:

| module | does |
|---|---|
| `scales` | every number of a scale, in one place |
| `replicate` | the steps of one seed of one task: train each run, evaluate it |
| `metrics` | numbers of one seed's runs, with their resamples |
| `published` | what the paper found: its tables, and each effect with the contrast it rests on |
| `tables` | methods, curves and effects over seeds, and the rule that says whether an effect appears |
| `results` | the page of the findings |
| `drawings` | the figures |

Method and numbers: Deng, Choi, Shieber, *From Explicit CoT to Implicit CoT* (arXiv 2405.14838).
"""
