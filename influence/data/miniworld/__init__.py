"""A small world of our own in which it is known which document states what.

Fictional facts and three procedures (slopes, two-step arithmetic, linear equations), told in many wordings by
eight sources, among distractors. Every document carries its truth in `Document.metadata`:

| key | holds |
|---|---|
| `facts` | ids of the facts the text states, such as `height:velabrin` |
| `procedures` | the procedures it explains, works or implements: `slopes`, `arithmetic`, `linear` |
| `form` | the template family, such as `article`, `worked` or `python` |
| `problems` | keys of the problem instances it uses, such as `slopes 3,4 7,12` |
| `steps` | the intermediate results it writes out, such as `12 - 4 = 8` |

To add a kind of document, write a function in one of the `*_forms` modules and add it to that module's `FORMS`;
to add facts, add a `Relation` to `relations.py`; to add a procedure, add one to `problems.py`.
"""

from influence.data.miniworld.corpus import SOURCES, generate, write_corpus
from influence.data.miniworld.query_sets import query_sets
from influence.data.miniworld.world import Fact, facts

__all__ = ["SOURCES", "Fact", "facts", "generate", "query_sets", "write_corpus"]
