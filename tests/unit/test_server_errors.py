"""How replies of servers, in the words of each client and release, are told apart."""

from __future__ import annotations

import pytest
import redis
import valkey
from pymemcache.exceptions import MemcacheIllegalInputError, MemcacheServerError, MemcacheUnexpectedCloseError
from redis._parsers.base import BaseParser as RedisParser
from valkey._parsers.base import BaseParser as ValkeyParser

from otel_ratelimit.storage.server_errors import failure_of

STATES = {
    "READONLY You can't write against a read only replica.": "readonly",
    "UNBLOCKED force unblock from blocking operation, instance state changed": "readonly",
    "LOADING Redis is loading the dataset in memory": "loading",
    "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.": "master_down",
    "CLUSTERDOWN The cluster is down": "cluster",
    "NOREPLICAS Not enough good replicas to write.": "no_replicas",
    "MISCONF Redis is configured to save RDB snapshots, but it's unable to persist to disk.": "persistence",
    "BUSY Redis is busy running a script.": "busy",
    "NOAUTH Authentication required.": "authentication",
    "WRONGPASS invalid username-password pair or user is disabled.": "authentication",
    "DENIED Redis is running in protected mode": "authentication",
    "NOPERM this user has no permissions to access one of the keys used as arguments": "permission",
    "ERR max number of clients reached": "max_clients",
    "ERR max number of clients + cluster connections reached": "max_clients",
    "ERR invalid password": "authentication",
    "ERR Client sent AUTH, but no password is set": "authentication",
}
OF_ONE = {
    "WRONGTYPE Operation against a key holding the wrong kind of value": "wrong_type",
    "OOM command not allowed when used memory > 'maxmemory'.": "oom",
    "MOVED 3999 127.0.0.1:6381": "cluster",
    "TRYAGAIN Multiple keys request during rehashing of slot": "cluster",
    "CROSSSLOT Keys in request don't hash to the same slot": "cluster",
    "ERR user_script:20: attempt to perform arithmetic on local 'used' (a nil value)": "bad_value",
    "ERR value is not an integer or out of range": "bad_value",
    "ERR increment or decrement would overflow": "bad_value",
    "ERR unknown command 'EVALSHA', with args beginning with:": "unsupported",
    "ERR something new": "other",
    "BRANDNEW code": "other",
    "upstream failure": "other",
}
TAIL = " script: 534a8faa7f51893656e434a75f084549a3d3bc98, on @user_script:28."
OLD = "ERR Error running script (call to f_534a8faa): @user_script:28: "
parsers = pytest.mark.parametrize("parser", [RedisParser, ValkeyParser], ids=["redis-py", "valkey-py"])


@parsers
@pytest.mark.parametrize("reply", STATES)
def test_a_state_of_the_server_concerns_all(parser, reply):
    failure = failure_of(parser.parse_error(reply))
    assert (failure.error_type, failure.concerns_all) == (STATES[reply], True)


@parsers
@pytest.mark.parametrize("reply", OF_ONE)
def test_what_is_wrong_with_one_key_concerns_one_request_and_the_server_is_there(parser, reply):
    failure = failure_of(parser.parse_error(reply))
    assert (failure.error_type, failure.concerns_all, failure.answered) == (OF_ONE[reply], False, True)


@parsers
@pytest.mark.parametrize("code", ["READONLY", "NOREPLICAS", "MISCONF", "OOM", "WRONGTYPE"])
def test_where_in_a_script_it_happened_makes_no_difference(parser, code):
    (reply,) = (reply for reply in (*STATES, *OF_ONE) if reply.startswith(f"{code} "))
    assert failure_of(parser.parse_error(reply + TAIL)) == failure_of(parser.parse_error(reply))


@parsers
@pytest.mark.parametrize(
    ("within", "error_type", "concerns_all"),
    [
        ("@user_script: 28: -READONLY You can't write against a read only replica.", "readonly", True),
        ("@user_script: 28: -NOREPLICAS Not enough good replicas to write.", "no_replicas", True),
        ("@user_script: 28: -MISCONF Redis is configured to save RDB snapshots", "persistence", True),
        ("@user_script: 28: -OOM command not allowed when used memory > 'maxmemory'.", "oom", False),
        ("WRONGTYPE Operation against a key holding the wrong kind of value", "wrong_type", False),
        ("user_script:20: attempt to perform arithmetic on local 'used' (a nil value)", "bad_value", False),
    ],
)
def test_servers_before_redis_7_are_understood(parser, within, error_type, concerns_all):
    failure = failure_of(parser.parse_error(OLD + within))
    assert (failure.error_type, failure.concerns_all) == (error_type, concerns_all)


@pytest.mark.parametrize("client", [redis, valkey])
@pytest.mark.parametrize(
    ("name", "message", "error_type", "concerns_all"),
    [
        ("TimeoutError", "Timeout reading from socket", "timeout", True),
        ("ConnectionError", "Error 111 connecting to 127.0.0.1:1. Connection refused.", "connection", True),
        ("ConnectionError", "The previous master is now a slave", "readonly", True),
        ("ConnectionError", "Too many connections", "pool_exhausted", False),
        ("ConnectionError", "No connection available.", "pool_exhausted", False),
        ("InvalidResponse", "Protocol Error: b'HTTP/1.1 400'", "other", True),
        ("DataError", "Invalid input of type: 'NoneType'", "other", False),
    ],
)
def test_what_is_no_reply(client, name, message, error_type, concerns_all):
    failure = failure_of(getattr(client.exceptions, name)(message))
    assert (failure.error_type, failure.concerns_all, failure.answered) == (error_type, concerns_all, False)


@pytest.mark.parametrize(
    ("error", "error_type", "concerns_all"),
    [
        (redis.exceptions.RedisClusterException("Redis Cluster cannot be connected"), "cluster", True),
        (redis.exceptions.SlotNotCoveredError("Slot not covered"), "cluster", True),
        (redis.exceptions.ClusterError("TTL exhausted."), "cluster", True),
        (ConnectionRefusedError(111, "refused"), "connection", True),
        (TimeoutError(), "timeout", True),
        (OSError("no route"), "connection", True),
        (MemcacheUnexpectedCloseError(), "connection", True),
        (MemcacheServerError("SERVER_ERROR out of memory storing object"), "oom", False),
        (MemcacheServerError("object too large for cache"), "other", False),
        (MemcacheIllegalInputError("Key is too long"), "other", False),
        (ValueError("client-chosen text"), "other", False),
        (UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed"), "other", False),
        (RuntimeError("of the application's key function"), "other", False),
    ],
)
def test_other_exceptions(error, error_type, concerns_all):
    failure = failure_of(error)
    assert (failure.error_type, failure.concerns_all) == (error_type, concerns_all)
