from __future__ import annotations

import os
import sys

import django

os.environ["DJANGO_SETTINGS_MODULE"] = "tests.stateful.settings"
django.setup()

if __name__ == "__main__":
    from tests.stateful.run import found, main

    sys.exit(found() if sys.argv[1:] == ["found"] else main())
