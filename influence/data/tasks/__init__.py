"""Tasks with questions and answers to distil System 2 into System 1 on: made here, or read from files."""
