"""Filters that choose an answer among samples of a model without labels; no model, no torch, usable alone.

`majority` votes over samples, `consistency` lets the model pick its most consistent response, `perturbation` asks the
same thing in another order, `outcome` says of every item whether it is kept, why, and with which target.
"""
