"""`python -m gateway`: the command line.

Python imports this module in each worker too, as `__mp_main__`: it must not begin anew.
"""

if __name__ == "__main__":
    from gateway.cli import app

    app()
