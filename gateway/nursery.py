"""What the process imports from which workers are forked, and nobody else.

It is deaf to what may be sent to all processes of a service at once: its workers end with
it, and are to end in order.
"""

import gc
import importlib
import signal

signal.signal(signal.SIGTERM, signal.SIG_IGN)
signal.signal(signal.SIGINT, signal.SIG_IGN)
# Of what is imported nothing is garbage, and to look for some took a fifth of the time;
# frozen, it is not walked in the workers, which share its memory. `collect_seldom` has
# it looked for again.
gc.disable()
importlib.import_module("gateway.working")
gc.freeze()
