"""``python -m ablations`` is ``ablate``, where the console script is not on the path."""

import sys

from ablations.cli import main

sys.exit(main())
