"""How limits come into a process."""
