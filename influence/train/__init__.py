"""Training runs that leave a model whose training documents are known."""
