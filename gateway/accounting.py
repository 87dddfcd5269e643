"""How a call is accounted for, whichever way it ends: see lookup.py, whose policy it is."""

from types import TracebackType
from typing import Any, Protocol

from gateway.audit.access import Access
from gateway.audit.journal import Recording
from gateway.calls import Call
from gateway.problems import AbnormalUsage


class Policy(Protocol):
    """What is done about a call that ends without an answer."""

    async def undo(self, call: Call[Any], error: BaseException) -> None:
        """What it spent and claimed, unless the error is an answer."""

    async def count_abnormal(self, access: Access) -> None:
        """Who guesses is refused for it, and for collecting too many such refusals."""


class Accounted:
    """Every way out of a call: one entry, and nothing spent that it does not say.

    A class, since the loop keeps a list of all generators, and each call would be in it.
    """

    __slots__ = ("_call", "_policy", "_recording")

    def __init__(self, call: Call[Any], recording: Recording, policy: Policy) -> None:
        self._call = call
        self._recording = recording
        self._policy = policy

    async def __aenter__(self) -> None:
        await self._recording.__aenter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            await self._record(error)
        except BaseException as instead:
            await self._policy.undo(self._call, instead)
            raise
        if error is not None:
            await self._policy.undo(self._call, error)

    async def _record(self, error: BaseException | None) -> None:
        if isinstance(error, AbnormalUsage):
            try:
                await self._policy.count_abnormal(self._call.access)
            except BaseException as instead:
                await self._recording.end(instead)
                raise
        await self._recording.end(error)
