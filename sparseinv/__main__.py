"""Run ``python -m sparseinv``."""

import sys

from sparseinv.cli import main

if __name__ == "__main__":
    sys.exit(main())
