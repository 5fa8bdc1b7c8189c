"""Papers' findings, from data and training to the table of findings.

The folder `internalization` has *From Explicit CoT to Implicit CoT*; it says itself what belongs to it.
`procedural_knowledge.procedural_knowledge` is the whole of *Procedural Knowledge in Pretraining*. What belongs to it:

| module | does |
|---|---|
| `scales` | every number of a scale, in one place |
| `steps` | runs named steps, skips those that are done, says how long is left |
| `world` | the corpus, the tuning pairs and the questions of one seed |
| `choice` | which of the answered questions become the query set |
| `one_seed` | the steps of one seed, from its corpus to its measures |
| `methods` | the five ways to rank documents, as rows of one shape |
| `measures` | one number a query and measure, and the correlations between queries |
| `truth` | what only a world with known truth can measure |
| `removal` | which documents to drop for a group of queries |
| `retrain` | training again without them, and what that does to the queries |
| `intervals` | resampling over queries and over seeds |
| `published` | what the paper found, row by row, with its values |
| `findings` | the table of findings, and the rule that says whether they hold |
| `tables` | the tables of truth and removal |
| `results` | the files a reader opens |
| `markdown` | their tables and numbers |
| `drawings` | the figures |

Everything between orchestration and files is pure and tested on constructed inputs.
"""
