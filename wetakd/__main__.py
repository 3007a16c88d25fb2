"""`python -m wetakd` is the command `wetakd`."""

from wetakd.cli import main

if __name__ == "__main__":
    main()
