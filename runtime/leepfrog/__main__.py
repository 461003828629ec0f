"""`python -m leepfrog` is the command line."""

from leepfrog.cli.main import main

main()
