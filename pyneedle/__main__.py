"""`python -m pyneedle`."""

from pyneedle.cli import main

main()
