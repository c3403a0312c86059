"""``coevolve`` as a child that ends in order when the process that started it is gone.

Its standard input is a pipe nobody writes to. The end of that pipe is seen even where the
parent was killed and could not tidy up; the run then saves itself, as on any SIGTERM.
"""

from __future__ import annotations

import os
import signal
import threading


def end_with_starter() -> None:
    """Send SIGTERM to this process when standard input ends."""
    # A parent that ignores it hands that on.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def wait() -> None:
        os.read(0, 1)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True, name="starter").start()


if __name__ == "__main__":
    end_with_starter()
    from services.cli import main

    main()
