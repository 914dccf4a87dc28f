"""The steps behind scripts/setup.py."""
