"""`python -m gateway`: the command line.

A worker spawned by `gateway serve` imports this module too, as `__mp_main__`: it must not
begin anew, and is to be there soon, since it may follow one that died.
"""

import gc

if __name__ == "__main__":
    from gateway.cli import app

    app()
elif __name__ == "__mp_main__":
    # Of what it imports now nothing is garbage: to look for some took a fifth of its
    # start. `collect_seldom` has it looked for again.
    gc.disable()
