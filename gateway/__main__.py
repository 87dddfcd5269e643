"""`gateway` and `python -m gateway`: the command line."""


def main() -> None:
    """Imports it only now: Python imports the script that calls this in workers too."""
    from gateway.cli import app  # noqa: PLC0415 - see above

    app()


if __name__ == "__main__":
    main()
