"""``python -m autograder``: the same commands as ``autograder``."""

from autograder.cli import main

main()
