"""An application without limits."""

from __future__ import annotations

import flask
import pytest


@pytest.fixture
def app():
    return flask.Flask("declared")
