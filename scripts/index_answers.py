"""Does this web address answer within three seconds? Exit status 0: yes, 1: no."""

import os
import sys
import threading
import urllib.request

SECONDS = 3


def answers(address):
    """Say whether a request to this address succeeds."""
    try:
        # The address is that of a package index, from our own scripts.
        with urllib.request.urlopen(address, timeout=SECONDS) as reply:  # nosec B310
            return reply.status == 200
    except (OSError, ValueError):
        return False


if __name__ == "__main__":
    # The socket's own limit does not cover the name look-up, which can hang for half a minute:
    # hence the thread, and hence an exit that does not wait for it.
    found = []
    request = threading.Thread(target=lambda: found.append(answers(sys.argv[1])), daemon=True)
    request.start()
    request.join(SECONDS)
    os._exit(0 if found == [True] else 1)
