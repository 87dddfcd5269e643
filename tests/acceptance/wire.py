"""The client that the tests ask with: the one of `gateway chaos`."""

from gateway.embedded.wire import HERE, Answer, Connection, Lost

__all__ = ["HERE", "Answer", "Connection", "Lost"]
