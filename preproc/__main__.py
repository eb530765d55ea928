"""`python -m preproc`: the command line."""

from preproc.cli import main

main()
