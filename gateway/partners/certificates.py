"""The client certificates that institutions are bound to: pure.

Of an institution that is bound to any, a key is accepted only with one of them, so that a
stolen key alone opens nothing. One that is bound to none calls without.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from hmac import compare_digest

from gateway.problems import Unauthenticated

_NONE = b""


@dataclass(frozen=True, slots=True)
class Certificate:
    """A binding. `fingerprint` is the SHA-256 of the certificate's DER (RFC 8705 §3.1).

    From `not_after` on it admits nobody, and still binds; `unbound_at` frees of it.
    """

    id: int
    institution: int
    fingerprint: bytes
    label: str
    not_after: int
    created_at: int
    unbound_at: int | None


class Bindings:
    """Who is bound to what, as one copy of the directory has it."""

    def __init__(self) -> None:
        self._bound: dict[int | None, tuple[Certificate, ...]] = {}

    def apply(self, changed: Iterable[Certificate]) -> None:
        for certificate in changed:
            holder = certificate.institution
            before = self._bound.pop(holder, ())
            bound = tuple(one for one in before if one.id != certificate.id)
            if certificate.unbound_at is None:
                bound = (*bound, certificate)
            if bound:
                self._bound[holder] = bound

    def check(
        self, institution: int | None, key: int, presented: bytes | None, now: int
    ) -> None:
        """Refuse a proved key over a connection with none of the certificates it needs.

        Args:
            institution: whose key it is; None of staff, who are bound to none.
            key: the number of the key, for the entry.
            presented: fingerprint of the connection's certificate, None without one.
            now: the server's instant.

        Raises:
            Unauthenticated: the same as for a wrong key.
        """
        bound = self._bound.get(institution)
        if bound is None:
            return
        # All are compared, so that the time does not tell which is alike.
        given = _NONE if presented is None else presented
        alike = [one for one in bound if compare_digest(one.fingerprint, given)]
        if not any(now < one.not_after for one in alike):
            raise Unauthenticated(key)
