"""Run the command line as `python -m satisfice.cli`."""

from satisfice.cli.main import main

main()
