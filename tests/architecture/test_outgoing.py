"""Where the gateway calls others: its servers, and those whom its settings name."""

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# What opens a connection to an address of one's choice, or runs what does.
CLIENTS = {
    *(
        "opentelemetry",
        "aiohttp",
        "ftplib",
        "http.client",
        "httpx",
        "requests",
        "smtplib",
        "socket",
    ),
    *("urllib.request", "urllib3", "websockets", "xmlrpc.client"),
}
# PostgreSQL and Redis, whose addresses are settings.
SERVERS = {"asyncpg", "redis"}


def imported(path: Path) -> set[str]:
    """The modules that a file imports, wherever in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {one.name for one in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, node.module.partition(".")[0]}
            names |= {*(f"{node.module}.{n.name}" for n in node.names)}
    return names


def users(modules: set[str]) -> set[str]:
    """The files of the product, without what serves a demo, that import one of these."""
    product = [
        path
        for path in (ROOT / "gateway").rglob("*.py")
        if ROOT / "gateway" / "embedded" not in path.parents
    ]
    assert len(product) > 100
    return {str(path.relative_to(ROOT)) for path in product if imported(path) & modules}


def test_no_address_is_called_but_those_of_the_settings() -> None:
    assert users(CLIENTS) == {
        # Its addresses are those of GATEWAY_WITNESSES_FILE.
        "gateway/audit/courier.py",
        # Its addresses are those of GATEWAY_OIDC_ISSUER, and which that says are its own.
        "gateway/oidc/provider.py",
        # It leads those who come to us elsewhere, and goes nowhere itself.
        "gateway/edge/leaving.py",
        # It sends traces to OTEL_EXPORTER_OTLP_ENDPOINT.
        "gateway/edge/tracing.py",
    }


def test_no_call_trusts_any_certificate_or_goes_where_the_answer_leads() -> None:
    for name in users({"httpx"}):
        calls = [
            node
            for node in ast.walk(ast.parse((ROOT / name).read_text("utf-8")))
            if isinstance(node, ast.Call)
        ]
        clients = [one for one in calls if ast.unparse(one.func).startswith("httpx.")]
        assert clients, name
        given = {keyword.arg for call in calls for keyword in call.keywords}
        assert given.isdisjoint({"verify", "follow_redirects", "mounts", None}), name


def test_no_route_reaches_a_server_by_itself() -> None:
    edges = ("gateway/edge/", "gateway/console/")
    assert [name for name in users(SERVERS) if name.startswith(edges)] == []
    # The search finds what it looks for.
    assert "gateway/postgres.py" in users(SERVERS)
