"""What the training loops share: batches, resume points, adapters, metrics."""
