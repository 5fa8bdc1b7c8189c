"""Stepwise internalisation: a model learns to answer while its chain of thought is removed token by token."""
