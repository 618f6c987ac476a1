"""Where the plugin's lines go: to standard error where nobody has said, else where the application says."""

from __future__ import annotations

import gc
import io
import json
import logging
import logging.config
import sys
from types import SimpleNamespace

import pytest
from plugin_loggers import CHILD, OURS, lines
from refused_requests import refused, span

from otel_ratelimit.telemetry.logs import RefusalLog, ShownAddresses, open_output, otel_records
from otel_ratelimit.telemetry.logs.output import DefaultHandler


def test_where_nobody_has_set_logging_up_lines_are_on_standard_error_from_info_on(nobodys, output):
    output()
    CHILD.debug("too much")
    CHILD.info("said %d", 1)
    CHILD.warning("minded")
    first, second = lines(nobodys)
    assert first.endswith("] [INFO] otel_ratelimit.something: said 1")
    assert second.endswith("] [WARNING] otel_ratelimit.something: minded")
    assert first.startswith("[20")


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("level", ["WARNING", "INFO", "DEBUG", "ERROR"])
def test_an_application_that_sets_logging_up_has_each_line_once_and_at_its_level(
    nobodys, output, when, level
):
    if when == "after":
        output()
    logging.basicConfig(format="app %(levelname)s %(message)s", level=level)
    if when == "before":
        output()
    for each in ("DEBUG", "INFO", "WARNING", "ERROR"):
        CHILD.log(logging.getLevelName(each), "said")
    expected = ("DEBUG", "INFO", "WARNING", "ERROR")
    # The level had been INFO when the first line was made; later ones are as the application says.
    assert (
        lines(nobodys)
        == [f"app {each} said" for each in expected[expected.index(level) :]][
            (1 if (when, level) == ("after", "DEBUG") else 0) :
        ]
    )
    CHILD.debug("once more")
    assert any("once more" in line for line in lines(nobodys)) is (level == "DEBUG")


def config(**more):
    return {
        "version": 1,
        "formatters": {"app": {"format": "app %(message)s"}},
        "handlers": {"app": {"class": "logging.StreamHandler", "formatter": "app"}},
        **more,
    }


@pytest.mark.parametrize(
    "more",
    [
        {"root": {"handlers": ["app"]}},
        {"loggers": {"otel_ratelimit": {"handlers": ["app"], "level": "WARNING"}}},
        {"loggers": {"otel_ratelimit.something": {"handlers": ["app"], "level": "WARNING"}}},
    ],
    ids=["root", "ours", "child"],
)
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_dict_config_of_the_application_has_each_line_once(nobodys, output, when, more):
    if when == "after":
        output()
    logging.config.dictConfig(config(disable_existing_loggers=False, **more))
    if when == "before":
        output()
    CHILD.info("no")
    CHILD.warning("yes")
    assert lines(nobodys) == ["app yes"]


def test_loggers_that_a_dict_config_disables_are_silent(nobodys, output):
    output()
    logging.config.dictConfig(config(root={"handlers": ["app"]}))
    CHILD.warning("no")
    assert lines(nobodys) == []


def test_a_null_handler_is_a_decision(nobodys, output):
    OURS.addHandler(logging.NullHandler())
    output()
    CHILD.error("no")
    assert lines(nobodys) == []


def test_a_level_of_the_application_stays_and_nobody_elses_handler_is_needed(nobodys, output):
    OURS.setLevel(logging.ERROR)
    opened = output()
    CHILD.warning("no")
    CHILD.error("yes")
    assert [line.rpartition(" ")[2] for line in lines(nobodys)] == ["yes"]
    opened.close()
    assert OURS.level == logging.ERROR


def test_a_logger_that_is_cut_off_from_the_root_keeps_its_level(nobodys, output):
    OURS.propagate = False
    output()
    CHILD.info("no")
    CHILD.warning("yes")
    assert [line.rpartition(" ")[2] for line in lines(nobodys)] == ["yes"]


def test_a_level_of_the_root_is_a_decision(nobodys, output):
    logging.getLogger().setLevel(logging.ERROR)
    output()
    CHILD.warning("no")
    CHILD.error("yes")
    assert [line.rpartition(" ")[2] for line in lines(nobodys)] == ["yes"]


@pytest.mark.parametrize("is_set_up", [False, True], ids=["nobody", "application"])
@pytest.mark.parametrize(
    ("level", "expected"),
    [
        ("debug", ["d", "i", "w", "e", "c"]),
        ("info", ["i", "w", "e", "c"]),
        ("warning", ["w", "e", "c"]),
        ("error", ["e", "c"]),
        ("critical", ["c"]),
        ("off", []),
    ],
)
def test_the_level_that_was_asked_for_is_in_force_everywhere(nobodys, output, level, expected, is_set_up):
    if is_set_up:
        logging.basicConfig(level=logging.WARNING)
    opened = output(level)
    for say, text in ((CHILD.debug, "d"), (CHILD.info, "i"), (CHILD.warning, "w"), (CHILD.error, "e")):
        say(text)
    CHILD.critical("c")
    assert [line[-1] for line in lines(nobodys)] == expected
    opened.close()
    assert OURS.level == logging.NOTSET


def test_the_application_has_its_level_back_at_the_end(nobodys, output):
    OURS.setLevel(logging.ERROR)
    output("debug").close()
    assert OURS.level == logging.ERROR


def test_a_level_set_since_stays(nobodys, output):
    opened = output("debug")
    OURS.setLevel(logging.ERROR)
    opened.close()
    assert OURS.level == logging.ERROR


def test_handlers_are_added_once_and_taken_away_with_the_last_user(nobodys, output):
    first, second = output(), output()
    assert sum(isinstance(handler, DefaultHandler) for handler in OURS.handlers) == 1
    first.close()
    first.close()
    CHILD.info("still")
    assert len(lines(nobodys)) == 1
    second.close()
    assert OURS.handlers == []
    assert OURS.level == logging.NOTSET


def test_one_whose_handlers_were_taken_away_leaves_those_of_another(nobodys, output):
    former = output()
    OURS.handlers[:] = []  # as a dictConfig does that names the logger
    output()
    former.close()
    CHILD.warning("still")
    assert len(lines(nobodys)) == 1
    assert len(OURS.handlers) == 2


def test_a_user_that_was_forgotten_is_none(nobodys):
    open_output()
    gc.collect()
    assert OURS.handlers == []


def test_what_waitress_sets_up_by_itself_is_no_decision(nobodys, output, monkeypatch):
    output()
    monkeypatch.setitem(sys.modules, "waitress", SimpleNamespace())
    logging.basicConfig()
    CHILD.info("said")
    CHILD.warning("minded")
    assert [line.rpartition("] ")[2] for line in lines(nobodys)] == [
        "otel_ratelimit.something: said",
        "otel_ratelimit.something: minded",
    ]


@pytest.mark.parametrize(
    "given",
    [{"level": "INFO"}, {"format": "app %(message)s"}, {"stream": io.StringIO()}],
    ids=["level", "format", "stream"],
)
def test_below_waitress_an_applications_own_set_up_is_one(nobodys, output, monkeypatch, given):
    output()
    monkeypatch.setitem(sys.modules, "waitress", SimpleNamespace())
    logging.basicConfig(**given)
    CHILD.warning("minded")
    handler = logging.getLogger().handlers[0]
    assert "[WARNING]" not in nobodys.getvalue()
    assert handler.stream.getvalue().count("minded") == 1


def test_without_a_standard_error_nothing_fails(nobodys, output, monkeypatch):
    output()
    monkeypatch.setattr(sys, "stderr", None)
    CHILD.warning("lost")


class Broken(io.StringIO):
    def write(self, _text):
        raise OSError("no space left on device")


def test_an_output_that_fails_costs_the_caller_nothing(nobodys, output, monkeypatch):
    output()
    monkeypatch.setattr(logging, "raiseExceptions", False)  # as in production
    monkeypatch.setattr(sys, "stderr", Broken())
    CHILD.warning("lost")


def test_a_provider_that_fails_costs_neither_the_caller_nor_the_line(nobodys, output, monkeypatch):
    def fails():
        raise RuntimeError("no provider today")

    output()
    monkeypatch.setattr(logging, "raiseExceptions", False)
    monkeypatch.setattr(otel_records, "get_logger_provider", fails)
    CHILD.warning("kept")
    assert [line.rpartition(" ")[2] for line in lines(nobodys)] == ["kept"]


def test_json_is_one_object_per_line_with_fields_trace_and_exception(nobodys, output):
    output("", "json")
    log = RefusalLog(ShownAddresses("masked"))
    with span(0xABC):
        log(refused("203.0.113.9", user="zoë\n"))
    log.tick()
    CHILD.error("failed", exc_info=ValueError("it\nbroke"))
    first, second = map(json.loads, lines(nobodys))
    assert first["level"] == "WARNING"
    assert first["logger"] == "otel_ratelimit.refusals"
    assert first["message"].startswith("refused 1 request of client 203.0.113.0/24 (user zo")
    assert first["route"] == "/thing"
    assert first["limit"] == "5 per 1 minute"
    assert first["count"] == 1
    assert first["client"] == "203.0.113.0/24"
    assert first["user"] == "zo\\xeb\\n"
    assert first["trace_id"] == f"{0xABC:032x}"
    assert first["span_id"] == f"{2:016x}"
    assert first["time"].endswith("+00:00")
    assert "203.0.113.9" not in nobodys.getvalue()
    assert "ValueError: it\nbroke" in second["exception"]
    assert "trace_id" not in second
