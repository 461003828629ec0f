"""Command-line entry point for `python -m leepfrog`."""

import os
import sys

# With -m, Python looks for modules in the current folder first, which may contain untrusted files.
if not sys.flags.safe_path and os.path.realpath(sys.path[0]) == os.path.realpath(os.curdir):
    del sys.path[0]

from leepfrog.cli.main import main

main()
