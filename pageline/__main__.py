"""`python -m pageline` is the command `pageline`."""

from pageline.cli import main

if __name__ == "__main__":
    main()
