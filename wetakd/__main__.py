"""`python -m wetakd` is the command `wetakd`."""

import os
import sys

if __name__ == "__main__":
    # Python puts the working directory first here, so a `pandas.py` in it would be executed in place of pandas.
    if not sys.flags.safe_path and sys.path[0] in ("", os.getcwd()):
        del sys.path[0]
    from wetakd.commands.main import main

    main()
