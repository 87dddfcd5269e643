"""The command line. What was asked for goes to stdout, sentences to stderr (exits.py)."""

import asyncio
from typing import Annotated

import typer

from gateway import (
    audit_commands,
    certificate_commands,
    doctor_command,
    here_commands,
    options,
    quota_commands,
    tables,
)
from gateway.command_changes import NO_INSTITUTION, answer, change, confirm, look
from gateway.exits import may_go, session, told
from gateway.migration import migrate as bring_up_to_date
from gateway.partners import keeping, listing, terms
from gateway.problems import Fault
from gateway.settings import OwnerSettings, read_settings
from gateway.vocabulary import Operation


def _group(words: str) -> typer.Typer:
    # A traceback of rich's could print local variables: DSNs, peppers, keys.
    return typer.Typer(
        help=words,
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )


app = _group("The audited gateway in front of the population registry.")
institution_app = _group("Institutions: the cooperating bodies.")
agreement_app = _group("Agreements: what an institution may ask, and how much.")
key_app = _group("Keys of institutions.")
staff_app = _group("Staff: auditors, ops and admins, each with one token.")
app.add_typer(institution_app, name="institution")
app.add_typer(agreement_app, name="agreement")
app.add_typer(key_app, name="key")
app.add_typer(staff_app, name="staff")
app.add_typer(audit_commands.app, name="audit")
app.add_typer(quota_commands.app, name="quota")
app.command()(here_commands.demo)
app.command()(here_commands.bench)
app.command()(doctor_command.doctor)
app.command()(here_commands.chaos)
institution_app.command()(certificate_commands.bind)
institution_app.command()(certificate_commands.unbind)
institution_app.command()(certificate_commands.certificates)


@app.command()
def serve() -> None:
    """Serve until SIGTERM or Ctrl-C; calls under way then end first."""
    from gateway import serving  # noqa: PLC0415 - a web server that lists do without

    with told():
        serving.serve()


@app.command()
def seal() -> None:
    """Seal the log; `serve` starts one beside its workers."""
    from gateway import sealing  # noqa: PLC0415 - what only the sealer needs

    with told():
        sealing.seal()


@app.command()
def witness() -> None:
    """Hold another log to account: cosign its heads, never two histories."""
    from gateway import witnessing  # noqa: PLC0415 - a web server that lists do without

    with told():
        witnessing.serve()


@app.command()
def migrate() -> None:
    """Bring the database to this version's schema and roles; safe to repeat."""

    async def bring() -> None:
        settings = read_settings(OwnerSettings)
        async with session(settings.owner_dsn, setting="GATEWAY_OWNER_DSN"):
            pass
        with may_go():
            await bring_up_to_date(str(settings.owner_dsn))

    with told():
        asyncio.run(bring())


@institution_app.command("create")
def create_institution(
    name: str, *, reason: options.Reason, as_json: options.AsJson = False
) -> None:
    """Make an institution; answers its id."""
    made = change(
        Operation.INSTITUTION_CREATE,
        reason,
        lambda connection, _: keeping.create_institution(connection, name),
    )
    answer({"id": made.result}, made, as_json=as_json)


@institution_app.command("list")
def list_institutions(*, as_json: options.AsJson = False) -> None:
    """List all institutions."""
    kept = look(listing.list_institutions)
    tables.show(tables.of_institutions(kept), as_json=as_json)


@institution_app.command("release")
def release_institution(
    institution: int, *, reason: options.Reason, as_json: options.AsJson = False
) -> None:
    """Let an institution go that was slowed or stopped; it is watched anew."""
    made = change(
        Operation.INSTITUTION_RELEASE,
        reason,
        lambda connection, _: keeping.release_institution(connection, institution),
        missing=NO_INSTITUTION,
    )
    confirm({"id": made.result}, made, as_json=as_json)


@agreement_app.command("create")
def create_agreement(
    institution: int,
    *,
    begins: options.From = None,
    ends: options.To = None,
    grant: options.Grants = None,
    rate: options.Rate = None,
    burst: options.Burst = None,
    day: options.Day = None,
    month: options.Month = None,
    reason: options.Reason,
    as_json: options.AsJson = False,
) -> None:
    """Make an agreement, active from the start; answers its id.

    It needs --from, --to, all four limits and at least one --grant.
    """
    faults: list[Fault] = []
    from_at = options.read_instant(begins, faults, "/from")
    to_at = options.read_instant(ends, faults, "/to")
    made = change(
        Operation.AGREEMENT_CREATE,
        reason,
        lambda connection, _: keeping.create_agreement(
            connection,
            institution,
            # One that could not be read is a fault; these let the rest be checked.
            from_at=terms.EARLIEST if from_at is None else from_at,
            to_at=terms.LATEST if to_at is None else to_at,
            grants=list(map(options.split_grant, grant or ())),
            limits=options.given_limits(rate, burst, day, month),
        ),
        faults,
        missing=NO_INSTITUTION,
    )
    answer({"id": made.result}, made, as_json=as_json)


@agreement_app.command("change")
def change_agreement(
    agreement: int,
    *,
    begins: options.From = None,
    ends: options.To = None,
    grant: options.Grants = None,
    rate: options.Rate = None,
    burst: options.Burst = None,
    day: options.Day = None,
    month: options.Month = None,
    status: options.Status = None,
    shadow: options.Shadow = None,
    reason: options.Reason,
    as_json: options.AsJson = False,
) -> None:
    """Change what is given and leave the rest; grants are replaced together."""
    faults: list[Fault] = []
    from_at = options.read_optional_instant(begins, faults, "/from")
    to_at = options.read_optional_instant(ends, faults, "/to")
    limits = options.given_limits(rate, burst, day, month)
    if not (begins or ends or grant or limits or status or shadow):
        faults.append(Fault("", "nothing is given that would change"))
    made = change(
        Operation.AGREEMENT_CHANGE,
        reason,
        lambda connection, _: keeping.change_agreement(
            connection,
            agreement,
            from_at=from_at,
            to_at=to_at,
            grants=list(map(options.split_grant, grant)) if grant else None,
            limits=limits or None,
            status=status,
            shadow=options.split_shadow(shadow),
        ),
        faults,
        missing="There is no such agreement.",
    )
    confirm({"id": made.result}, made, as_json=as_json)


@agreement_app.command("list")
def list_agreements(*, as_json: options.AsJson = False) -> None:
    """List all agreements, with their grants and limits."""
    kept = look(listing.list_agreements)
    tables.show(tables.of_agreements(kept), as_json=as_json)


@key_app.command("create")
def create_key(
    institution: int,
    *,
    not_after: options.NotAfter = None,
    cidr: options.Networks = None,
    test: options.Sandbox = False,
    reason: options.Reason,
    as_json: options.AsJson = False,
) -> None:
    """Make a key; its text is shown this once. Two may live, so that one replaces one."""
    faults: list[Fault] = []
    dead_from = options.read_optional_instant(not_after, faults, "/not_after")
    made = change(
        Operation.KEY_CREATE,
        reason,
        lambda connection, peppers: keeping.create_key(
            connection,
            peppers,
            institution=institution,
            not_after=dead_from,
            cidrs=cidr,
            environment=options.environment(test=test),
        ),
        faults,
        missing=NO_INSTITUTION,
    )
    key = made.result
    answer({"id": key.id, "key": key.text}, made, as_json=as_json)


@key_app.command("revoke")
def revoke_key(
    key: str, *, reason: options.Reason, as_json: options.AsJson = False
) -> None:
    """End a key, or a token, by its id: within a second every worker refuses it."""
    made = change(
        Operation.KEY_REVOKE,
        reason,
        lambda connection, _: keeping.revoke_key(connection, key),
        missing="There is no such key.",
    )
    confirm({"id": made.result}, made, as_json=as_json)


@key_app.command("list")
def list_keys(*, as_json: options.AsJson = False) -> None:
    """List institutions' keys, dead ones too; never a secret."""
    kept = look(listing.list_keys)
    tables.show(tables.of_keys(kept), as_json=as_json)


@staff_app.command("create")
def create_staff(
    name: str,
    *,
    role: Annotated[str, typer.Option(help="auditor, ops or admin.")],
    not_after: options.NotAfter = None,
    test: options.Sandbox = False,
    reason: options.Reason,
    as_json: options.AsJson = False,
) -> None:
    """Make a member of staff; the text of the token is shown this once."""
    faults: list[Fault] = []
    dead_from = options.read_optional_instant(not_after, faults, "/not_after")
    made = change(
        Operation.STAFF_CREATE,
        reason,
        lambda connection, peppers: keeping.create_staff(
            connection,
            peppers,
            role=role,
            name=name,
            not_after=dead_from,
            environment=options.environment(test=test),
        ),
        faults,
    )
    staff = made.result
    answer({"id": staff.id, "token": staff.token.text}, made, as_json=as_json)


@staff_app.command("revoke")
def revoke_staff(
    staff: int, *, reason: options.Reason, as_json: options.AsJson = False
) -> None:
    """End the token of a member of staff, by the member's id."""
    made = change(
        Operation.STAFF_REVOKE,
        reason,
        lambda connection, _: keeping.revoke_staff(connection, staff),
        missing="There is no such member of staff.",
    )
    confirm({"id": made.result}, made, as_json=as_json)


@staff_app.command("list")
def list_staff(*, as_json: options.AsJson = False) -> None:
    """List all staff, those whose token is dead too; never a secret."""
    kept = look(listing.list_staff)
    tables.show(tables.of_staff(kept), as_json=as_json)
