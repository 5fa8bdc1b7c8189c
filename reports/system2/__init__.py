"""Distilling System 2 into System 1, by small models that truly do System 2, from their text to the table of effects.

`reports.system2.study.system2` is the whole of it. What belongs to it:

| module | does |
|---|---|
| `scales` | every number of a scale, in one place |
| `vocabulary` | the tokenizer: words of the forms, and characters for all else |
| `text` | what the base model reads: rephrasings, answers to them, and hasty answers |
| `tasks` | the questions of each task, and prompts and wordings that fit the text |
| `replicate` | the steps of one seed: base model, distillations, other internalisers |
| `tables` | models and effects over seeds, and the rule that says whether an effect appears |
| `results` | the page of the findings |

Method and numbers: Yu, Xu, Weston, Kulikov, *Distilling System 2 into System 1* (arXiv 2407.06023).
"""
