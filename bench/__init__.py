"""Benchmarks of pyneedle against the frameworks; see README.md."""
