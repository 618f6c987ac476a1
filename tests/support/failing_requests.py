"""Faults of an application on the way of a request, one at each place."""

from __future__ import annotations

import flask
from flask.sessions import SecureCookieSessionInterface


class FailsToOpen(SecureCookieSessionInterface):
    def open_session(self, app, request):
        raise OSError("the session store is away")


class FailsToSave(SecureCookieSessionInterface):
    def save_session(self, app, session, response):
        raise OSError("the session store is away")


def session_that_does_not_open(app):
    app.session_interface = FailsToOpen()


def session_that_is_not_saved(app):
    app.session_interface = FailsToSave()


def preprocessor_that_raises(app):
    app.url_value_preprocessor(fail)


def hook_before_that_raises(app):
    app.before_request(fail)


def hook_after_that_raises(app):
    app.after_request(fail)


def teardown_that_raises(app):
    app.teardown_request(fail)


def teardown_of_the_app_context_that_raises(app):
    app.teardown_appcontext(fail)


def started_receiver_that_raises(app):
    flask.request_started.connect(fail, app, weak=False)


def exception_receiver_that_raises(app):
    app.after_request(fail)
    flask.got_request_exception.connect(fail, app, weak=False)


def finished_receiver_that_raises(app):
    flask.request_finished.connect(fail, app, weak=False)


def view_that_answers_nothing(app):
    app.view_functions["thing"] = lambda: None


def response_class_that_cannot_be_made(app):
    class Broken(flask.Response):
        @classmethod
        def force_type(cls, response, environ=None):
            raise TypeError("no such response")

        def __init__(self, *args, **kwargs):
            raise TypeError("no such response")

    app.response_class = Broken


def error_handlers_that_raise(app):
    app.before_request(fail)
    app.register_error_handler(500, fail)
    app.register_error_handler(Exception, fail)


def exception_handler_that_is_replaced_and_raises(app):
    app.after_request(fail)
    app.handle_exception = fail


def fail(*args, **kwargs):
    raise RuntimeError("the application's own fault")


FAULTS = [
    session_that_does_not_open,
    session_that_is_not_saved,
    preprocessor_that_raises,
    hook_before_that_raises,
    hook_after_that_raises,
    teardown_that_raises,
    teardown_of_the_app_context_that_raises,
    started_receiver_that_raises,
    exception_receiver_that_raises,
    finished_receiver_that_raises,
    view_that_answers_nothing,
    response_class_that_cannot_be_made,
    error_handlers_that_raise,
    exception_handler_that_is_replaced_and_raises,
]
