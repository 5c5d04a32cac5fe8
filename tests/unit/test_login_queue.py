"""Waits around the checks of passwords: for a thread, for a turn, for an equal check, before a refusal."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from deployer.plugin.auth import refusal_pause
from deployer.plugin.auth.client_presence import Client, ClientLeft
from deployer.plugin.auth.fair_executor import IN_A_ROW, FairExecutor
from deployer.plugin.auth.fair_queue import FairQueue, Full
from deployer.plugin.auth.guess_turns import GuessTurns, TooLate
from deployer.plugin.auth.refusal_pause import RefusalPause
from deployer.plugin.auth.shared_work import SharedWork
from deployer.plugin.auth.throttle import Throttle


class Clock:
    """The time of event loop and throttle, which passes only when no task can run."""

    now = 1000.0

    def __call__(self):
        return self.now


def run(story):
    """Run a story on an event loop whose time passes at once when no task can run."""
    clock = Clock()
    loop = asyncio.new_event_loop()
    select = loop._selector.select

    def at_once(timeout):
        if timeout:
            clock.now += timeout
        return select(0 if timeout is not None else None)

    loop._selector.select, loop.time = at_once, clock
    try:
        return loop.run_until_complete(story(clock))
    finally:
        loop.close()


class Threads:
    """One thread whose jobs wait until they may end."""

    def __init__(self, first=100, second=100):
        self.may_end, self.done = threading.Event(), []
        self.pool = ThreadPoolExecutor(1)
        self.executor = FairExecutor(self.pool, 1, FairQueue(first, first), FairQueue(second, second))

    def job(self, name, rest=0.0):
        def work():
            assert self.may_end.wait(60)
            self.done.append(name)
            return name, rest

        return work

    async def begin(self, *jobs):
        tasks = []
        for name, address, second in jobs:
            tasks.append(asyncio.create_task(self.executor.run(self.job(name), address, second=second)))
            await asyncio.sleep(0)
        return tasks


def test_the_second_queue_waits_for_the_first_but_not_for_ever():
    async def story():
        threads = Threads()
        jobs = [(f"nobody {number}", "a", True) for number in range(3)] + [(f"user {n}", "a", False) for n in range(9)]
        tasks = await threads.begin(*jobs)
        threads.may_end.set()
        assert await asyncio.gather(*tasks) == [name for name, *_ in jobs]
        first, *rest = threads.done
        assert first == "nobody 0"  # the other jobs came later
        assert rest.index("nobody 1") == IN_A_ROW
        assert rest[: IN_A_ROW + 1] == ["user 0", "user 1", "user 2", "user 3", "nobody 1"]
        threads.pool.shutdown()

    asyncio.run(story())


def test_one_thread_is_reserved_for_the_first_queue():
    async def story():
        pool, may_end = ThreadPoolExecutor(2), threading.Event()
        executor = FairExecutor(pool, 2, FairQueue(9, 9), FairQueue(9, 9))

        def wait():
            assert may_end.wait(60)
            return "second", 0.0

        second = [asyncio.create_task(executor.run(wait, "a", second=True)) for _ in range(3)]
        await asyncio.sleep(0.1)
        assert await asyncio.wait_for(executor.run(lambda: ("first", 0.0), "a"), 60) == "first"
        may_end.set()
        assert await asyncio.gather(*second) == ["second"] * 3
        pool.shutdown()

    asyncio.run(story())


def test_a_job_that_is_cancelled_before_it_has_begun_never_runs():
    async def story():
        threads = Threads()
        running, waiting, last = await threads.begin(*[(name, "a", False) for name in ("one", "two", "three")])
        for task in (running, waiting):
            task.cancel()
        await asyncio.wait({running, waiting})
        threads.may_end.set()
        assert await last == "three"
        assert threads.done == ["one", "three"]
        threads.pool.shutdown()

    asyncio.run(story())


def test_a_job_that_makes_room_for_another_address_is_refused():
    async def story():
        threads = Threads(first=3)
        tasks = await threads.begin(*[(f"flood {number}", "a", False) for number in range(4)], ("user", "b", False))
        with pytest.raises(Full):
            await tasks[3]
        with pytest.raises(Full):
            await threads.executor.run(threads.job("more"), "a")
        threads.may_end.set()
        assert await tasks[4] == "user"
        await asyncio.wait(tasks)
        threads.pool.shutdown()

    asyncio.run(story())


def test_a_failed_start_of_a_thread_occupies_no_place():
    class NoThreads(ThreadPoolExecutor):
        refusing = True

        def submit(self, *arguments, **options):
            if self.refusing:
                raise RuntimeError("can't start new thread")
            return super().submit(*arguments, **options)

    async def story():
        pool = NoThreads(1)
        executor = FairExecutor(pool, 1, FairQueue(9, 9))
        for _ in range(3):
            with pytest.raises(RuntimeError, match="new thread"):
                await executor.run(lambda: ("never", 0.0), "a")
        pool.refusing = False
        assert await asyncio.wait_for(executor.run(lambda: ("next", 0.0), "a"), 60) == "next"
        pool.shutdown()

    asyncio.run(story())


def test_an_error_in_a_job_is_raised_and_frees_its_thread():
    async def story():
        threads = Threads()
        threads.may_end.set()

        def fail():
            raise RuntimeError("on purpose")

        for _ in range(3):
            with pytest.raises(RuntimeError):
                await threads.executor.run(fail, "a")
        assert await threads.executor.run(threads.job("next"), "a") == "next"
        threads.pool.shutdown()

    asyncio.run(story())


def test_a_resting_thread_takes_no_new_job():
    async def story():
        threads = Threads()
        threads.may_end.set()
        assert await threads.executor.run(threads.job("wrong", rest=0.3), "a") == "wrong"
        next_one = asyncio.create_task(threads.executor.run(threads.job("next"), "a"))
        await asyncio.sleep(0.1)
        assert threads.done == ["wrong"]
        assert await next_one == "next"
        threads.pool.shutdown()

    asyncio.run(story())


ANNA = ("anna", "192.0.2.1")


def test_beyond_the_budget_one_password_gets_a_turn_each_five_seconds():
    async def story(clock):
        turns = GuessTurns(Throttle(burst=3, seconds=5, clock=clock), patience=100)
        begun, taken = clock.now, []

        async def guess():
            await turns.take(ANNA)
            taken.append(round(clock.now - begun, 3))

        await asyncio.gather(*(guess() for _ in range(8)))
        assert taken == [0, 0, 0, 5, 10, 15, 20, 25]

    run(story)


def test_turns_are_given_by_lot():
    async def story(clock):
        firsts = 0
        for number in range(200):
            turns = GuessTurns(Throttle(burst=1, seconds=5, clock=clock), patience=1000)
            key = (f"user {number}", "192.0.2.1")
            await turns.take(key)
            guesses = [asyncio.create_task(turns.take(key)) for _ in range(3)]
            await asyncio.sleep(0)
            hers = asyncio.create_task(turns.take(key))
            await asyncio.wait({*guesses, hers}, return_when=asyncio.FIRST_COMPLETED)
            firsts += hers.done()
            for task in (*guesses, hers):
                task.cancel()
            await asyncio.wait({*guesses, hers})
        assert 14 < firsts < 86  # the expectation is 50; the bounds are six standard deviations away

    run(story)


def test_a_new_guess_gets_no_turn_ahead_of_waiting_guesses():
    async def story(clock):
        turns = GuessTurns(Throttle(burst=1, seconds=5, clock=clock), patience=1000)
        await turns.take(ANNA)
        waiting = asyncio.create_task(turns.take(ANNA))
        await asyncio.sleep(0)
        clock.now += 5  # the timer has not fired yet
        newcomer = asyncio.create_task(turns.take(ANNA))
        await asyncio.sleep(0)
        assert not newcomer.done()
        await asyncio.gather(waiting, newcomer)

    run(story)


def test_a_guess_without_a_turn_in_time_gets_a_time_to_retry():
    async def story(clock):
        turns = GuessTurns(Throttle(burst=1, seconds=5, clock=clock), patience=12)
        await turns.take(ANNA)
        begun = clock.now
        told = await asyncio.gather(*(turns.take(ANNA) for _ in range(5)), return_exceptions=True)
        late = [error for error in told if isinstance(error, TooLate)]
        assert len(late) == 3
        assert all(0 < error.seconds <= 5 for error in late)
        assert clock.now - begun == pytest.approx(12)

    run(story)


def test_waiting_passwords_are_bounded_and_the_longest_lane_makes_room():
    async def story(clock):
        turns = GuessTurns(Throttle(burst=1, seconds=5, clock=clock), places=4, most=6, patience=100)
        bert, elsewhere, last = ("bert", ANNA[1]), ("anna", "192.0.2.2"), ("anna", "192.0.2.3")
        for key in (ANNA, bert, elsewhere, last):
            await turns.take(key)
        tasks = [asyncio.create_task(turns.take(ANNA)) for _ in range(4)]
        await asyncio.sleep(0)
        tasks += [asyncio.create_task(turns.take(key)) for key in (bert, elsewhere, elsewhere)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert [task.done() for task in tasks[4:]] == [False] * 3
        (loser,) = [task for task in tasks[:4] if task.done()]  # one task of the longest lane
        assert isinstance(loser.exception(), TooLate)
        for key in (ANNA, last):  # no lane is longer than its own; there is no room
            with pytest.raises(TooLate):
                await turns.take(key)
        await asyncio.wait(tasks)
        await turns.take(last)  # all places are free again

    run(story)


def test_a_client_that_leaves_takes_no_turn():
    async def story(clock):
        turns = GuessTurns(Throttle(burst=1, seconds=5, clock=clock), patience=100)
        await turns.take(ANNA)
        leaving = [asyncio.create_task(turns.take(ANNA)) for _ in range(20)]
        await asyncio.sleep(0)
        for task in leaving:
            task.cancel()
        begun = clock.now
        await turns.take(ANNA)
        assert clock.now - begun == pytest.approx(5)

    run(story)


class Leaving:
    """Clients of requests; each leaves when the test says so."""

    def __init__(self):
        self.left = asyncio.Event()

    def client(self):
        async def receive():
            await self.left.wait()
            return {"type": "http.disconnect"}

        return Client({"headers": []}, receive)


def test_shared_work_continues_until_the_last_client_has_left():
    async def story():
        shared, ended, begun = SharedWork(), [], []

        async def work():
            begun.append(1)
            try:
                await asyncio.sleep(3600)
            finally:
                ended.append(1)

        first, second = Leaving(), Leaving()
        tasks = [asyncio.create_task(shared.do("key", work, who.client())) for who in (first, second, second)]
        await asyncio.sleep(0.05)
        first.left.set()
        with pytest.raises(ClientLeft):
            await tasks[0]
        assert (begun, ended, len(shared)) == ([1], [], 1)
        tasks[1].cancel()  # a request that the server cancels counts as a request whose client has left
        second.left.set()
        for task, error in ((tasks[1], asyncio.CancelledError), (tasks[2], ClientLeft)):
            with pytest.raises(error):
                await task
        await asyncio.sleep(0)
        assert (begun, ended, len(shared)) == ([1], [1], 0)

    asyncio.run(story())


def test_all_requests_get_the_result_or_the_error_of_shared_work():
    async def story():
        shared = SharedWork()

        async def work():
            await asyncio.sleep(0.01)
            return "done"

        async def failing():
            await asyncio.sleep(0.01)
            raise RuntimeError("on purpose")

        clients = Leaving()
        assert await asyncio.gather(*(shared.do(1, work, clients.client()) for _ in range(3))) == ["done"] * 3
        told = await asyncio.gather(
            *(shared.do(1, failing, clients.client()) for _ in range(3)), return_exceptions=True
        )
        assert [type(error) for error in told] == [RuntimeError] * 3
        assert len(shared) == 0

    asyncio.run(story())


def test_one_address_gets_refusals_at_a_bounded_rate():
    async def story(clock):
        pause = RefusalPause(1.0)
        begun, told, over = clock.now, [], clock.now + 60

        async def ask_again_and_again():
            while clock.now < over:
                await pause.wait("192.0.2.1")
                told.append(clock.now)

        await asyncio.gather(*(ask_again_and_again() for _ in range(500)))
        assert 0.7 * refusal_pause.PER_SECOND < len(told) / (clock.now - begun) <= 1.2 * refusal_pause.PER_SECOND
        begun = clock.now
        await pause.wait("192.0.2.2")
        assert clock.now - begun == pytest.approx(1)

    run(story)


def test_waiting_refusals_hold_only_a_part_of_the_descriptors(monkeypatch):
    async def story(clock):
        monkeypatch.setattr(refusal_pause.resource, "getrlimit", lambda _kind: (40, 40))
        pause, begun = RefusalPause(1.0), clock.now
        waiting = [asyncio.create_task(pause.wait("192.0.2.1")) for _ in range(10)]
        await asyncio.sleep(0)
        await pause.wait("192.0.2.1")
        assert clock.now == begun
        await asyncio.wait(waiting)

    run(story)
