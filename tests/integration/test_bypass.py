"""Every known way around a limiter, tried.

Where stock Flask-Limiter can be passed, the same attempt is made against it first: the test would prove
nothing if the attempt were harmless. The list and its sources are in docs/explanation/abuse.md.
"""

from __future__ import annotations

import threading

import flask
import pytest
from flask_limiter import Limiter
from flask_limiter.util import get_remote_address
from variants import quick_first

from otel_ratelimit import RateLimit
from otel_ratelimit.policy import parse_policy

AMOUNT = 5
TRIES = 12


def make_app():
    app = flask.Flask("target")

    @app.route("/thing", methods=["GET", "POST", "PUT", "DELETE", "PATCH"])
    def thing():
        return "ok"

    @app.get("/thing/<path:rest>")
    def deep(rest):
        return "ok"

    @app.get("/files", endpoint="static_report")
    def report():
        return "ok"

    return app


def protect(app, rules="", *, amount=AMOUNT, **options):
    policy = parse_policy(f'version = 1\n[tiers]\ndefault = "{amount}/minute"\n{rules}', "bypass.toml")
    return RateLimit(app, policy=policy, environ={}, **options)


def decorate(app, rules="", *, amount=AMOUNT, **options):
    """The same limit, declared with a decorator on every view, under a policy that never refuses."""
    limiter = protect(app, rules, amount=1000, **options).limiter
    for endpoint, view in app.view_functions.items():
        app.view_functions[endpoint] = limiter.limit(f"{amount}/minute")(view)


both = pytest.mark.parametrize("guard", [protect, decorate])
"""By the policy, and by decorators on our limiter."""


def stock(app, key_func=get_remote_address, **options):
    return Limiter(key_func, app=app, default_limits=[f"{AMOUNT}/minute"], storage_uri="memory://", **options)


def passed(app, send, tries=TRIES):
    """How many of `tries` attempts were not refused; `send(client, i)` makes one."""
    client = app.test_client()
    return sum(send(client, i).status_code not in {429, 503} for i in range(tries))


@pytest.mark.parametrize(
    "headers",
    [
        lambda i: {"X-Forwarded-For": f"198.51.100.{i}"},
        lambda i: {"X-Real-IP": f"198.51.100.{i}"},
        lambda i: {"Forwarded": f"for=198.51.100.{i}"},
        lambda i: [("X-Forwarded-For", f"198.51.100.{i}"), ("X-Forwarded-For", f"203.0.113.{i}")],
        lambda i: {"True-Client-IP": f"198.51.100.{i}", "CF-Connecting-IP": f"198.51.100.{i}"},
        lambda i: {"X-Forwarded-For": "127.0.0.1"},
    ],
    ids=["x-forwarded-for", "x-real-ip", "forwarded", "duplicate", "vendor", "loopback"],
)
@both
def test_forged_forwarding_headers_gain_nothing(headers, guard):
    app = make_app()
    guard(app)
    assert passed(app, lambda client, i: client.get("/thing", headers=headers(i))) == AMOUNT


AGENTS = {
    "another in each request": lambda i: {
        "User-Agent": f"Mozilla/5.0 (X11; Linux x86_64; rv:{i}.0) Gecko/{i}"
    },
    "browsers in turn": lambda i: {
        "User-Agent": ("Chrome/140.0", "Firefox/143.0", "curl/8.14", "Googlebot/2.1")[i % 4]
    },
    "none now and then": lambda i: {"User-Agent": f"agent-{i}"} if i % 2 else {},
    "long and strange": lambda i: {"User-Agent": "\xff" * i + "a" * 5_000},
    "with what else tells browsers apart": lambda i: {
        "User-Agent": f"agent-{i}",
        "Accept-Language": f"en;q=0.{i}",
        "Sec-CH-UA": f'"Brand";v="{i}"',
        "DNT": str(i % 2),
        "Cookie": f"visitor={i}",
    },
}


@pytest.mark.parametrize("headers", AGENTS.values(), ids=AGENTS)
@both
def test_rotating_user_agents_gains_nothing(headers, guard):
    app = make_app()
    guard(app)

    assert passed(app, lambda client, i: client.get("/thing", headers=headers(i))) == AMOUNT


def test_stock_can_be_passed_by_rotating_user_agents_where_the_key_has_them():
    app = make_app()
    stock(app, key_func=lambda: f"{get_remote_address()} {flask.request.user_agent.string}")
    assert passed(app, lambda client, i: client.get("/thing", headers={"User-Agent": f"agent-{i}"})) == TRIES


def test_rotating_user_agents_from_many_addresses_is_a_limit_for_each_address():
    app = make_app()
    protect(app)

    def send(client, i):
        peer = {"REMOTE_ADDR": f"192.0.2.{i % 3}"}
        return client.get("/thing", headers={"User-Agent": f"agent-{i}"}, environ_base=peer)

    assert passed(app, send, tries=60) == 3 * AMOUNT


@both
def test_behind_a_trusted_proxy_the_leftmost_forged_entry_gains_nothing(guard):
    app = make_app()
    guard(app, trusted_proxies="10.0.0.0/8")

    def send(client, i):
        forwarded = f"198.51.100.{i}, 203.0.113.5"
        return client.get(
            "/thing", headers={"X-Forwarded-For": forwarded}, environ_base={"REMOTE_ADDR": "10.1.1.1"}
        )

    assert passed(app, send) == AMOUNT


@both
def test_behind_a_trusted_proxy_clients_are_told_apart(guard):
    app = make_app()
    guard(app, trusted_proxies="10.0.0.0/8")

    def send(client, i):
        return client.get(
            "/thing",
            headers={"X-Forwarded-For": f"203.0.113.{i}"},
            environ_base={"REMOTE_ADDR": "10.1.1.1"},
        )

    assert passed(app, send) == TRIES


def behind_three_proxies(client, i, **headers):
    """Proxies that append to X-Forwarded-For and hand other headers on; the nearest of them takes turns."""
    forwarded = ", ".join(filter(None, (headers.pop("claim", ""), "203.0.113.5", "10.1.1.3", "10.1.1.2")))
    sent = {"X-Forwarded-For": forwarded, **{name.replace("_", "-"): text for name, text in headers.items()}}
    return client.get("/thing", headers=sent, environ_base={"REMOTE_ADDR": f"10.1.1.{i % 3 + 4}"})


FORGERIES = {
    "forwarded": lambda i: {"Forwarded": f"for=9.9.9.{i}"} if i % 2 else {},
    "forwarded-as-proxy": lambda i: {"Forwarded": f"for=9.9.9.{i}, for=10.1.1.2"},
    "forwarded-agrees": lambda i: {"Forwarded": "for=203.0.113.5" if i % 2 else "garbage"},
    "x-forwarded-for": lambda i: {"claim": f"9.9.9.{i}, 10.1.1.9", "Forwarded": f"for=9.9.9.{i}"},
    "single": lambda i: {"X_Real_IP": f"9.9.9.{i}", "CF_Connecting_IP": f"9.9.9.{i}", "Forwarded": '"'},
}


@pytest.mark.parametrize("forge", FORGERIES.values(), ids=FORGERIES)
@pytest.mark.parametrize("options", [{}, {"trusted_hops": 3}], ids=["networks", "hops"])
def test_behind_proxies_no_forged_header_is_another_bucket(forge, options):
    app = make_app()
    protect(app, trusted_proxies="10.0.0.0/8", **options)
    assert passed(app, lambda client, i: behind_three_proxies(client, i, **forge(i)), tries=40) == AMOUNT


def test_a_forged_header_behind_proxies_does_not_starve_strangers_who_send_one_too():
    app = make_app()
    protect(app, trusted_proxies="10.0.0.0/8")
    passed(app, lambda client, i: behind_three_proxies(client, i, Forwarded=f"for=9.9.9.{i}"), tries=40)
    stranger = {"X-Forwarded-For": "198.51.100.77, 10.1.1.3, 10.1.1.2", "Forwarded": "for=192.168.1.1"}
    found = app.test_client().get("/thing", headers=stranger, environ_base={"REMOTE_ADDR": "10.1.1.4"})
    assert found.status_code == 200


def test_a_count_of_hops_takes_googles_load_balancer_for_a_proxy_and_believes_no_claim():
    app = make_app()
    protect(app, trusted_proxies="130.211.0.0/22, 35.191.0.0/16", trusted_hops=2)

    def send(client, i, *, ip="203.0.113.5"):
        header = {"X-Forwarded-For": f"9.9.9.{i}, {ip}, 34.1.2.3"}
        return client.get("/thing", headers=header, environ_base={"REMOTE_ADDR": "130.211.1.1"})

    assert passed(app, send) == AMOUNT
    assert passed(app, lambda client, i: send(client, i, ip=f"198.51.100.{i}")) == TRIES


def rotate_ipv6(client, i):
    return client.get("/thing", environ_base={"REMOTE_ADDR": f"2001:db8:1:2::{i:x}"})


def test_stock_can_be_passed_by_ipv6_rotation():
    app = make_app()
    stock(app)
    assert passed(app, rotate_ipv6) == TRIES


@both
def test_ipv6_rotation_inside_a_prefix_gains_nothing(guard):
    app = make_app()
    guard(app)
    assert passed(app, rotate_ipv6) == AMOUNT


@both
def test_an_ipv4_mapped_address_is_the_ipv4_address(guard):
    app = make_app()
    guard(app)
    spellings = ["192.0.2.9", "::ffff:192.0.2.9", "::FFFF:C000:209"]
    assert (
        passed(app, lambda client, i: client.get("/thing", environ_base={"REMOTE_ADDR": spellings[i % 3]}))
        == AMOUNT
    )


@pytest.mark.parametrize("prefix", ["64:ff9b::", "64:ff9b:1::", "::ffff:"], ids=ascii)
def test_ipv4_clients_behind_a_translator_are_not_one_prefix(prefix):
    app = make_app()
    protect(app)

    def send(client, i):
        return client.get("/thing", environ_base={"REMOTE_ADDR": f"{prefix}198.51.100.{i}"})

    assert passed(app, send) == TRIES


def rotate_6to4(client, i):
    return client.get("/thing", environ_base={"REMOTE_ADDR": f"2002:c633:6407:{i:x}::{i:x}"})


def test_stock_can_be_passed_by_rotation_in_a_6to4_network():
    app = make_app()
    stock(app)
    assert passed(app, rotate_6to4) == TRIES


def test_a_6to4_network_is_one_client():
    app = make_app()
    protect(app)
    assert passed(app, rotate_6to4) == AMOUNT


@both
def test_different_ipv4_mapped_clients_are_not_one_prefix(guard):
    app = make_app()
    guard(app)
    assert (
        passed(
            app, lambda client, i: client.get("/thing", environ_base={"REMOTE_ADDR": f"::ffff:192.0.2.{i}"})
        )
        == TRIES
    )


def test_stock_can_be_passed_by_head_where_the_decorator_names_get():
    app = flask.Flask("target")
    limiter = Limiter(get_remote_address, app=app, storage_uri="memory://")
    app.add_url_rule("/thing", "thing", limiter.limit(f"{AMOUNT}/minute", methods=["GET"])(lambda: "ok"))
    assert passed(app, lambda client, i: client.head("/thing")) == TRIES


def test_head_counts_as_get():
    app = make_app()
    protect(app, f'[[routes]]\nmatch = "GET /thing"\nlimits = "{AMOUNT}/minute"\n', amount=1000)
    assert passed(app, lambda client, i: client.open("/thing", method=("HEAD", "GET")[i % 2])) == AMOUNT


def test_head_counts_as_get_for_a_decorator_too():
    app = flask.Flask("target")
    limiter = protect(app, amount=1000).limiter
    app.add_url_rule("/thing", "thing", limiter.limit(f"{AMOUNT}/minute", methods=["GET"])(lambda: "ok"))
    assert passed(app, lambda client, i: client.open("/thing", method=("HEAD", "GET")[i % 2])) == AMOUNT


def rotate_verbs(client, i):
    return client.open("/thing", method=("GET", "POST", "PUT")[i % 3])


def test_stock_can_be_passed_by_verb_rotation_with_limits_per_method():
    app = make_app()
    stock(app, default_limits_per_method=True)
    assert passed(app, rotate_verbs) == TRIES


@both
def test_verb_rotation_shares_one_bucket(guard):
    app = make_app()
    guard(app)
    assert passed(app, rotate_verbs) == AMOUNT


def test_a_bucket_for_each_method_is_had_only_by_asking():
    app = make_app()
    protect(app, f'[[routes]]\nmatch = "/thing"\nlimits = "{AMOUNT}/minute"\nscope = "method"\n')
    assert passed(app, rotate_verbs) == TRIES


@both
def test_a_method_override_header_is_ignored(guard):
    app = make_app()
    guard(app)
    names = ("GET", "POST", "PUT", "DELETE", "PATCH", "BREW")
    assert (
        passed(
            app,
            lambda client, i: client.post("/thing", headers={"X-HTTP-Method-Override": names[i % 6]}),
        )
        == AMOUNT
    )


def test_stock_can_be_passed_through_an_empty_key():
    app = make_app()
    stock(app, key_func=lambda: flask.request.headers.get("X-Api-Key", ""))
    assert passed(app, lambda client, i: client.get("/thing")) == TRIES


KEYED = '[[routes]]\nmatch = "/thing"\nlimits = "5/minute"\nkey = "{}"\n'


def test_an_empty_header_falls_back_to_the_address():
    app = make_app()
    protect(app, KEYED.format("header:X-Api-Key"))
    assert passed(app, lambda client, i: client.get("/thing", headers={"X-Api-Key": ""})) == AMOUNT


def failing_key():
    raise RuntimeError("no key today")


def empty_key():
    return None


@pytest.mark.parametrize("function", ["failing_key", "empty_key", "not_there"])
def test_a_key_function_that_fails_or_answers_nothing_falls_back_to_the_address(function, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "bypass_keys", sys.modules[__name__])
    app = make_app()
    protect(app, KEYED.format(f"bypass_keys:{function}"))
    assert passed(app, lambda client, i: client.get("/thing")) == AMOUNT


class Model:
    """A user as an ORM gives it, made in each request, without a text of its own."""


class Counting:
    """An object whose text changes each time."""

    made = 0

    def __repr__(self):
        Counting.made += 1
        return f"<User {Counting.made}>"


async def coroutine():
    return "bob"


def numbered():
    Counting.made += 1
    return Counting.made


STRANGE_ANSWERS = {
    "model": Model,
    "changing": Counting,
    "its text": lambda: str(Model()),
    "coroutine": coroutine,
    "generator": lambda: (n for n in ()),
    "dict": lambda: {"id": numbered()},
    "list": lambda: [numbered()],
    "tuple": lambda: ("bob", numbered()),
    "float": lambda: numbered() + 0.5,
    "nan": lambda: float("nan"),
    "lambda": lambda: lambda: "bob",
    "true": lambda: True,
    "type": lambda: type("User", (), {}),
    "exception": lambda: RuntimeError(numbered()),
    "response": lambda: flask.Response(str(numbered())),
}


@pytest.mark.parametrize("answer", [Counting, STRANGE_ANSWERS["dict"], STRANGE_ANSWERS["float"]])
def test_stock_can_be_passed_by_a_key_function_that_answers_an_object(answer):
    app = make_app()
    stock(app, key_func=answer)
    assert passed(app, lambda client, i: client.get("/thing"), tries=40) == 40


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("answer", STRANGE_ANSWERS.values(), ids=STRANGE_ANSWERS)
@pytest.mark.parametrize("setting", ["user", "key"])
def test_an_answer_that_cannot_stand_for_a_client_is_not_a_new_client_each_time(
    setting, answer, monkeypatch, caplog
):
    import sys

    monkeypatch.setitem(sys.modules, "bypass_keys", sys.modules[__name__])
    monkeypatch.setattr(sys.modules[__name__], "strange", answer, raising=False)
    app = make_app()
    rules = {"user": '[identity]\nuser = "bypass_keys:strange"\n', "key": KEYED.format("bypass_keys:strange")}
    protect(app, rules[setting])
    caplog.clear()
    assert passed(app, lambda client, i: client.get("/thing"), tries=40) == AMOUNT
    (line,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert "bypass_keys:strange" in line
    assert "return text, bytes, an int or a UUID" in line


def test_an_object_in_a_session_is_not_a_new_client_each_time():
    app = make_app()
    app.secret_key = "s" * 32
    protect(app)

    class Sessions(flask.sessions.SecureCookieSessionInterface):
        """As a session that lives on the server gives back what was put into it."""

        def open_session(self, app, request):
            return flask.sessions.SecureCookieSession({"user_id": {"id": numbered()}})

    app.session_interface = Sessions()
    client = app.test_client(use_cookies=False)
    statuses = [client.get("/thing", headers={"Cookie": "a=b"}).status_code for _ in range(40)]
    assert statuses.count(200) == AMOUNT


def app_with_a_view_named_static():
    app = flask.Flask("target", static_folder=None)
    app.add_url_rule("/report", "static", lambda: "ok")
    return app


def test_stock_can_be_passed_through_a_view_named_static():
    app = app_with_a_view_named_static()
    stock(app)
    assert passed(app, lambda client, i: client.get("/report")) == TRIES


def test_a_view_that_is_merely_named_static_is_limited():
    app = app_with_a_view_named_static()
    protect(app)
    assert passed(app, lambda client, i: client.get("/report")) == AMOUNT


def test_a_view_that_is_merely_named_static_keeps_the_default_tier_beside_a_decorator():
    app = flask.Flask("target", static_folder=None)
    limiter = protect(app).limiter
    app.add_url_rule("/report", "static", limiter.limit("9/minute")(lambda: "ok"))
    assert passed(app, lambda client, i: client.get("/report")) == AMOUNT


def test_only_flasks_own_static_view_is_exempt(tmp_path):
    (tmp_path / "a.txt").write_text("a")
    app = flask.Flask("target", static_folder=str(tmp_path), static_url_path="/static")
    protect(app)
    assert passed(app, lambda client, i: client.get("/static/a.txt")) == TRIES


def flood_the_unmatched(client, i):
    return client.open(f"/nothing/{i}" if i % 2 else "/thing", method="GET" if i % 2 else "TRACE")


def test_stock_can_be_passed_by_a_404_and_405_flood():
    app = make_app()
    stock(app)
    assert passed(app, flood_the_unmatched) == TRIES


def test_a_404_and_405_flood_is_limited():
    app = make_app()
    protect(app)
    assert passed(app, flood_the_unmatched) == AMOUNT


@pytest.mark.parametrize(
    "path",
    [
        lambda i: f"/thing?x={i}",
        lambda i: "/th" + "%69" * (i % 2) + "i" * (1 - i % 2) + "ng",
    ],
    ids=["query-string", "percent-encoding"],
)
@both
def test_another_spelling_of_the_path_is_the_same_route(path, guard):
    app = make_app()
    guard(app)
    assert passed(app, lambda client, i: client.get(path(i))) == AMOUNT


def test_paths_that_only_look_alike_cannot_exceed_route_and_unmatched_together():
    app = make_app()
    protect(app)
    paths = ["/thing", "//thing", "/Thing", "/thing/", "/THING", "/./thing", "/thing%20", "/thing;a=1"]
    reached = [app.test_client().get(paths[i % 8], follow_redirects=False) for i in range(80)]
    assert sum(response.status_code == 200 for response in reached) <= 2 * AMOUNT


@pytest.mark.parametrize(
    "value",
    ["a/b", "a\0b", "x" * 1_000_000, "🦆" * 50, "a" * 10 + "/5/1/minute", "%2F", "\udce9"],
    ids=["slash", "nul", "a-megabyte", "emoji", "key-syntax", "encoded", "surrogate"],
)
def test_a_strange_header_key_is_one_client_and_no_error(value):
    app = make_app()
    protect(app, KEYED.format("header:X-Api-Key"))
    assert passed(app, lambda c, i: c.get("/thing", environ_base={"HTTP_X_API_KEY": value})) == AMOUNT


def test_a_slash_in_a_key_cannot_reach_another_clients_counter():
    app = make_app()
    protect(app, KEYED.format("header:X-Api-Key"))
    client = app.test_client()
    for _ in range(AMOUNT):
        client.get("/thing", headers={"X-Api-Key": "victim"})
    assert client.get("/thing", headers={"X-Api-Key": "victim"}).status_code == 429
    assert client.get("/thing", headers={"X-Api-Key": "victim/x"}).status_code == 200


@pytest.mark.full
@pytest.mark.untraced
def test_an_eviction_flood_frees_nobody():
    app = make_app()
    protect(app, '[memory]\ncapacity = "1 MB"\nwarning = "800 kB"\ncritical = "1 MB"\n')
    client = app.test_client()
    for _ in range(AMOUNT):
        client.get("/thing")
    for i in range(12_000):
        client.get("/thing", environ_base={"REMOTE_ADDR": f"198.{i >> 16}.{i >> 8 & 255}.{i & 255}"})
    assert client.get("/thing").status_code == 429


@both
def test_a_parallel_burst_is_counted_to_the_unit(guard):
    app = make_app()
    guard(app, amount=100)
    statuses = []

    def burst():
        client = app.test_client()
        statuses.extend(client.get("/thing").status_code for _ in range(50))

    threads = [threading.Thread(target=burst) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(statuses) == 400
    assert statuses.count(200) == 100


class Clock:
    now = 1_700_000_000.0

    def __call__(self):
        return self.now


@pytest.mark.parametrize(
    ("strategy", "most"), [("fixed-window", 10), ("moving-window", 5), ("sliding-window-counter", 6)]
)
def test_a_burst_at_the_windows_edge_is_bounded_as_documented(strategy, most):
    app = make_app()
    clock = Clock()
    protect(app, f'[[routes]]\nmatch = "/thing"\nlimits = "5/minute"\nstrategy = "{strategy}"\n', clock=clock)
    client = app.test_client()
    client.get("/thing")
    clock.now += 59.9
    burst = sum(client.get("/thing").status_code == 200 for _ in range(10))
    clock.now += 0.2
    burst += sum(client.get("/thing").status_code == 200 for _ in range(10))
    assert burst <= most


def test_stock_leaves_a_malformed_limit_unenforced():
    app = flask.Flask("target")
    limiter = Limiter(get_remote_address, app=app, storage_uri="memory://")
    app.add_url_rule("/thing", "thing", limiter.limit("five per minuet")(lambda: "ok"))
    assert passed(app, lambda client, i: client.get("/thing")) == TRIES


def test_a_malformed_limit_is_refused_at_start():
    from otel_ratelimit.core.errors import PolicyError

    with pytest.raises(PolicyError, match="five per minuet"):
        protect(make_app(), '[[routes]]\nmatch = "/thing"\nlimits = "five per minuet"\n')


@pytest.mark.parametrize("called", [False, True])
def test_a_malformed_limit_of_a_decorator_leaves_the_default_tier(called):
    app = flask.Flask("target")
    limiter = protect(app).limiter
    limit = limiter.limit((lambda: "five per minuet") if called else "five per minuet")
    app.add_url_rule("/thing", "thing", limit(lambda: "ok"))
    assert passed(app, lambda client, i: client.get("/thing")) == AMOUNT


def test_a_key_function_of_a_decorator_that_answers_nothing_falls_back_to_the_client():
    app = flask.Flask("target")
    limiter = protect(app, amount=1000).limiter
    keyed = limiter.limit("5/minute", key_func=lambda: flask.request.headers.get("X-Api-Key", ""))
    app.add_url_rule("/thing", "thing", keyed(lambda: "ok"))
    assert passed(app, lambda client, i: client.get("/thing")) == AMOUNT


def test_stock_can_be_passed_by_a_verb_that_a_decorator_does_not_name():
    app = flask.Flask("target")
    limited = stock(app).limit("5/minute", methods=["POST"], exempt_when=lambda: True)
    app.add_url_rule("/thing", "thing", limited(lambda: "ok"), methods=["GET", "POST"])
    assert passed(app, lambda client, i: client.post("/thing")) == TRIES


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_a_verb_that_a_decorator_does_not_limit_keeps_the_default_tier(method):
    app = flask.Flask("target")
    limiter = protect(app).limiter
    limited = limiter.limit("5/minute", methods=["POST"], exempt_when=lambda: True)
    app.add_url_rule("/thing", "thing", limited(lambda: "ok"), methods=["GET", "POST"])
    assert passed(app, lambda client, i: client.open("/thing", method=method)) == AMOUNT


def test_stock_forgets_its_counters_when_a_limit_is_changed():
    limit = ["5/minute"]
    app = flask.Flask("target")
    limiter = Limiter(get_remote_address, app=app, storage_uri="memory://")
    app.add_url_rule("/thing", "thing", limiter.limit(lambda: limit[0])(lambda: "ok"))
    assert passed(app, lambda client, i: client.get("/thing")) == 5
    limit[0] = "6/minute"
    assert passed(app, lambda client, i: client.get("/thing")) == 6


def test_stock_drains_other_windows_with_rejected_hits():
    app = flask.Flask("target")
    limiter = Limiter(get_remote_address, app=app, storage_uri="memory://", fail_on_first_breach=False)
    app.add_url_rule("/thing", "thing", limiter.limit("5/minute; 8/hour")(lambda: "ok"))
    client = app.test_client()
    for _ in range(TRIES):
        client.get("/thing")
    used = {key: value for key, value in limiter.storage.storage.items() if "hour" in key}
    assert max(used.values()) > AMOUNT


def test_rejected_hits_drain_no_other_window():
    app = make_app()
    clock = Clock()
    protect(app, '[[routes]]\nmatch = "/thing"\nlimits = "5/minute; 8/hour"\n', clock=clock)
    assert passed(app, lambda client, i: client.get("/thing")) == 5
    clock.now += 60
    assert passed(app, lambda client, i: client.get("/thing")) == 3


def send_from(address, **headers):
    return lambda client, _i: client.get("/thing", headers=headers, environ_base={"REMOTE_ADDR": address})


@pytest.mark.untraced
@pytest.mark.parametrize("kind", quick_first(["ip", "header"]))
def test_one_network_does_not_take_the_store_from_the_others(kind):
    app = make_app()
    key = "ip" if kind == "ip" else "header:X-Api-Key"
    limits = f"{AMOUNT}/minute; 1000/hour; 9000/day"
    rule = f'[[routes]]\nmatch = "/**"\nlimits = "{limits}"\nkey = "{key}"\n'
    protect(app, f'{rule}[memory]\ncapacity = "1 MB"\n')
    client = app.test_client()
    for n in range(3_200):
        flood = {"X-Api-Key": f"made up {n}"} if kind == "header" else {}
        address = f"2001:db8:bad:{0 if kind == 'header' else n:x}::1"
        client.get("/thing", headers=flood, environ_base={"REMOTE_ADDR": address})

    for n in range(5):
        elsewhere = send_from(f"192.{n}.2.1", **{"X-Api-Key": f"bought {n}"})
        assert passed(app, elsewhere) == AMOUNT


def test_a_value_of_a_header_is_one_client_in_every_network():
    app = make_app()
    protect(app, '[[routes]]\nmatch = "/**"\ntier = "default"\nkey = "header:X-Api-Key"\n')
    assert (
        passed(app, lambda client, i: send_from(f"{i + 1}.2.3.4", **{"X-Api-Key": "k"})(client, i)) == AMOUNT
    )
