"""Searches a parser for an input that makes it fail, led by the code that it reaches.

`python -m tests.fuzz.search NAME FOLDER [libFuzzer's own options]`: NAME is one of PARSERS,
and FOLDER keeps the inputs that reached something new, for the next search. It ends with 0
where nothing was found; else the input stands in FOLDER/crash-… and what failed is said.
"""

import sys
from hashlib import sha256
from pathlib import Path

# In a virtual environment of its own: `make fuzz`.
import atheris  # type: ignore[import-untyped]  # not here, and without types

with atheris.instrument_imports(include=["gateway", "tests.fuzz", "json", "ipaddress"]):
    from tests.fuzz.parsers import PARSERS
from tests.fuzz.seeds import SEEDS


def main(name: str, folder: Path, options: list[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(SEEDS[name]):
        (folder / f"seed-{number}").write_bytes(seed)
    # A line of a job may have 16 KiB.
    given = ["-max_len=20000", *options]

    def parse(data: bytes) -> None:
        try:
            PARSERS[name](data)
        except BaseException:
            # libFuzzer itself keeps it only where it is built into Python.
            kept = folder / f"crash-{sha256(data).hexdigest()[:16]}"
            kept.write_bytes(data)
            raise

    atheris.Setup([sys.argv[0], *given, str(folder)], parse)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3:])
