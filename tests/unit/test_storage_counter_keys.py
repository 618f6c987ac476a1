import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_ratelimit.core.route_plan import KIND_LETTERS
from otel_ratelimit.storage.counter_keys import (
    CLIENT_KEYS,
    KIND_NAMES,
    KIND_SHIFT,
    MAX_PLAIN_TEXT,
    TEXT_KEYS,
    CounterKeys,
    limit_of,
)

HEX = st.text("0123456789abcdef", min_size=32, max_size=32)
CLIENTS = st.builds(str.__add__, st.sampled_from(sorted(KIND_LETTERS.values())), HEX)
# Lengths and characters that `int` might read as something else.
NEARLY_CLIENTS = st.text("0123456789abcdefiuh_+- \n", min_size=31, max_size=34)
keys = CounterKeys(b"secret")


def kind_of(key):
    return CLIENT_KEYS.network(key) >> KIND_SHIFT


@given(st.lists(st.one_of(CLIENTS, NEARLY_CLIENTS, st.text()), unique=True))
def test_different_clients_have_different_keys(clients):
    assert len({keys.of_client(client) for client in clients}) == len(clients)


@pytest.mark.parametrize(
    "lookalike", ["i1_2" + 29 * "0", " i12" + 29 * "0", "+i12" + 29 * "0", "i12" + 29 * "0" + "\n"]
)
def test_clients_that_would_read_as_the_same_number_have_different_keys(lookalike):
    assert int(lookalike, 32) == int("0i12" + 29 * "0", 32)
    assert keys.of_client(lookalike) != keys.of_client("0i12" + 29 * "0")


@given(CLIENTS)
def test_a_client_key_tells_the_kind_of_client(client):
    kind = KIND_NAMES[kind_of(keys.of_client(client))]

    assert KIND_LETTERS[kind] == client[0]


@pytest.mark.parametrize("client", ["", "1" + 32 * "0", 33 * "0", "z" + 32 * "0", "-" + 32 * "a"])
def test_a_client_of_no_known_kind_is_counted_as_other(client):
    assert kind_of(keys.of_client(client)) not in KIND_NAMES


@given(st.lists(st.text(st.characters(), max_size=2 * MAX_PLAIN_TEXT), unique=True))
def test_different_texts_have_different_keys_of_bounded_size(texts):
    made = {keys.of_text(text) for text in texts}

    assert len(made) == len(texts)
    assert all(TEXT_KEYS.size(key) <= 144 for key in made)


@pytest.mark.parametrize("text", ["x" * 1_000_000, "\0", "\0" * 200, "😀" * 100, "\ud800", "a\udfff" * 60])
def test_texts_of_any_length_and_content_have_a_key(text):
    assert keys.of_text(text) == keys.of_text(text)
    assert keys.of_text(text) != keys.of_text(text + "x")


def test_the_hash_of_a_text_cannot_be_prepared():
    long = "x" * 1000

    assert CounterKeys(b"one").of_text(long) != CounterKeys(b"two").of_text(long)


@pytest.mark.parametrize("form", [CLIENT_KEYS, TEXT_KEYS], ids=["client", "text"])
def test_keys_spread_evenly_over_shards(form):
    make = keys.of_client if form is CLIENT_KEYS else keys.of_text
    mask = form.masks[4]
    counts = dict.fromkeys({form.shard_index(make(f"i{n:032x}"), mask) for n in range(16_000)}, 0)
    for n in range(16_000):
        counts[form.shard_index(make(f"i{n:032x}"), mask)] += 1

    assert len(counts) == 16
    assert min(counts.values()) > 800


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("LIMITER/127.0.0.1/endpoint/10/1/minute", "10/1/minute"),
        ("10/1/minute", ""),
        ("LIMITER/a/b", ""),
        ("", ""),
        ("LIMITER/" + "x" * 1000 + "/5/2/hour", "5/2/hour"),
        ("LIMITER/x/10/1/" + "y" * 50, ""),
    ],
)
def test_the_limit_is_read_from_the_end_of_a_key(text, limit):
    assert limit_of(text) == limit
