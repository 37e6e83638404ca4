"""`python -m muster.cli`, for where the script `muster` is not on the path."""

from muster.cli import main

if __name__ == "__main__":
    main()
