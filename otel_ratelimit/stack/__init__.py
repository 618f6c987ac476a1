"""The programs around an application, each the real one, as child processes on loopback."""
