"""Pieces of work that wait at the same time go to the database together.

A commit waits for the disk, and a statement costs the database several times what one more row in
it does. So what comes while others are under way waits for them, and then goes as one statement
with one commit; nothing is ever delayed for company (`docs/decisions/0170`).
"""

import asyncio
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from operator import methodcaller
from typing import Final, Protocol, TypeAlias

import psycopg

from healthcloud.tenancy.pipeline import Row, Statement
from healthcloud.tenancy.scope import Joint

_AT_ONCE: Final = 2  # one waits for the disk while the other is worked on
_MOST: Final = 32

_Future: TypeAlias = "asyncio.Future[list[Row]]"
_Piece: TypeAlias = tuple[Joint, _Future]


class _Running(Protocol):
    async def __call__(
        self, statements: Sequence[Statement], *, guarded: bool
    ) -> list[list[Row]]: ...


@dataclass(slots=True)
class _Queue:
    """Pieces of one kind, which enter the same tenant by the same statement."""

    entering: Statement
    waiting: list[_Piece] = field(default_factory=list)
    running: int = 0

    def take(self) -> list[_Piece]:
        """Return what goes next, and let it wait no longer."""
        taken: dict[Hashable, _Piece] = {}
        rest = []
        for piece in self.waiting:
            if len(taken) < _MOST and piece[0].own not in taken:
                taken[piece[0].own] = piece
            else:
                rest.append(piece)
        self.waiting = rest
        return list(taken.values())


@dataclass(slots=True)
class Joining:
    """The queues of a loop; `run` runs a group of statements as one transaction."""

    run: _Running
    _queues: dict[Hashable, _Queue] = field(default_factory=dict)
    _tasks: set["asyncio.Task[None]"] = field(default_factory=set)

    async def join(self, entering: Statement, joint: Joint) -> list[Row]:
        """Do a piece of work with those that wait beside it; return the rows of all of them.

        Raises what the database says of it: one that fails fails alone, as long as it is known
        that nothing was committed.
        """
        loop = asyncio.get_running_loop()
        key = id(entering), joint.kind  # a queue keeps its statement, so that the id stays its own
        queue = self._queues.setdefault(key, _Queue(entering))
        future: _Future = loop.create_future()
        queue.waiting.append((joint, future))
        if queue.running < _AT_ONCE:
            queue.running += 1
            task = loop.create_task(self._work(key, queue))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return await future

    async def _work(self, key: Hashable, queue: _Queue) -> None:
        try:
            while queue.waiting:
                await self._do(queue.entering, queue.take())
        finally:
            queue.running -= 1
            if not queue.running:
                self._queues.pop(key, None)

    async def _do(self, entering: Statement, pieces: list[_Piece]) -> None:
        try:
            rows = await self._run(entering, [joint for joint, _ in pieces])
        except Exception as error:
            if len(pieces) > 1 and _is_undone(error):
                for piece in pieces:
                    await self._do(entering, [piece])
                return
            _settle(pieces, methodcaller("set_exception", error))
        except BaseException:  # the loop ends
            _settle(pieces, methodcaller("cancel"))
            raise
        else:
            _settle(pieces, methodcaller("set_result", rows))

    async def _run(self, entering: Statement, joints: list[Joint]) -> list[Row]:
        try:
            made = joints[0].build([joint.item for joint in joints]).binding()
        except Exception as error:
            raise _Unsent from error
        return (await self.run([entering, made], guarded=True))[1]


def _settle(pieces: Sequence[_Piece], act: Callable[[_Future], object]) -> None:
    """Tell all who still wait what became of their piece."""
    for _, future in pieces:
        if not future.done():
            act(future)


class _Unsent(RuntimeError):
    """The values can't be sent: nothing was."""


def _is_undone(error: Exception) -> bool:
    """Tell whether nothing of the statement remains, so that each piece may go by itself."""
    if isinstance(error, psycopg.Error):
        return error.sqlstate is not None
    return isinstance(error, _Unsent)
