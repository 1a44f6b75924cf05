"""A RabbitMQ of a test's own, as Debian packages it: one node on loopback that may be broken.

The node keeps everything in the test's folder, runs as whoever runs the tests, and ends with them,
even if they are killed -9. Erlang's name server, `epmd`, is started beside it: a node would start
one by itself that outlives all of it.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import amqp
from procfile import wait_for

from console.embedded import free_port
from console.tether import tethered

# The one in /usr/sbin insists on root or on the package's own user; this is what it would start.
_PROGRAM = "/usr/lib/rabbitmq/bin/rabbitmq-server"
RABBITMQ = shutil.which(_PROGRAM)
EPMD = shutil.which("epmd")
MISSING = "needs rabbitmq-server (Debian: apt-get install rabbitmq-server)"
# Erlang starts in three seconds, on a loaded machine in many more.
_START_SECONDS = 90.0
_STOP_SECONDS = 30.0


class RabbitMQ:
    """One node and its name server; start it, use `url`, break it."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.log = folder / "rabbitmq.log"
        self.port = free_port()
        self._folder = folder
        self._password = secrets.token_hex(16)
        self._epmd_port = free_port()
        self._epmd: subprocess.Popen[bytes] | None = None
        self._node: subprocess.Popen[bytes] | None = None
        (folder / "enabled_plugins").write_text("[].\n")
        (folder / "rabbitmq.conf").write_text(
            f"listeners.tcp.local = 127.0.0.1:{self.port}\n"
            f"default_user = rollcall\ndefault_pass = {self._password}\n"
            # On a full disk, and so on many a build machine, it would take no message.
            "disk_free_limit.absolute = 1MB\n"
        )

    @property
    def url(self) -> str:
        return f"amqp://rollcall:{self._password}@127.0.0.1:{self.port}//"

    def start(self) -> None:
        """Start the node, with what it kept, and wait until it answers."""
        if self._epmd is None:
            assert EPMD
            command = [EPMD, "-port", str(self._epmd_port), "-address", "127.0.0.1"]
            self._epmd = self._started(command)
            wait_for(self._epmd_listens)
        assert RABBITMQ
        self._node = self._started([RABBITMQ])
        wait_for(self._answers, seconds=_START_SECONDS)

    def stop(self) -> None:
        """End the node as an operator would: it closes its connections first."""
        assert self._node is not None
        self._node.terminate()
        self._node.wait(_STOP_SECONDS)
        self._node = None

    def kill(self) -> None:
        """End the node at once, as a power cut would."""
        assert self._node is not None
        os.killpg(self._node.pid, signal.SIGKILL)
        self._node.wait(_STOP_SECONDS)
        self._node = None

    def pause(self) -> None:
        """Have it hang: connections stay, and nobody answers on them."""
        assert self._node is not None
        os.killpg(self._node.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        assert self._node is not None
        os.killpg(self._node.pid, signal.SIGCONT)

    def close(self) -> None:
        """End the node, however it is, and the name server."""
        if self._node is not None:
            self.kill()
        if self._epmd is not None:
            self._epmd.kill()
            self._epmd.wait(_STOP_SECONDS)

    def connection(self) -> amqp.Connection:
        """Connect as a program does that looks into the queues."""
        return amqp.Connection(
            f"127.0.0.1:{self.port}",
            userid="rollcall",
            password=self._password,
            connect_timeout=5.0,
            read_timeout=5.0,
        )

    def waiting(self, queue: str) -> int:
        """How many messages wait in a queue, which must exist."""
        with self.connection() as connection:
            return int(connection.channel().queue_declare(queue, passive=True).message_count)

    def _answers(self) -> bool:
        assert self._node is not None
        assert self._node.poll() is None, self.log.read_text()
        try:
            with self.connection():
                return True
        except (OSError, *amqp.Connection.connection_errors):
            return False

    def _epmd_listens(self) -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", self._epmd_port), 1.0):
            return True
        return False

    def _started(self, command: list[str]) -> subprocess.Popen[bytes]:
        folder = str(self._folder)
        environment = {
            "PATH": f"{os.environ['PATH']}:/usr/sbin:/usr/bin:/bin",
            # Where Erlang keeps the cookie, the secret between nodes.
            "HOME": folder,
            "LANG": "C.UTF-8",
            "ERL_EPMD_PORT": str(self._epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": f"rollcall-{self.port}@localhost",
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
            "RABBITMQ_CONFIG_FILE": f"{folder}/rabbitmq.conf",
            "RABBITMQ_CONF_ENV_FILE": f"{folder}/none",
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{folder}/enabled_plugins",
            "RABBITMQ_MNESIA_BASE": folder,
            "RABBITMQ_LOG_BASE": folder,
            "RABBITMQ_LOGS": "-",
        }
        with self.log.open("ab") as output:
            return subprocess.Popen(
                # What begins as a script ends its node when it is told to end.
                tethered(command),
                env=environment,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )


@contextmanager
def rabbitmq(folder: Path) -> Iterator[RabbitMQ]:
    """Give a node that runs; it and all its processes end with the block."""
    node = RabbitMQ(folder)
    try:
        node.start()
        yield node
    finally:
        node.close()
