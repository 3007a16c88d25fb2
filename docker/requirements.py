"""Print the requirements of a project and of its extras: `requirements.py pyproject.toml EXTRA…`.

For the image's layer of dependencies, which must not change whenever the package itself does.
"""

import sys
import tomllib
from pathlib import Path

if __name__ == "__main__":
    project = tomllib.loads(Path(sys.argv[1]).read_text())["project"]
    print(*project["dependencies"], sep="\n")
    for extra in sys.argv[2:]:
        print(*project["optional-dependencies"][extra], sep="\n")
