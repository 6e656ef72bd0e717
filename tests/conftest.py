"""SIGINT interrupts in every test, however pytest was started: background jobs of a shell ignore it, as their children
would.
"""

import signal

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # Children begin with the default action where their parent has a handler.
    signal.signal(signal.SIGINT, signal.default_int_handler)
