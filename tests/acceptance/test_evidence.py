"""What an outsider fetches over HTTP is all that an outsider needs."""

import asyncio
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

import httpx
import pytest

from tests.acceptance import questions
from tests.acceptance.questions import nik_of
from tests.acceptance.service import Service
from tests.evidence.independent import (
    beside,
    check_export,
    check_grown,
    check_inclusion,
    check_range,
    check_receipt,
)
from tests.evidence.notes import Checkpoint, VerifierKey, opened
from tests.evidence.trees import leaf

pytestmark = [pytest.mark.acceptance]

# The contract lets sealing take this long after the commit.
SEALED_SECONDS: Final = 5.0
HASH: Final = 32
# As a word processor writes it.
REFERENCE: Final = "berkas\u00a04711"


async def keys(service: Service) -> list[VerifierKey]:
    answer = await service.ask("GET", "/log/key")
    return [VerifierKey.parse(line) for line in answer.body.decode().splitlines()]


async def note(service: Service, *, of_at_least: int) -> tuple[str, Checkpoint]:
    """The head, whichever worker tells it: another has told one of this size."""
    text = (await service.ask("GET", "/log/checkpoint")).body.decode()
    head = opened(text, await keys(service))
    assert head.size >= of_at_least
    return text, head


async def proof(service: Service, kind: str, **of: int) -> Mapping[str, Any]:
    answer = await service.ask("GET", f"/log/proof/{kind}?{urlencode(of)}")
    assert answer.status == 200, answer
    document: Mapping[str, Any] = answer.json
    return document


async def once_sealed(service: Service, target: str, key: str) -> Any:
    """A receipt or a proof, once it is no longer 202."""
    deadline = time.monotonic() + SEALED_SECONDS
    while (answer := await service.ask("GET", target, key=key)).status == 202:
        assert time.monotonic() < deadline, "not sealed in time"
        await asyncio.sleep(float(answer.headers["retry-after"]))
    assert answer.status == 200, answer
    return answer.json


async def entered(service: Service) -> tuple[str, str]:
    """A lookup: its caller's key and its access_id."""
    caller = service.newcomer()
    nik = nik_of(service.residents[60])
    answer = await service.put(
        questions.fetch(caller, nik, ["name"], reference=REFERENCE)
    )
    assert answer.access_id is not None
    return caller.key, answer.access_id


async def test_a_receipt_and_an_auditors_proof_convince_an_outsider(
    service: Service,
) -> None:
    key, access_id = await entered(service)
    receipt = await once_sealed(service, f"/v1/receipts/{access_id}", key)
    target = f"/audit/entries/{access_id}/proof?reason=complaint"
    shown = await once_sealed(service, target, service.staff["auditor"])
    for document in (receipt, shown):
        check_receipt(document, await keys(service))
        entry = json.loads(document["entry"])
        assert (entry["access_id"], entry["reference"]) == (access_id, REFERENCE)
    assert receipt["entry"] == shown["entry"]
    assert receipt["leaf_index"] == shown["leaf_index"]


async def test_public_proofs_and_leaves_convince_an_outsider(service: Service) -> None:
    key, access_id = await entered(service)
    receipt = await once_sealed(service, f"/v1/receipts/{access_id}", key)
    old, index = check_receipt(receipt, await keys(service)), receipt["leaf_index"]
    key, access_id = await entered(service)
    await once_sealed(service, f"/v1/receipts/{access_id}", key)
    _, new = await note(service, of_at_least=old.size + 1)
    of = {"from": old.size, "to": new.size}
    check_grown(await proof(service, "consistency", **of), old, new)
    hashed = leaf(receipt["entry"].encode())
    of = {"index": index, "size": new.size}
    check_inclusion(await proof(service, "inclusion", **of), hashed, new)
    of = {"start": max(0, index - 300), "end": new.size}
    answer = await service.ask("GET", f"/log/leaves?{urlencode(of)}")
    leaves = [answer.body[at : at + HASH] for at in range(0, len(answer.body), HASH)]
    assert leaves[index - of["start"]] == hashed
    check_range(await proof(service, "range", **of, size=new.size), leaves, new)


async def test_an_export_over_http_convinces_an_outsider(
    service: Service, tmp_path: Path
) -> None:
    key, access_id = await entered(service)
    receipt = await once_sealed(service, f"/v1/receipts/{access_id}", key)
    asked = {"reason": "yearly audit", "from": json.loads(receipt["entry"])["at"]}
    async with httpx.AsyncClient() as client:
        answer = await client.get(
            f"http://127.0.0.1:{service.gateway.port}/audit/export",
            params=asked,
            headers={"Authorization": f"Bearer {service.staff['auditor']}"},
        )
    span, _, _ = answer.headers["Log-Range"].partition("/")
    start, end = map(int, span.split("-"))
    checkpoint, head = await note(service, of_at_least=end)
    beside_it = await proof(service, "range", start=start, end=end, size=head.size)
    document = {"range": beside_it, "checkpoint": checkpoint}
    file = tmp_path / "log.ndjson"
    file.write_bytes(answer.content)
    beside(file, "proof.json").write_text(json.dumps(document))
    lines = check_export(file, await keys(service))
    assert receipt["entry"] in lines
