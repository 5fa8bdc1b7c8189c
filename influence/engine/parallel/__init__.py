"""Several processes that share one run, and the pieces of a run that are joined."""
