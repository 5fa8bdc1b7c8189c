"""What a run will take: time, memory and disk."""
