"""`gateway demo`, `bench` and `chaos`: everything on this machine, from wheels."""

from pathlib import Path
from typing import Annotated

import typer

from gateway.exits import told


def demo(
    *,
    port: Annotated[int, typer.Option(min=1, max=65535)] = 8000,
    data: Annotated[Path, typer.Option(help="Kept between runs.")] = Path(".demo"),
    residents: Annotated[int, typer.Option(min=1, help="Synthetic ones.")] = 50_000,
    workers: Annotated[
        int | None, typer.Option(min=1, max=256, help="Without it: one a core.")
    ] = None,
) -> None:
    """Run everything on this machine, with synthetic residents, until Ctrl-C."""
    from gateway.embedded.demo import run  # noqa: PLC0415 - servers lists do without

    with told():
        run(port=port, data=data, residents=residents, workers=workers)


def bench(
    *,
    seconds: Annotated[float, typer.Option(min=0.2, help="Of each kind, a round.")] = 4,
    rounds: Annotated[int, typer.Option(min=1)] = 3,
    residents: Annotated[int, typer.Option(min=1000)] = 200_000,
    institutions: Annotated[int, typer.Option(min=1)] = 1_000,
    as_json: Annotated[
        Path | None, typer.Option("--json", help="A file; a picture goes beside it.")
    ] = None,
    against: Annotated[
        Path | None,
        typer.Option(help="Figures of before: fails where calls became dearer."),
    ] = None,
) -> None:
    """Measure this machine: calls a second of each kind, beside what it could do bare."""
    from gateway.embedded.bench import run  # noqa: PLC0415 - as above
    from gateway.embedded.reporting import Size  # noqa: PLC0415 - as above

    with told():
        run(Size(seconds, rounds, residents, institutions), as_json, against)


def chaos(
    *,
    minutes: Annotated[
        float | None, typer.Option(min=0.1, help="2 without it and without --times.")
    ] = None,
    times: Annotated[
        int | None, typer.Option(min=1, help="Each fault, however long that takes.")
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(help="A fault by its printed name; repeat for more. Else all."),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Without it: a new one, printed.")
    ] = None,
    as_json: Annotated[Path | None, typer.Option("--json", help="A file.")] = None,
) -> None:
    """Break everything at random under load; tell whether the log and the limits held."""
    from gateway.embedded.chaos import run  # noqa: PLC0415 - as above

    with told():
        run(
            minutes=minutes,
            times=times,
            only=only or [],
            seed=seed,
            json_file=as_json,
        )
