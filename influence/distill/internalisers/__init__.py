"""Ways to turn what System 2 answered into what System 1 answers, behind one interface.

| way | learns from | module |
|---|---|---|
| `answer-only` | question → answer, the trace thrown away: the method of arXiv 2407.06023 | `influence.train.sft` |
| `stepwise` | question → trace → answer while the trace is removed token by token (arXiv 2405.14838) | `stages` |
| `context` | its own answers, judged by itself with the trace in context (arXiv 2602.12275) | `context` |

`internalise.internalise` runs any of them: from lessons and a model to a model folder. `answering.load_generator` asks
that folder the way its training asked it.
"""
