"""A real Valkey Cluster of the embedded program: three masters, a replica of each."""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import redis
from redis.backoff import NoBackoff
from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot
from redis.retry import Retry
from typing_extensions import override

from gateway.embedded.ports import HOST
from gateway.embedded.processes import Account
from gateway.embedded.supervision import write_private
from gateway.embedded.valkey import ValkeyServer

MASTERS: Final = 3
PASSWORD: Final = "of-a-test-and-no-secret"  # noqa: S105 - it is none
# Between nodes: beside the ports of the embedded servers.
BUS_PORT_BELOW: Final = 10_000
NODE_TIMEOUT_MS: Final = 1_000
PATIENCE: Final = 30.0
SETTINGS: Final = """\
requirepass {password}
masterauth {password}
cluster-enabled yes
cluster-config-file nodes.conf
cluster-node-timeout {timeout}
cluster-replica-validity-factor 0
cluster-port {bus}
"""


class Node(ValkeyServer):
    """One server of the cluster."""

    @override
    def _write_settings(self, account: Account, port: int) -> None:
        super()._write_settings(account, port)
        kept = [
            line
            for line in self._settings.read_text().splitlines(keepends=True)
            if not line.startswith("requirepass")
        ]
        own = SETTINGS.format(
            password=PASSWORD, timeout=NODE_TIMEOUT_MS, bus=port - BUS_PORT_BELOW
        )
        write_private(self._settings, "".join(kept) + own, account)

    def ask(self, *command: object) -> Any:
        with redis.Redis(
            HOST,
            self.port,
            password=PASSWORD,
            socket_timeout=5,
            retry=Retry(NoBackoff(), 0),
        ) as client:
            return client.execute_command(*command)

    @property
    def id(self) -> str:
        return str(self.ask("CLUSTER", "MYID").decode())

    def knows(self, nodes: int) -> bool:
        """Whether it sees a whole cluster of so many."""
        told = self.ask("CLUSTER", "INFO").splitlines()
        return {b"cluster_state:ok", b"cluster_known_nodes:%d" % nodes} <= set(told)

    def is_master(self) -> bool:
        return bool(self.ask("ROLE")[0] == b"master")


class ValkeyCluster:
    """The first three nodes begin as masters, the others as replicas, in this order."""

    def __init__(self, nodes: list[Node]) -> None:
        self.nodes = nodes

    @property
    def url(self) -> str:
        hosts = ",".join(f"{HOST}:{node.port}" for node in self.nodes[:MASTERS])
        return f"redis+cluster://:{PASSWORD}@{hosts}"

    def pair_of(self, key: str) -> tuple[Node, Node]:
        """The master that held the key's slot at the beginning, and its replica."""
        share = REDIS_CLUSTER_HASH_SLOTS // MASTERS + 1
        number = key_slot(key.encode()) // share
        return self.nodes[number], self.nodes[MASTERS + number]

    def until(self, true: Any) -> None:
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                if true():
                    return
            except (redis.RedisError, OSError):
                if time.monotonic() > deadline:
                    raise
            assert time.monotonic() < deadline, "the cluster does not become so"
            time.sleep(0.05)

    def join(self) -> None:
        first, *others = self.nodes
        for node in others:
            first.ask("CLUSTER", "MEET", HOST, node.port, node.port - BUS_PORT_BELOW)
        share = REDIS_CLUSTER_HASH_SLOTS // MASTERS + 1
        for number, node in enumerate(self.nodes[:MASTERS]):
            end = min((number + 1) * share, REDIS_CLUSTER_HASH_SLOTS) - 1
            node.ask("CLUSTER", "ADDSLOTSRANGE", number * share, end)
        self.until(lambda: all(node.knows(len(self.nodes)) for node in self.nodes))
        for number, node in enumerate(self.nodes[MASTERS:]):
            node.ask("CLUSTER", "REPLICATE", self.nodes[number].id)
        self.until(lambda: all(self._follows(node) for node in self.nodes[MASTERS:]))

    @staticmethod
    def _follows(node: Node) -> bool:
        role = node.ask("ROLE")
        return bool(role[0] == b"slave" and role[3] == b"connected")


@contextmanager
def valkey_cluster(folder: Path) -> Iterator[ValkeyCluster]:
    with ExitStack() as running:
        nodes = []
        for number in range(2 * MASTERS):
            node = Node(folder / f"node-{number}")
            node.start()
            running.callback(node.stop)
            nodes.append(node)
        cluster = ValkeyCluster(nodes)
        cluster.join()
        yield cluster
