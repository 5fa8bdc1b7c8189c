"""A small world of our own in which it is known which document states what.

Fictional facts and three procedures (slopes, two-step arithmetic, linear equations), told in many wordings by
eight sources, among distractors. Every document carries its truth in `Document.metadata`:

| key | holds |
|---|---|
| `facts` | ids of the facts the text states, such as `height:velabrin` |
| `procedures` | the procedures it explains, works or implements: `slopes`, `arithmetic`, `linear` |
| `procedure_form` | how it shows them: `prose`, `maths`, `code`, `stackexchange`; empty when it shows none |
| `form` | the template family, such as `article`, `worked` or `python` |
| `problems` | keys of the problem instances it uses, such as `slopes 3,4 7,12` |
| `steps` | the intermediate results it writes out, such as `12 - 4 = 8` |

To add a kind of document, write a function in one of the `*_forms` modules and add it to that module's `FORMS`;
to add facts, add a `Relation` to `relations.py`; to add a procedure, add one to `problems.py`.
"""

from influence.data.miniworld.corpus import generate, write_corpus
from influence.data.miniworld.plan import make_plan
from influence.data.miniworld.problems import Ranges
from influence.data.miniworld.query_sets import (
    all_questions,
    problem_set,
    query_sets,
    question_sets,
    ready_query_sets,
    tuning_pairs,
)
from influence.data.miniworld.settings import SOURCES, Settings
from influence.data.miniworld.world import Fact, World

__all__ = [
    "SOURCES",
    "Fact",
    "Ranges",
    "Settings",
    "World",
    "all_questions",
    "generate",
    "make_plan",
    "problem_set",
    "query_sets",
    "question_sets",
    "ready_query_sets",
    "tuning_pairs",
    "write_corpus",
]
