"""Real Redis servers for the tests, the ways people run them: single, Sentinel, Cluster.

Each listens on free ports of loopback, keeps its data in a folder that the caller gives, and is
ended by its id. They are context managers; whatever they started ends with the block, and with the
test process even if that is killed.
"""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

from redis import Redis, RedisError
from redis.backoff import NoBackoff
from redis.crc import key_slot
from redis.retry import Retry

from console.embedded import find_server, free_port
from console.tether import tethered

SLOTS = 16_384
_BOUND_SECONDS = 20.0
_REPLY_SECONDS = 2.0
# A cluster's nodes talk to each other on the port that is so much higher
# (https://redis.io/docs/latest/operate/oss_and_stack/management/scaling).
_BUS = 10_000


def wait_until(so: Callable[[], Any], *, seconds: float = _BOUND_SECONDS) -> None:
    """Wait until something is so, or fail; a Redis that does not answer yet is "not so"."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            if so():
                return
        except RedisError:
            pass
        assert time.monotonic() < deadline, f"not within {seconds} s: {so}"
        time.sleep(0.01)


class RedisServer:
    """One `redis-server`; restarts keep its port and its data.

    Args:
        folder: its own; made if need be. Holds the data, `redis.conf` and `redis.log`.
        options: lines of its configuration, like "appendonly yes"; without any it keeps nothing.
        port: by default a free one.
        wrapper: a command to put in front, like ("faketime", "+1h").
        flags: arguments behind the configuration, like "--sentinel".
        program: by default the newest server there is.
    """

    def __init__(
        self,
        folder: Path,
        *,
        options: Sequence[str] = (),
        port: int | None = None,
        wrapper: Sequence[str] = (),
        flags: Sequence[str] = (),
        program: str | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.port = port or free_port()
        self.wrapper = list(wrapper)
        self._flags = list(flags)
        self._program = program
        self._process: subprocess.Popen[bytes] | None = None
        # A file, since Sentinel rewrites its own and those of the servers that it reconfigures.
        self.configuration = folder / "redis.conf"
        lines = (f"port {self.port}", "bind 127.0.0.1", f'dir "{folder}"', 'save ""', *options)
        self.configuration.write_text("\n".join(lines) + "\n")

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def log(self) -> Path:
        return self.folder / "redis.log"

    @property
    def pid(self) -> int:
        assert self._process is not None, "not started"
        return self._process.pid

    def client(self) -> Redis:
        """Make a client that waits 2 s at most and never tries twice; replies are bytes."""
        return Redis(
            port=self.port,
            socket_timeout=_REPLY_SECONDS,
            socket_connect_timeout=_REPLY_SECONDS,
            retry=Retry(NoBackoff(), 0),
            protocol=2,
        )

    def start(self, *, wait: bool = True) -> Self:
        """Start it; with `wait`, return when it answers PING (so it has read its data)."""
        program = self._program or find_server()
        command = [*self.wrapper, program, str(self.configuration), *self._flags]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                tethered(command),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # A group of its own: a wrapper and its server are ended together.
                start_new_session=True,
            )
        if wait:
            self.wait()
        return self

    def wait(self) -> None:
        """Wait until it answers PING."""
        with self.client() as client:
            wait_until(lambda: self._runs() and client.ping())

    def stop(self) -> None:
        """End it as an operator would; it writes its data out first."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once, as a power cut would."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Stop it and start it on the same port with the same data."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """Have it do nothing at all until `resume`; its connections stay open."""
        os.killpg(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.killpg(self.pid, signal.SIGCONT)

    def _runs(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log.read_text(errors="replace")[-2_000:]
        return True

    def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        if self._process.poll() is None:
            os.killpg(self._process.pid, how)
            # Stopped, it would not see a SIGTERM.
            os.killpg(self._process.pid, signal.SIGCONT)
            try:
                self._process.wait(_BOUND_SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait(_BOUND_SECONDS)
        self._process = None


class _Several:
    """Servers that are started and ended together."""

    servers: list[RedisServer]

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        for server in self.servers:
            server.start(wait=False)
        for server in self.servers:
            server.wait()

    def stop(self) -> None:
        # What is torn down need not write anything out.
        for server in self.servers:
            server.kill()


class Replicated(_Several):
    """A master, a replica and three sentinels, two of which must agree that the master is down.

    They agree within about a second after the master's last answer.
    """

    NAME = "rollcall-tests"

    def __init__(
        self, folder: Path, *, options: Sequence[str] = (), down_after_ms: int = 500
    ) -> None:
        options = ["repl-diskless-sync-delay 0", *options]
        first = RedisServer(folder / "first", options=options)
        follow = f"replicaof 127.0.0.1 {first.port}"
        second = RedisServer(folder / "second", options=[*options, follow])
        self.nodes = [first, second]
        ids, ports = [secrets.token_hex(20) for _ in range(3)], [free_port() for _ in range(3)]
        self.sentinels = []
        for number in range(3):
            # All that they would find out about each other in their first seconds.
            others = [other for other in range(3) if other != number]
            lines = [
                f"sentinel myid {ids[number]}",
                f"sentinel monitor {self.NAME} 127.0.0.1 {first.port} 2",
                f"sentinel down-after-milliseconds {self.NAME} {down_after_ms}",
                f"sentinel failover-timeout {self.NAME} 2000",
                f"sentinel known-replica {self.NAME} 127.0.0.1 {second.port}",
                *(
                    f"sentinel known-sentinel {self.NAME} 127.0.0.1 {ports[other]} {ids[other]}"
                    for other in others
                ),
            ]
            self.sentinels.append(
                RedisServer(
                    folder / f"sentinel-{number}",
                    options=lines,
                    port=ports[number],
                    flags=["--sentinel"],
                )
            )
        self.servers = [*self.nodes, *self.sentinels]

    @property
    def url(self) -> str:
        hosts = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels)
        return f"redis+sentinel://{hosts}/{self.NAME}/0"

    def start(self) -> None:
        """Start all; return when the replica follows and the sentinels are ready to fail over."""
        super().start()
        for sentinel in self.sentinels:
            with sentinel.client() as client:
                check = ("SENTINEL", "CKQUORUM", self.NAME)
                wait_until(lambda: client.execute_command(*check))  # noqa: B023  # called at once
        wait_until(lambda: self.in_sync(self.nodes[0]))

    def in_sync(self, master: RedisServer) -> bool:
        """Tell whether a replica follows this master and has all of its data."""
        with master.client() as client:
            told = client.info("replication")
        return bool(told["role"] == "master" and told.get("slave0", {}).get("state") == "online")

    def master(self) -> RedisServer:
        """Ask the sentinels who is master now."""
        for sentinel in self.sentinels:
            with sentinel.client() as client:
                try:
                    _, port = client.execute_command(
                        "SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.NAME
                    )
                except RedisError:
                    continue
            return next(node for node in self.nodes if node.port == int(port))
        raise AssertionError("no sentinel answers")

    def replica(self) -> RedisServer:
        """Return the node that is not the master."""
        master = self.master()
        return next(node for node in self.nodes if node is not master)

    def fail_over(self) -> RedisServer:
        """Kill the master and wait for the next, which is returned; the other stays dead."""
        was = self.master()
        was.kill()
        self.wait_for_failover(was)
        return self.master()

    def wait_for_failover(self, was: RedisServer) -> None:
        """Wait until the sentinels name another master than `was`, and that one takes writes."""
        wait_until(lambda: self.master() is not was)
        with self.master().client() as client:
            wait_until(lambda: client.info("replication")["role"] == "master")


class Clustered(_Several):
    """Three masters that share all slots, without replicas."""

    def __init__(self, folder: Path, *, options: Sequence[str] = ()) -> None:
        cluster = ["cluster-enabled yes", "cluster-node-timeout 2000", *options]
        self.nodes = [
            RedisServer(folder / f"node-{number}", options=cluster, port=_cluster_port())
            for number in range(3)
        ]
        self.servers = self.nodes

    @property
    def url(self) -> str:
        return "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)

    def start(self) -> None:
        """Start all, share the slots among them, and wait until each serves its own."""
        super().start()
        share = -(-SLOTS // len(self.nodes))
        for number, node in enumerate(self.nodes):
            with node.client() as client:
                # Each node an epoch of its own, so that none has to be settled by a collision.
                client.execute_command("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
                mine = range(number * share, min(SLOTS, (number + 1) * share))
                client.execute_command("CLUSTER", "ADDSLOTS", *mine)
                for other in self.nodes[:number]:
                    client.execute_command("CLUSTER", "MEET", "127.0.0.1", other.port)
        wait_until(lambda: all(self._is_whole(node) for node in self.nodes))

    def _is_whole(self, node: RedisServer) -> bool:
        with node.client() as client:
            told = client.execute_command("CLUSTER", "INFO")
        return {b"cluster_state:ok", b"cluster_known_nodes:3"} <= set(told.split())

    def owner(self, key: str) -> RedisServer:
        """Tell which node serves the slot of a key."""
        slot = key_slot(key.encode())
        with self.nodes[0].client() as client:
            for first, last, (_, port, *_rest), *_replicas in client.execute_command(
                "CLUSTER", "SLOTS"
            ):
                if first <= slot <= last:
                    return next(node for node in self.nodes if node.port == port)
        raise AssertionError(f"nobody serves slot {slot}")

    def move_slot(self, key: str, to: RedisServer, *, pause: float = 0.0) -> None:
        """Move the slot of a key, with all keys in it, while it is in use.

        As in https://redis.io/docs/latest/commands/cluster-setslot. Meanwhile clients are answered
        ASK and TRYAGAIN, and MOVED from then on.

        Args:
            key: any key of the slot.
            to: the node that is to have it.
            pause: how many seconds to let pass after each key.
        """
        slot, source = key_slot(key.encode()), self.owner(key)
        assert source is not to, "it is there already"
        ids = {node.port: _cluster_id(node) for node in self.nodes}
        with source.client() as giver, to.client() as taker:
            taker.execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", ids[source.port])
            giver.execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", ids[to.port])
            while names := giver.execute_command("CLUSTER", "GETKEYSINSLOT", slot, 1):
                milliseconds = int(_REPLY_SECONDS * 1000)
                giver.execute_command("MIGRATE", "127.0.0.1", to.port, names[0], 0, milliseconds)
                time.sleep(pause)
            # The taker first: were it the last, the giver would send clients back to it in vain.
            others = [node for node in self.nodes if node not in (source, to)]
            for node in (to, source, *others):
                with node.client() as client:
                    client.execute_command("CLUSTER", "SETSLOT", slot, "NODE", ids[to.port])


def _cluster_id(node: RedisServer) -> str:
    with node.client() as client:
        told = client.execute_command("CLUSTER", "MYID")
    return told.decode() if isinstance(told, bytes) else str(told)


def _cluster_port() -> int:
    """Find a port that is free together with that of the cluster's bus."""
    while True:
        port = free_port()
        if port + _BUS < 65_536:
            with socket.socket() as probe:
                try:
                    probe.bind(("127.0.0.1", port + _BUS))
                except OSError:
                    continue
            return port
