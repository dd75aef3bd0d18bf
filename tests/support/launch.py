"""Become another program that the kernel ends with its parent: a killed test run leaves no server behind.

Linux only; elsewhere the program just runs. "Parent" means the thread that started it: start servers from a thread
that lives as long as they do.

Usage: python launch.py PARENT_PID PROGRAM [ARGUMENT…]
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main(parent: int, command: list[str]) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        # The parent may have died before the line above took hold.
        if os.getppid() != parent:
            sys.exit("the process that asked for this one is gone")
    os.execvp(command[0], command)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
