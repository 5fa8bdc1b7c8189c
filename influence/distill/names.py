"""What the models of a distillation are called in its tables, in the order they are shown."""

from __future__ import annotations

SYSTEM_1, SYSTEM_2, ONE_SAMPLE, DISTILLED = "System 1", "System 2", "System 2, one sample", "distilled"

#: Controls: the first sample of each input instead of the filter's choice; System 1's own filtered answers; right ones.
NO_FILTER, SELF, GOLD = "no filter", "System 1 distilled", "gold labels"

#: The other internalisers, where they were run on the same pairs.
STEPWISE, CONTEXT = "distilled, stepwise", "distilled, context"

#: Answers alone again, on as many examples as stepwise removal saw.
AS_LONG = "distilled, as long"

MODELS = (SYSTEM_1, ONE_SAMPLE, SYSTEM_2, DISTILLED, STEPWISE, CONTEXT, AS_LONG, NO_FILTER, SELF, GOLD)

#: The wording of the question that pairs were made with.
AS_TUNED = "as tuned"
