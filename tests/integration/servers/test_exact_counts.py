"""The workers of one server together allow as many requests as the policy, neither more nor less."""

import pytest
from request_load import ask_each, send
from zone_apps import SERVERS, WORKERS, policy_of

LIMIT, LIMIT_OF_FEW = 300, 10
CLIENTS = [f"client-{number}" for number in range(20)]
QUICK = {("sync", "zero-code"), ("gthread", "by hand")}


CASES = [
    pytest.param(name, way, marks=() if (name, way) in QUICK else (pytest.mark.full,), id=f"{name} {way}")
    for name in SERVERS
    for way in ("zero-code", "by hand")
]


@pytest.mark.parametrize(("name", "way"), CASES)
def test_four_workers_together_allow_exactly_the_limit(serve, name, way):
    if "gevent" in name:
        pytest.importorskip("gevent")
    server = serve(*SERVERS[name], zero_code=way == "zero-code", policy=policy_of(LIMIT, LIMIT_OF_FEW))
    first = ask_each(server.port, "/many", WORKERS)
    then = send(server.port, "/many", 2 * LIMIT, ["one"])
    last = ask_each(server.port, "/many", WORKERS)
    assert (first.lost, then.lost, last.lost) == (0, 0, 0)
    assert first.status(200) + then.status(200) == LIMIT
    # No worker has anything left to give.
    assert last.status(200) == 0

    few = send(server.port, "/few", 2 * LIMIT_OF_FEW * len(CLIENTS), CLIENTS)
    assert {client: few.allowed_to(client) for client in CLIENTS} == dict.fromkeys(CLIENTS, LIMIT_OF_FEW)
    assert few.lost == 0
