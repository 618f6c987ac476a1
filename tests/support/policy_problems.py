"""The mistakes that are found in a policy file."""

from __future__ import annotations

import textwrap

import pytest

from otel_ratelimit.core.errors import PolicyError
from otel_ratelimit.policy import parse_policy


def problems(text):
    with pytest.raises(PolicyError) as caught:
        parse_policy(textwrap.dedent(text), "p.toml")
    return [str(problem) for problem in caught.value.problems]


def only(text):
    (problem,) = problems(text)
    return problem


def rule(text, head="version = 1\n"):
    return only(f'{head}[[routes]]\nmatch = "/a"\n{text}\n')
