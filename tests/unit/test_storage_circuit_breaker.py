from __future__ import annotations

import threading

import pytest

from otel_ratelimit.core.counter_store import Taken
from otel_ratelimit.core.errors import StorageUnavailableError
from otel_ratelimit.storage.circuit_breaker import CircuitBreaker
from otel_ratelimit.storage.server_errors import error_type_of

ANSWER = Taken(True, ())


class Store:
    name = "flaky"

    def __init__(self):
        self.error = None
        self.calls = 0

    def take(self, windows, client, cost, now):
        self.calls += 1
        if self.error is not None:
            raise self.error
        return ANSWER

    peek = take

    def clear(self, windows, client):
        return self.take(windows, client, 0, 0.0) and 0


class Monotonic:
    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def store():
    return Store()


@pytest.fixture
def monotonic():
    return Monotonic()


def ask(breaker):
    return breaker.take((), "client", 1, 0.0)


def test_a_working_store_is_passed_through(store):
    assert ask(CircuitBreaker(store)) is ANSWER
    assert CircuitBreaker(store).retry_after() == 0.0


def test_whatever_the_store_raises_becomes_one_kind_of_error(store):
    class ConnectionRefusedByPeerError(OSError):
        pass

    store.error = ConnectionRefusedByPeerError("no")
    with pytest.raises(StorageUnavailableError) as caught:
        ask(CircuitBreaker(store))
    assert caught.value.error_type == "connection"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (TimeoutError(), "timeout"),
        (ConnectionRefusedError(), "connection"),
        (type("ReadOnlyError", (Exception,), {})(), "readonly"),
        (type("AuthenticationError", (ConnectionError,), {})(), "authentication"),
        (type("BusyLoadingError", (ConnectionError,), {})(), "loading"),
        (type("ClusterDownError", (Exception,), {})(), "cluster"),
        (type("MemcacheUnexpectedCloseError", (Exception,), {})(), "connection"),
        (ValueError("client-chosen text"), "other"),
    ],
)
def test_error_types_are_few_words_and_never_the_message(error, expected):
    assert error_type_of(error) == expected


def test_a_failed_store_is_left_alone_until_the_time_has_come(store, monotonic):
    breaker = CircuitBreaker(store, retry_seconds=1.0, monotonic=monotonic)
    store.error = TimeoutError()
    for _ in range(50):
        with pytest.raises(StorageUnavailableError):
            ask(breaker)
    assert store.calls == 1
    assert breaker.retry_after() == 1.0
    monotonic.now += 1.0
    with pytest.raises(StorageUnavailableError):
        ask(breaker)
    assert store.calls == 2


def test_it_recovers_with_the_first_answer_and_says_so_once(store, monotonic, caplog):
    breaker = CircuitBreaker(store, retry_seconds=1.0, monotonic=monotonic)
    store.error = TimeoutError()
    with pytest.raises(StorageUnavailableError):
        ask(breaker)
    store.error = None
    monotonic.now += 1.0
    assert [ask(breaker) for _ in range(3)] == [ANSWER] * 3
    assert sum("answers again" in record.message for record in caplog.records) == 1
    assert sum("failed" in record.message for record in caplog.records) == 1
    assert breaker.retry_after() == 0.0


def test_only_one_request_at_a_time_tries_a_failed_store(store, monotonic):
    breaker = CircuitBreaker(store, retry_seconds=1.0, monotonic=monotonic)
    store.error = TimeoutError()
    with pytest.raises(StorageUnavailableError):
        ask(breaker)
    store.error = None
    monotonic.now += 1.0
    entered, leave = threading.Event(), threading.Event()

    def slow(windows, client, cost, now):
        entered.set()
        leave.wait(10)
        return ANSWER

    store.take = slow
    probe = threading.Thread(target=ask, args=(breaker,))
    probe.start()
    assert entered.wait(10)
    with pytest.raises(StorageUnavailableError):
        ask(breaker)
    leave.set()
    probe.join()
    assert ask(breaker) is ANSWER


def test_a_request_refused_while_another_notes_the_recovery_has_an_error_type(store, monotonic):
    breaker = CircuitBreaker(store, retry_seconds=1.0, monotonic=monotonic)
    store.error = TimeoutError()
    with pytest.raises(StorageUnavailableError):
        ask(breaker)

    def looked_at_as_another_recovers():
        breaker._open_because = ""
        return monotonic.now

    breaker._monotonic = looked_at_as_another_recovers
    with pytest.raises(StorageUnavailableError) as caught:
        ask(breaker)
    assert caught.value.error_type == "timeout"


def test_only_real_failures_are_counted(store, monotonic):
    kinds = []
    breaker = CircuitBreaker(store, on_error=kinds.append, monotonic=monotonic)
    store.error = TimeoutError()
    for _ in range(10):
        with pytest.raises(StorageUnavailableError):
            ask(breaker)
    assert kinds == ["timeout"]


def test_peek_and_clear_are_guarded_too(store):
    breaker = CircuitBreaker(store)
    assert breaker.peek((), "client", 1, 0.0) is ANSWER
    store.error = TimeoutError()
    with pytest.raises(StorageUnavailableError):
        breaker.clear((), "client")


ResponseError = type("ResponseError", (Exception,), {})
WRONG_TYPE = ResponseError("WRONGTYPE Operation against a key holding the wrong kind of value")
READ_ONLY = ResponseError("READONLY You can't write against a read only replica.")


def failing(breaker):
    with pytest.raises(StorageUnavailableError) as caught:
        ask(breaker)
    return caught.value.error_type


def test_an_error_of_one_request_fails_that_request_only(store, monotonic):
    breaker = CircuitBreaker(store, monotonic=monotonic)
    store.error = WRONG_TYPE
    assert failing(breaker) == "wrong_type"
    assert breaker.healthy
    assert breaker.retry_after() == 0.0
    store.error = None
    assert ask(breaker) is ANSWER


def test_errors_of_single_requests_are_all_counted_and_logged_once_a_minute(store, monotonic, caplog):
    kinds = []
    breaker = CircuitBreaker(store, on_error=kinds.append, monotonic=monotonic)
    store.error = WRONG_TYPE
    for _ in range(50):
        failing(breaker)
    assert kinds == ["wrong_type"] * 50
    assert len(caplog.records) == 1
    monotonic.now += 60.0
    failing(breaker)
    assert len(caplog.records) == 2


def test_a_reply_that_concerns_one_request_ends_the_pause(store, monotonic):
    breaker = CircuitBreaker(store, retry_seconds=1.0, monotonic=monotonic)
    store.error = TimeoutError()
    failing(breaker)
    monotonic.now += 1.0
    store.error = WRONG_TYPE
    assert failing(breaker) == "wrong_type"
    assert breaker.healthy


def test_an_error_that_never_reached_the_server_says_nothing_about_it(store, monotonic):
    breaker = CircuitBreaker(store, retry_seconds=1.0, monotonic=monotonic)
    store.error = TimeoutError()
    failing(breaker)
    monotonic.now += 1.0
    store.error = ValueError("not sent")
    assert failing(breaker) == "other"
    assert not breaker.healthy


@pytest.mark.parametrize("error", [TimeoutError(), READ_ONLY, ConnectionRefusedError()])
def test_after_an_error_of_the_server_its_connections_are_dropped(store, monotonic, error):
    dropped = []
    store.drop_connections = lambda: dropped.append(True)
    breaker = CircuitBreaker(store, retry_seconds=1.0, monotonic=monotonic)
    store.error = error
    for _ in range(5):
        failing(breaker)
    assert len(dropped) == 1, "once an attempt"
    monotonic.now += 1.0
    failing(breaker)
    assert len(dropped) == 2


def test_after_an_error_of_one_request_the_connections_stay(store):
    store.drop_connections = lambda: pytest.fail("dropped")
    store.error = WRONG_TYPE
    failing(CircuitBreaker(store))


def test_connections_that_cannot_be_closed_are_no_error_of_the_request(store, caplog):
    def broken():
        raise OSError("broken")

    store.drop_connections = broken
    store.error = TimeoutError()
    assert failing(CircuitBreaker(store)) == "timeout"
    assert "could not be closed" in caplog.text
