"""The passes over text: fit a Hessian, score a corpus."""
