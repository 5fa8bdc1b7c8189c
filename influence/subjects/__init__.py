"""What a training run is asked about: its checkpoints, examples and traces as models, queries and documents."""
