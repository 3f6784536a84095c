"""`python -m hrpose` is the command `hrpose`."""

import sys

from hrpose.cli import main

if __name__ == "__main__":
    sys.exit(main())
