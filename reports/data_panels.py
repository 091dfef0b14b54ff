"""The data figures of several sweeps as the panels of one figure, as in MM1's Fig. 5. From a shell:

python -m reports.data_panels FOLDER... --output figure.png
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from reports.analysis import analyse
from reports.export import write_images
from reports.figures.data_mix import data_mix_grid
from reports.frame import Results
from reports.records import ReportError, read_records


def main(arguments: Sequence[str]) -> int:
    """Draw the panels of finished sweeps in one figure."""
    parser = argparse.ArgumentParser(prog="python -m reports.data_panels", description=main.__doc__)
    parser.add_argument("folders", nargs="+", type=Path, help="sweep folders, store/sweeps/NAME, in order")
    parser.add_argument("--output", type=Path, required=True, help="a .png, .svg or .pdf file")
    options = parser.parse_args(arguments)
    try:
        analyses = [analyse(Results(read_records(folder, store=folder.parent.parent))) for folder in options.folders]
        write_images({options.output: data_mix_grid(analyses)})
    except ReportError as error:
        print(error, file=sys.stderr)
        return 2
    print(options.output)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
