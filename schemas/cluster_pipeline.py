"""Several commands for the nodes of a cluster at once. What has no answer is not sent again."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Protocol

from redis import ConnectionPool, Redis, RedisError
from redis.client import Pipeline
from redis.exceptions import (
    AskError,
    ConnectionError,  # noqa: A004  # redis-py calls it so
    NoScriptError,
    TimeoutError,  # noqa: A004  # likewise
)

from schemas.cluster_commands import Command, Host, slot_of

_WAIT = "WAIT"


class Nodes(Protocol):
    """The cluster, as far as a pipeline needs it; its client says what each of these is."""

    seconds: float

    def host_of(self, slot: int | None) -> Host: ...
    def node(self, host: Host) -> Redis: ...
    def doubt(self, host: Host) -> None: ...
    def send(self, command: Command, deadline: float) -> Any: ...


class ClusterPipeline(Pipeline):
    """Commands for several nodes. The answers come in the order of the commands."""

    def __init__(self, cluster: Nodes, pool: ConnectionPool, callbacks: Any) -> None:
        super().__init__(pool, callbacks, transaction=False, shard_hint=None)
        self._cluster = cluster

    def execute(self, raise_on_error: bool = True) -> list[Any]:
        """Send the commands; a node that does not answer fails its own commands only.

        WAIT is asked of each node that was sent anything, and its answer is the least.
        """
        commands = [Command(args, options) for args, options in self.command_stack]
        self.reset()
        # A node that hangs takes half of it, and the others still have their turn.
        deadline = time.monotonic() + self._cluster.seconds
        answers: dict[int, Any] = {}
        replicas: list[Any] = []
        waits = [place for place, one in enumerate(commands) if one.args[0] == _WAIT]
        for host, places in self._by_host(commands).items():
            found = self._sent(host, [commands[place] for place in (*places, *waits)], deadline)
            answers |= zip(places, found, strict=False)
            replicas += found[len(places) :]
        for place, answer in answers.items():
            if isinstance(answer, (AskError, NoScriptError)):
                answers[place] = self._sent_alone(commands[place], deadline)
                # What went over another connection was not waited for.
                replicas.append(0)
        for place in waits:
            failed = [one for one in replicas if isinstance(one, Exception)]
            answers[place] = failed[0] if failed else min(replicas, default=0)
        in_order = [answers[place] for place in range(len(commands))]
        if raise_on_error:
            for answer in in_order:
                if isinstance(answer, Exception):
                    raise answer
        return in_order

    def _by_host(self, commands: Sequence[Command]) -> dict[Host, list[int]]:
        places: dict[Host, list[int]] = {}
        for place, command in enumerate(commands):
            if command.args[0] != _WAIT:
                host = self._cluster.host_of(slot_of(command.args))
                places.setdefault(host, []).append(place)
        return places

    def _sent(self, host: Host, commands: Sequence[Command], deadline: float) -> list[Any]:
        if time.monotonic() > deadline:
            return [TimeoutError("The nodes before this one took too long.")] * len(commands)
        with self._cluster.node(host).pipeline(transaction=False) as pipeline:
            for command in commands:
                pipeline.execute_command(*command.args, **command.options)
            try:
                return pipeline.execute(raise_on_error=False)
            except (ConnectionError, TimeoutError) as error:
                self._cluster.doubt(host)
                return [error] * len(commands)

    def _sent_alone(self, command: Command, deadline: float) -> Any:
        if time.monotonic() > deadline:
            return TimeoutError("The nodes took too long.")
        try:
            return self._cluster.send(command, deadline)
        except RedisError as error:
            return error
