"""Run the command line as ``python -m qsmbids``."""

from qsmbids.cli.run import main

if __name__ == "__main__":
    raise SystemExit(main())
