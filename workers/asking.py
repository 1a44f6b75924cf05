"""Asking Redis: many scripts and commands in one round trip, each with an answer of its own.

An ask that fails fails alone, and nothing is sent again. Knows no key, and not what is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

from redis import Redis
from redis.commands.core import Script
from redis.exceptions import NoScriptError

Answer = TypeVar("Answer")


class Ask(NamedTuple, Generic[Answer]):
    """What is asked, and how the answer is read."""

    # What it is asked for, as the fault suite names it.
    step: str
    # None: the values are a command.
    script: Script | None
    keys: Sequence[str]
    values: Sequence[Any]
    # May raise what a caller must tell apart.
    read: Callable[[Any], Answer]


def answer_to(ask: Ask[Answer]) -> Generator[Ask[Any], Any, Answer]:
    """Ask from within a piece of work that others drive; a failure is raised here."""
    return ask.read((yield ask))


def send(redis: Redis, asks: Sequence[Ask[Any]]) -> list[Any]:
    """Send asks in one round trip, or one a node.

    Returns:
        what Redis answered to each, or the error that it failed with: it may have taken effect
        then or not. Whatever the error is, each that asked has to give its shard back.
    """
    with redis.pipeline(transaction=False) as pipeline:
        for ask in asks:
            if ask.script:
                # By the pipeline's own way to do it, each round trip would have one before it that
                # asks whether the scripts are known.
                pipeline.evalsha(ask.script.sha, len(ask.keys), *ask.keys, *ask.values)
            else:
                pipeline.execute_command(*ask.values, *ask.keys)
        try:
            answers = pipeline.execute(raise_on_error=False)
        except Exception as error:  # noqa: BLE001  # handed to all that asked, who raise it
            return [error] * len(asks)
    return [_with_its_script(ask, answer) for ask, answer in zip(asks, answers, strict=True)]


def _with_its_script(ask: Ask[Any], answer: Any) -> Any:
    """Send a script whole to a Redis that did not know it, and so has done nothing."""
    if not isinstance(answer, NoScriptError) or ask.script is None:
        return answer
    try:
        return ask.script(ask.keys, ask.values)
    except Exception as error:  # noqa: BLE001  # handed to the one that asked, who raises it
        return error
