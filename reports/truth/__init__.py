"""How well scores predict retraining, in worlds small enough to train again and again.

`reports.truth.study` is the whole of it. What belongs to it:

| module | does |
|---|---|
| `scales` | every number of a scale, in one place |
| `replicate` | the steps of one world and seed: its model, the scores in all settings, the trainings on halves |
| `results` | the tables, what was aimed at, and the page |
"""
