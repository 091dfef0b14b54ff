"""``python -m ablations`` is ``ablate``, where the console script is not on the path."""

from ablations.cli import main

main()
