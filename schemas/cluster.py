"""A client for Redis Cluster that sends nothing twice and connects when it is first used.

redis-py's own sends a pipeline's commands again when their replies are lost, connects while it is
made, looks for the nodes for as long as there are any, and fails with errors that are no RedisError
(decision 0017). Here a command goes to the node that is believed to have its key, and elsewhere
only when a node has answered that it has done nothing: MOVED, ASK, or not knowing a script.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from redis import Redis
from redis.client import Pipeline
from redis.commands.core import Script
from redis.exceptions import (
    AskError,
    ConnectionError,  # noqa: A004  # redis-py calls it so
    MovedError,
    NoScriptError,
    TimeoutError,  # noqa: A004  # likewise
)

from schemas.cluster_commands import Command, Host, slot_of
from schemas.cluster_pipeline import ClusterPipeline

# A node that is asked by mistake knows who has the slot, and that one to whom it is being given.
_HOPS = 4


class Cluster(Redis):
    """A client of all masters of a cluster; it learns from their answers who has which slot."""

    def __init__(
        self, hosts: Sequence[Host], make: Callable[[str, int], Redis], *, seconds: float
    ) -> None:
        """Set up; nothing is sent yet.

        Args:
            hosts: of some nodes.
            make: makes the client of one node, which must not wait longer than half of `seconds`
                for a command.
            seconds: how long a command may take with all the places to which it is sent. Several
                that are sent at once may take half as long again.
        """
        self._make = make
        self.seconds = seconds
        # All of these are replaced or added to and never emptied, since threads share them.
        self._nodes = {host: make(*host) for host in hosts}
        # Those that failed last come last.
        self._order = tuple(self._nodes)
        self._owners: dict[int, Host] = {}
        self._texts: dict[str, str | bytes] = {}
        super().__init__(connection_pool=self._nodes[self._order[0]].connection_pool)

    def nodes(self) -> list[Redis]:
        """Return a client of each node that is known so far."""
        return list(self._nodes.values())

    def register_script(self, script: Any) -> Script:
        """Register a script; a node that does not know it yet is sent its text."""
        registered = super().register_script(script)
        self._texts[registered.sha] = script
        return registered

    def pipeline(self, transaction: Any = True, shard_hint: Any = None) -> Pipeline:  # noqa: ARG002  # redis-py's
        """Collect commands, which are then sent to their nodes, one round trip for each node."""
        if transaction:
            raise NotImplementedError("A cluster has no transactions across its nodes.")
        return ClusterPipeline(self, self.connection_pool, self.response_callbacks)

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """Send a command to the node that has its key, and on to where that one points.

        Raises:
            RedisError: as a single Redis would have it; with MovedError or AskError, nothing was
                done.
        """
        return self.send(Command(args, options), time.monotonic() + self.seconds / 2)

    def send(self, command: Command, deadline: float) -> Any:
        """Send a command; it is not sent on any more once the deadline has passed."""
        slot = slot_of(command.args)
        host, asking = self.host_of(slot), False
        told: AskError | NoScriptError
        for _ in range(_HOPS):
            try:
                return self._ask(host, command, asking=asking)
            except NoScriptError as error:
                command, told = self._spelled_out(command, error), error
            except AskError as error:
                asking, told = not isinstance(error, MovedError), error
                host = self._learn(host, slot, error)
            if time.monotonic() > deadline:
                break
        raise told

    def host_of(self, slot: int | None) -> Host:
        """Tell who is believed to have a slot; whoever answers will know better."""
        known = self._owners.get(slot) if slot is not None else None
        return known or self._order[0]

    def node(self, host: Host) -> Redis:
        """Return the client of a node."""
        found = self._nodes.get(host)
        if found is None:
            found = self._nodes.setdefault(host, self._make(*host))
            self._order = (*self._order, host)
        return found

    def doubt(self, host: Host) -> None:
        """Ask another node first, after this one has failed."""
        # A copy: another thread may be told of a slot meanwhile.
        self._owners = {slot: owner for slot, owner in dict(self._owners).items() if owner != host}
        self._order = (*(one for one in self._order if one != host), host)

    def close(self) -> None:
        """Close the connections to all nodes."""
        for node in self.nodes():
            node.close()

    def _ask(self, host: Host, command: Command, *, asking: bool) -> Any:
        node = self.node(host)
        try:
            if not asking:
                return node.execute_command(*command.args, **command.options)
            with node.pipeline(transaction=False) as pipeline:
                pipeline.execute_command("ASKING")
                pipeline.execute_command(*command.args, **command.options)
                _, answer = pipeline.execute(raise_on_error=False)
        except (ConnectionError, TimeoutError):
            self.doubt(host)
            raise
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _learn(self, asked: Host, slot: int | None, told: AskError) -> Host:
        # Without a host, it is the port of the one that was asked
        # (https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec).
        host = (told.host or asked[0], told.port)
        if isinstance(told, MovedError) and slot is not None:
            self._owners[slot] = host
        return host

    def _spelled_out(self, command: Command, error: NoScriptError) -> Command:
        """Have the text in place of a script's hash."""
        text = self._texts.get(command.args[1])
        if command.args[0] != "EVALSHA" or text is None:
            raise error
        return command._replace(args=("EVAL", text, *command.args[2:]))
