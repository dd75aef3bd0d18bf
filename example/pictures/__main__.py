"""Paint the album into a folder, and print the paths: python -m pictures FOLDER."""

import sys
from pathlib import Path

from .gallery import make_pictures

if __name__ == "__main__":
    for path in make_pictures(Path(sys.argv[1])):
        print(path)
