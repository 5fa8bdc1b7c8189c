"""Do scores predict what training again shows? Retraining on parts of a corpus, and checks that need no retraining."""
