"""`gateway audit`: verify and export the log, archive its days, and keep them."""

import typer

from gateway.audit.rotation import rotate_subject_key
from gateway.audit_commands import evidence, keeping

# A traceback of rich's could print local variables: a DSN holds a password.
app = typer.Typer(
    help="The audit log: verify, export, archive and keep it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command()(evidence.verify)
app.command()(evidence.export)
app.command()(keeping.partitions)
app.command()(keeping.archive)
app.command()(keeping.expire)
app.command()(keeping.hold)
app.command()(keeping.release)
app.command("rotate-subject-key")(rotate_subject_key)
