"""Modules that every part may use."""
