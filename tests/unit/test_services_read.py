"""Which service is read where several record, and how that is said."""

from __future__ import annotations

import pytest

from otel_ratelimit.core.periods import period
from otel_ratelimit.core.services import (
    ALL_SERVICES,
    MAX_NAMED,
    QueriesWithoutServiceWarning,
    ServicesRead,
    SeveralServicesWarning,
    UnknownServiceError,
    named,
    queries_read,
    services_read,
    warnings_of,
)

DAY = period("2026-01-31", "2026-01-31")
LEFT_OUT = "left out because an earlier version recorded them without a service"


class Recorded:
    """Services of the day, and of all time."""

    def __init__(self, *today, before=()):
        self.today, self.ever = list(today), sorted({*today, *before})

    def services(self, asked=None):
        assert asked in {None, DAY}
        return self.ever if asked is None else self.today


@pytest.mark.parametrize(
    ("recorded", "asked", "own", "service"),
    [
        (Recorded(), None, "", None),
        (Recorded(), None, "a", None),
        (Recorded("a"), None, "", "a"),
        (Recorded("a"), None, "b", "a"),
        (Recorded("a", before=["b"]), None, "b", "a"),
        (Recorded("a", "b"), None, "", None),
        (Recorded("a", "b"), None, "b", "b"),
        (Recorded("a", "b"), None, "c", None),
        (Recorded("a", "b"), "a", "b", "a"),
        (Recorded("a", "b", before=["c"]), "c", "b", "c"),
        (Recorded(before=["c"]), "c", "", "c"),
        (Recorded("a", "b"), ALL_SERVICES, "b", None),
        (Recorded("a"), ALL_SERVICES, "", None),
        (Recorded(), ALL_SERVICES, "", None),
        (Recorded("", "a"), None, "", None),
        (Recorded("", "a"), "", "a", ""),
    ],
)
def test_the_one_asked_for_then_the_only_one_then_ones_own(recorded, asked, own, service):
    found = services_read(recorded, DAY, asked, own)
    assert (found.service, list(found.services)) == (service, recorded.today)
    assert found.is_mixed == (service is None and len(recorded.today) > 1)


@pytest.mark.parametrize(
    ("recorded", "said"),
    [
        (Recorded(), "nothing is recorded of a service 'x'; nothing is recorded of any service"),
        (Recorded("a", before=["b"]), "nothing is recorded of a service 'x'; recorded are a, b"),
    ],
)
def test_one_of_which_nothing_is_recorded_is_an_error_with_those_that_there_are(recorded, said):
    with pytest.raises(UnknownServiceError) as unknown:
        services_read(recorded, DAY, "x")
    assert (str(unknown.value), unknown.value.known) == (said, tuple(recorded.ever))


@pytest.mark.parametrize(
    ("read", "said"),
    [
        (ServicesRead(None, ()), ""),
        (ServicesRead("a", ()), "service a"),
        (ServicesRead("", ("", "a")), "service (without a name); others in this database: a"),
        (ServicesRead("a", ("", "a")), "service a; others in this database: (without a name)"),
        (ServicesRead("a", ("a",)), "service a"),
        (ServicesRead("a", ("a", "b", "c")), "service a; others in this database: b, c"),
        (ServicesRead(None, ("a", "b", "c")), "3 services together: a, b, c; narrow with --service"),
    ],
)
def test_who_is_read_is_one_sentence(read, said):
    assert read.sentence("--service") == said


def test_very_many_are_counted():
    names = [f"s{n:02}" for n in range(MAX_NAMED + 30)]
    assert named(names).endswith(", s09 and 30 more")
    assert named(names[:MAX_NAMED]).endswith(", s09")
    assert len(ServicesRead(None, tuple(names)).sentence("--service")) < 120


class Queries(Recorded):
    """Services whose queries are recorded, and executions without a service."""

    def __init__(self, *today, without=0, before=()):
        super().__init__(*today, before=before)
        self.without = without

    def without_service(self, asked):
        assert asked == DAY
        return self.without


@pytest.mark.parametrize(
    ("recorded", "asked", "own", "service"),
    [
        (Queries(), None, "", None),
        (Queries(), None, "a", None),
        (Queries("a"), None, "", None),
        (Queries("a", without=7), None, "a", None),
        (Queries("a", without=7), "a", "", "a"),
        (Queries("a", without=7), ALL_SERVICES, "a", None),
        (Queries("a", "b"), None, "", None),
        (Queries("a", "b"), None, "b", "b"),
        (Queries("a", "b", without=7), None, "b", "b"),
        (Queries("a", "b"), "a", "b", "a"),
        (Queries("a", before=["c"]), "c", "", "c"),
    ],
)
def test_queries_are_chosen_likewise_and_all_count_where_only_one_service_is_known(
    recorded, asked, own, service
):
    found = queries_read(recorded, DAY, asked, own)
    assert (found.service, list(found.services)) == (service, recorded.today)
    assert found.is_mixed == (service is None and len(recorded.today) > 1)
    assert (found.without_service, found.left_out) == (recorded.without, recorded.without if service else 0)


def test_queries_of_a_service_that_never_ran_any_are_an_error():
    with pytest.raises(UnknownServiceError, match="recorded are a, b"):
        queries_read(Queries("a", before=["b"]), DAY, "x")


@pytest.mark.parametrize(
    ("recorded", "asked", "said"),
    [
        (Queries("a"), None, []),
        (Queries("a", without=7), None, []),
        (Queries("a", "b"), "a", []),
        (Queries("a", "b"), ALL_SERVICES, []),
        (Queries("a", "b", without=7), ALL_SERVICES, []),
        (
            Queries("a", "b", without=7),
            None,
            [(SeveralServicesWarning, '2 services together: a, b; narrow with service=NAME, or give "*"')],
        ),
        (
            Queries("a", without=1),
            "a",
            [(QueriesWithoutServiceWarning, f"{LEFT_OUT}: 1 execution of this time")],
        ),
        (
            Queries("a", "b", without=1_200),
            "a",
            [(QueriesWithoutServiceWarning, f"{LEFT_OUT}: 1,200 executions of this time")],
        ),
    ],
)
def test_what_is_said_beside_an_answer_of_queries(recorded, asked, said):
    found = warnings_of(queries_read(recorded, DAY, asked), asked)
    assert [(type(each), str(each)) for each in found] == said
