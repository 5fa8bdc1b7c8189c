"""The findings of *Procedural Knowledge in Pretraining* in worlds of our own, where the truth is known.

`study` is the whole of it. Everything between orchestration and files is pure and tested on constructed inputs.

| module | does |
|---|---|
| `scales` | every number of a scale, in one place |
| `world` | the corpus, the tuning pairs and the questions of one seed |
| `query_selection` | which of the answered questions become the query set |
| `replicate` | the steps of one seed, from its corpus to its measures |
| `methods` | the five ways to rank documents, as rows of one shape |
| `metrics` | one number a query and measure, and the correlations between queries |
| `ground_truth` | what only a world with known truth can measure |
| `removal` | which documents to drop for a group of queries |
| `retrain` | training again without them, and what that does to the queries |
| `findings` | what the paper found, claim by claim, with its values, and the table of findings |
| `tables` | the tables of truth and removal |
| `results` | the page of the findings |
| `drawings` | the figures |
"""
