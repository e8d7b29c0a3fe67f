"""`python -m ws`: the command line."""

import sys

from ws.app.cli import main

if __name__ == "__main__":
    sys.exit(main())
