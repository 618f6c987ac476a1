"""What follows from the figures kept: pure functions, rows in, answers out."""
