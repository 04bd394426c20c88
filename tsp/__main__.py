"""`python -m tsp` is the `tsp` command."""

from tsp.cli import main

if __name__ == "__main__":
    main()
