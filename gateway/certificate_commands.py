"""`gateway institution bind`, `unbind` and `certificates`: keys that need a certificate."""

from dataclasses import asdict
from typing import Annotated

import typer

from gateway import options, tables
from gateway.command_changes import NO_INSTITUTION, answer, change, confirm, look
from gateway.partners import keeping, listing, terms
from gateway.problems import Fault
from gateway.vocabulary import Operation


def bind(
    institution: int,
    fingerprint: Annotated[
        str,
        typer.Argument(help="SHA-256 of the certificate, as openssl prints it."),
    ],
    *,
    label: Annotated[str, typer.Option(help="What people call it.")],
    not_after: Annotated[
        str,
        typer.Option(
            help="The instant from which it admits nobody: RFC 3339, or a date."
        ),
    ],
    reason: options.Reason,
    as_json: options.AsJson = False,
) -> None:
    """Bind an institution to a client certificate; answers the binding's id.

    From then on its keys are refused without this one or another that it is bound to.
    """
    faults: list[Fault] = []
    ends = options.read_instant(not_after, faults, "/not_after")
    made = change(
        Operation.CERTIFICATE_BIND,
        reason,
        lambda connection, _: keeping.bind_certificate(
            connection,
            institution=institution,
            fingerprint=fingerprint,
            label=label,
            # One that could not be read is a fault; this lets the rest be checked.
            not_after=terms.LATEST if ends is None else ends,
        ),
        faults,
        missing=NO_INSTITUTION,
    )
    answer({"id": made.result}, made, as_json=as_json)


def unbind(
    binding: Annotated[int, typer.Argument(help="Its id.")],
    *,
    reason: options.Reason,
    as_json: options.AsJson = False,
) -> None:
    """End a binding to a certificate; with its last, an institution calls without again."""
    made = change(
        Operation.CERTIFICATE_UNBIND,
        reason,
        lambda connection, _: keeping.unbind_certificate(connection, binding),
        missing="There is no such binding.",
    )
    confirm(asdict(made.result), made, as_json=as_json)
    if not made.result.left:
        says = f"Institution {made.result.institution} is bound to none any more: "
        typer.echo(f"{says}its keys are accepted without a certificate.", err=True)


def certificates(*, as_json: options.AsJson = False) -> None:
    """List bindings to certificates, ended ones too."""
    kept = look(listing.list_certificates)
    tables.show(tables.of_certificates(kept), as_json=as_json)
