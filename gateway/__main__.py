"""`python -m gateway`: the command line."""

from gateway.cli import app

# A worker spawned by `gateway serve` imports this module too, and must not begin anew.
if __name__ == "__main__":
    app()
