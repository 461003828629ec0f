"""`python -m leepfrog` is the command line."""

import os
import sys

# With -m, Python looks for modules in the current folder first, and that may hold a stranger's files.
if not sys.flags.safe_path and os.path.realpath(sys.path[0]) == os.path.realpath(os.curdir):
    del sys.path[0]

from leepfrog.cli.main import main

main()
