"""The background thread: as long as it has users, and not a moment longer."""

import asyncio
import gc
import os
import threading
import time
import weakref
from contextlib import suppress
from contextvars import ContextVar, copy_context

import pytest
from support import run_python

from fastware_sse import _background, _lookup


class User:
    def __init__(self) -> None:
        self.began = threading.Event()
        self.finished = self.cancelled = self.left = self.given_up = False
        self.names: set[str] = set()

    async def run(self) -> None:
        self.names = {variable.name for variable in copy_context()}
        self.began.set()
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            self.cancelled = True

    async def finish(self) -> None:
        assert not self.cancelled
        await asyncio.sleep(0)
        self.finished = True

    async def leave(self) -> None:
        assert self.finished and self.cancelled
        self.left = True

    def give_up(self) -> None:
        self.given_up = True


def thread() -> threading.Thread | None:
    found = [thread for thread in threading.enumerate() if thread.name == "fastware_sse backplane"]
    assert len(found) <= 1
    return found[0] if found else None


def test_it_comes_with_the_first_user_and_goes_with_the_last() -> None:
    assert thread() is None
    first, second = User(), User()
    loop = _background.enter(first)
    assert _background.enter(second) is loop and _background.enter(first) is loop
    assert first.began.wait(10) and second.began.wait(10)
    _background.end(first, wait=True)
    assert first.left and not second.cancelled and thread() is not None
    _background.end(second, wait=True)
    assert second.finished and second.cancelled and thread() is None and loop.is_closed()
    _background.end(second, wait=True)
    assert _background.submit(second, second.finish) is None

    third = User()
    assert _background.enter(third) is not loop
    assert third.began.wait(10)
    _background.end(third, wait=True)


def test_many_threads_enter_and_end_at_the_same_time() -> None:
    users = [User() for _ in range(200)]

    def come_and_go(mine: list[User]) -> None:
        for user in mine:
            _background.enter(user)
            _background.end(user, wait=True)

    threads = [threading.Thread(target=come_and_go, args=(users[at::8],)) for at in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(30)
    assert all(user.finished for user in users)
    assert thread() is None


@pytest.mark.parametrize("method", ["start", "add"])
def test_a_signal_handler_that_enters_in_the_middle_of_it(monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    """Python runs handlers as a function begins, so there too."""
    begun: list[None] = []
    interrupted = getattr(_background.Background, method)

    class Counted(User):
        async def run(self) -> None:
            begun.append(None)
            await super().run()

    def interrupt(self: _background.Background, *arguments: User) -> None:
        patch.undo()
        _background.enter(user)
        interrupted(self, *arguments)

    user = Counted()
    with monkeypatch.context() as patch:
        patch.setattr(_background.Background, method, interrupt)
        _background.enter(user)
    assert user.began.wait(10)
    _background.end(user, wait=True)
    assert len(begun) == 1 and user.left
    for other in threading.enumerate():
        if other.name == "fastware_sse backplane":
            other.join(10)
    assert thread() is None


def test_it_keeps_no_context_of_whoever_came_first() -> None:
    class Value:
        pass

    def enter() -> "weakref.ref[Value]":
        value = Value()
        ContextVar[Value]("variable").set(value)
        _background.enter(user)
        return weakref.ref(value)

    user = User()
    value = copy_context().run(enter)
    assert user.began.wait(10)
    gc.collect()
    assert "variable" not in user.names and value() is None
    _background.end(user, wait=True)


@pytest.mark.parametrize("method", ["start", "add"])
def test_a_signal_handler_that_ends_in_the_middle_of_it(monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    """What is about to enter cannot be waited for, there is no deadlock, and nothing is left over."""
    interrupted = getattr(_background.Background, method)

    def interrupt(self: _background.Background, *arguments: User) -> None:
        patch.undo()
        self.users.add(user)  # half of add()
        _background.end(other, wait=True)
        _background.end(user, wait=True)
        interrupted(self, *arguments)

    user, other = User(), User()
    _background.enter(other)
    if method == "start":
        _background.end(other, wait=True)
    began = time.monotonic()
    with monkeypatch.context() as patch:
        patch.setattr(_background.Background, method, interrupt)
        _background.enter(user)
    assert time.monotonic() - began < 5
    _background.end(user, wait=True)
    for each in threading.enumerate():
        if each.name == "fastware_sse backplane":
            each.join(10)
    assert user.left and other.left and thread() is None


def test_one_that_has_not_entered_gives_up() -> None:
    user, other = User(), User()
    _background.end(user, wait=True)
    assert user.given_up
    user.given_up = False
    _background.enter(other)
    _background.end(user, wait=True)
    assert user.given_up and not other.given_up
    _background.end(other, wait=True)
    assert other.left


def test_a_cancellation_that_is_swallowed_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    class Greedy(User):
        async def run(self) -> None:
            for _ in range(3):
                with suppress(asyncio.CancelledError):
                    await super().run()

    monkeypatch.setattr(_background, "_AGAIN", 0.01)
    user = Greedy()
    _background.enter(user)
    assert user.began.wait(10)
    _background.end(user, wait=True)
    assert user.left and thread() is None


def test_nobody_waits_for_a_name_server() -> None:
    code = f"""
import socket, time
{USERS}
def look_up(*arguments, **options):
    called.set()
    time.sleep(60)

class Named(User):
    async def run(self):
        await asyncio.get_running_loop().getaddrinfo("a.name", 1)

    async def finish(self):
        pass

called = threading.Event()
socket.getaddrinfo = look_up
users = Named(), Named()
for user in users:
    _background.enter(user)
called.wait(10)
_background.end(users[0], wait=True)  # the other by the end of the interpreter
print("here", flush=True)
"""
    assert run_python(code, timeout=20).stdout == "here\n"


def test_who_ends_one_that_is_ending_waits_for_it_too() -> None:
    class Slow(User):
        async def finish(self) -> None:
            begins.set()
            await asyncio.get_running_loop().run_in_executor(None, may_end.wait, 10)
            await super().finish()

    begins, may_end = threading.Event(), threading.Event()
    user = Slow()
    _background.enter(user)
    _background.end(user, wait=False)
    assert begins.wait(10)
    second = threading.Thread(target=_background.end, args=(user,), kwargs={"wait": True})
    second.start()
    second.join(0.05)
    assert second.is_alive() and not user.finished
    may_end.set()
    second.join(10)
    assert user.finished and user.left and thread() is None


async def test_those_who_look_up_one_name_share_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    answers = threading.Event()

    def look_up(host: str, port: int, **options: int) -> list[str]:
        asked.append(host)
        answers.wait(10)
        if host == "b":
            raise OSError("no such name")
        return [host]

    monkeypatch.setattr(_lookup.socket, "getaddrinfo", look_up)
    loop = _lookup.Loop()

    async def several() -> list[object]:
        tasks = [asyncio.create_task(loop.getaddrinfo(host, 1, family=0)) for host in "aaab"]
        await asyncio.sleep(0.02)
        tasks[0].cancel()
        answers.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    found = await asyncio.to_thread(loop.run_until_complete, several())
    assert isinstance(found[0], asyncio.CancelledError) and found[1:3] == [["a"], ["a"]]
    assert isinstance(found[3], OSError) and sorted(asked) == ["a", "b"]
    loop.close()


def test_one_that_does_not_finish_is_not_waited_for_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    class Slow(User):
        async def finish(self) -> None:
            await asyncio.sleep(2)
            await super().finish()

    monkeypatch.setattr(_background, "_END_LIMIT", 0.05)
    user = Slow()
    _background.enter(user)
    _background.end(user, wait=True)
    assert user.given_up
    monkeypatch.setattr(_background, "_END_LIMIT", 10)
    assert thread() is not None
    thread().join(10)
    assert thread() is None


USERS = """
import asyncio, sys, threading
from fastware_sse import _background

class User:
    async def run(self):
        await asyncio.get_running_loop().create_future()

    async def finish(self):
        if sys.version_info[:2] != (3, 12):  # that starts no thread once the interpreter ends
            await asyncio.get_running_loop().getaddrinfo("localhost", 1)  # by a thread that is started for it
        print("finished", flush=True)

    async def leave(self):
        pass
"""


@pytest.mark.parametrize(
    "end", ["", "sys.exit(0)", "threading.Thread(target=_background.enter, args=(User(),)).start()"]
)
def test_all_users_finish_before_the_interpreter_ends(end: str) -> None:
    code = f"{USERS}\n_background.enter(User())\n_background.enter(User())\n{end}"
    assert run_python(code).stdout.count("finished") == (3 if "Thread" in end else 2)


def test_a_thread_that_cannot_start_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    user = User()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError, match="can't start"):
            _background.enter(user)
    _background.enter(user)
    assert user.began.wait(10)
    _background.end(user, wait=True)
    assert user.left


def test_threads_that_go_on_after_the_main_one_still_can_begin() -> None:
    code = f"""{USERS}
import time

def late():
    time.sleep(0.2)  # the main thread has ended by now
    _background.enter(User())

_background.enter(User())
threading.Thread(target=late).start()
"""
    assert run_python(code).stdout == 2 * "finished\n"


def test_the_end_does_not_wait_for_the_thread_of_an_executor_of_processes() -> None:
    # Imported first, so it ends its thread after us. The alarm ends its process, whatever becomes of this one.
    code = f"""
import signal
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
{USERS}
executor = ProcessPoolExecutor(1, get_context("fork"), signal.alarm, (60,))
executor.submit(abs, 1).result()
_background.enter(User())
"""
    assert run_python(code, timeout=20, PYTHONWARNINGS="ignore").stdout == "finished\n"


def test_nothing_begins_once_all_have_finished_for_the_interpreters_end() -> None:
    code = f"""{USERS}
import atexit

@atexit.register
def late():
    try:
        _background.enter(User())
    except RuntimeError as error:
        print(error)

_background.enter(User())
"""
    assert run_python(code).stdout == "finished\nthe interpreter ends: nothing can be published any more\n"


def test_a_process_of_multiprocessing_lets_them_finish_too() -> None:
    code = f"""{USERS}
def child():
    _background.enter(User())

if __name__ == "__main__":
    import multiprocessing
    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    process.join(20)
    assert process.exitcode == 0
"""
    assert run_python(code, PYTHONWARNINGS="ignore").stdout == "finished\n"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_the_child_of_a_fork_starts_over_and_touches_nothing_of_the_parents() -> None:
    code = f"""{USERS}
import gc, os, time

class Reader(User):
    # A connection of the parent's: what the child does when it ends must not reach the selector that both have.
    async def run(self):
        self.read, write = os.pipe()
        self.ours, theirs = __import__("socket").socketpair()
        self.theirs = theirs
        reader, writer = await asyncio.open_connection(sock=self.ours)
        while True:
            self.heard = await reader.readline()

    async def finish(self):
        pass

parent = Reader()
parent.heard = b""
_background.enter(parent)
while not hasattr(parent, "theirs"):
    time.sleep(0.001)
child = os.fork()
if child == 0:
    user = User()
    assert _background.submit(parent, parent.finish) is None
    _background.enter(user)
    gc.collect()
    sys.exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
parent.theirs.sendall(b"still there\\n")
deadline = time.monotonic() + 10
while parent.heard != b"still there\\n":
    assert time.monotonic() < deadline
    time.sleep(0.001)
print("heard", flush=True)
"""
    assert run_python(code, PYTHONWARNINGS="ignore").stdout == "finished\nheard\n"


def test_a_lock_that_was_held_while_another_thread_forked_is_free_in_the_child() -> None:
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with _background._lock:
            held.set()
            done.wait(10)

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait(10)
    lock = _background._lock
    try:
        _background.forget()
        assert _background._lock is not lock
        assert _background._lock.acquire(timeout=1)
        _background._lock.release()
    finally:
        done.set()
        holder.join()
