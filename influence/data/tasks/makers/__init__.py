"""One module per task: it makes the examples from a seed, or reads them in the format they were published in."""
