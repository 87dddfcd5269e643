"""The API's document as text: what a JSON reader would pass over."""

import json

from gateway.edge.openapi import DOCUMENT


def test_no_member_of_the_document_is_given_twice() -> None:
    def once(pairs: list[tuple[str, object]]) -> dict[str, object]:
        assert len(dict(pairs)) == len(pairs), [name for name, _ in pairs]
        return dict(pairs)

    json.loads(DOCUMENT, object_pairs_hook=once)
