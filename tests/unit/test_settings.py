from __future__ import annotations

from pathlib import Path

import pytest

from otel_ratelimit.core.errors import PolicyError, SettingsError
from otel_ratelimit.core.settings import Settings, public_variable_names, settings_from, unknown_variables
from otel_ratelimit.policy import load_policy


def test_an_empty_environment_gives_the_documented_defaults():
    assert settings_from({}) == Settings()
    assert Settings().storage_uri == "bounded-memory://"


def test_variables_are_read_and_blank_ones_count_as_unset():
    settings = settings_from(
        {
            "OTEL_RATELIMIT_POLICY": "limits/api.toml",
            "OTEL_RATELIMIT_STORAGE_URI": "redis://localhost:6379",
            "OTEL_RATELIMIT_SHADOW": "TRUE",
            "OTEL_RATELIMIT_TRUSTED_PROXIES": " 10.0.0.0/8 ",
            "OTEL_RATELIMIT_HASH_KEY": "  ",
        }
    )
    assert settings.policy == Path("limits/api.toml")
    assert settings.storage_uri == "redis://localhost:6379"
    assert settings.shadow is True
    assert settings.trusted_proxies == "10.0.0.0/8"
    assert settings.hash_key == ""


def test_an_argument_wins_over_the_variable_even_when_it_is_false():
    environ = {"OTEL_RATELIMIT_SHADOW": "true", "OTEL_RATELIMIT_POLICY": "a.toml"}
    settings = settings_from(environ, {"shadow": False, "policy": "b.toml"})
    assert settings.shadow is False
    assert settings.policy == Path("b.toml")


def test_all_invalid_values_are_reported_at_once_with_what_would_be_right():
    with pytest.raises(SettingsError) as caught:
        settings_from(
            {
                "OTEL_RATELIMIT_SHADOW": "maybe",
                "OTEL_RATELIMIT_ENABLED": "2",
                "OTEL_RATELIMIT_HASH_KEY": "short",
            }
        )
    message = str(caught.value)
    assert "OTEL_RATELIMIT_SHADOW: 'maybe' is neither true nor false; write true or false" in message
    assert "OTEL_RATELIMIT_ENABLED" in message
    assert "openssl rand -hex 32" in message
    assert len(caught.value.problems) == 3


def test_a_misspelt_variable_is_named_with_its_neighbour():
    sentences = list(unknown_variables({"OTEL_RATELIMIT_POLCY": "x", "PATH": "/bin"}))
    assert sentences == ["OTEL_RATELIMIT_POLCY is not a known variable; did you mean OTEL_RATELIMIT_POLICY?"]


@pytest.mark.parametrize(("given", "rate"), [("0", 0.0), ("0.1", 0.1), ("1", 1.0), ("1e-3", 0.001)])
def test_a_sample_rate_is_a_share(given, rate):
    assert settings_from({"OTEL_RATELIMIT_QUERY_SAMPLE_RATE": given}).query_sample_rate == rate
    assert settings_from({}, {"query_sample_rate": rate}).query_sample_rate == rate


@pytest.mark.parametrize("given", ["10%", "1.01", "-0.1", "nan", "inf", "all"])
def test_a_sample_rate_that_is_no_share_is_refused_with_what_would_be_right(given):
    complaint = "OTEL_RATELIMIT_QUERY_SAMPLE_RATE: .* is not a share; write a number from 0 to 1"
    with pytest.raises(SettingsError, match=complaint):
        settings_from({"OTEL_RATELIMIT_QUERY_SAMPLE_RATE": given})
    with pytest.raises(SettingsError, match=complaint):
        settings_from({}, {"query_sample_rate": given})


@pytest.mark.parametrize("name", ["hash_key", "database_url", "api_token", "admin_token", "smtp_url"])
def test_no_secret_is_shown(name):
    assert "topsecrettopsecret" not in repr(Settings(**{name: "topsecrettopsecret"}))


def test_several_tokens_are_told_apart():
    settings = settings_from({"OTEL_RATELIMIT_API_TOKEN": " 0123456789abcdef ,fedcba9876543210,, "})
    assert settings.read_tokens == ("0123456789abcdef", "fedcba9876543210")
    assert settings.admin_tokens == ()


@pytest.mark.parametrize(
    ("environ", "complaint"),
    [
        ({"OTEL_RATELIMIT_API_TOKEN": "short"}, "a secret of 5 characters can be guessed"),
        ({"OTEL_RATELIMIT_ADMIN_TOKEN": "0123456789abcdef,short"}, "a secret of 5 characters"),
        ({"OTEL_RATELIMIT_API_TOKEN": "with a space in it"}, "an Authorization header cannot carry"),
        ({"OTEL_RATELIMIT_API_TOKEN": "schlüssel-schlüssel"}, "an Authorization header cannot carry"),
        (
            {
                "OTEL_RATELIMIT_API_TOKEN": "0123456789abcdef",
                "OTEL_RATELIMIT_ADMIN_TOKEN": "fedcba9876543210,0123456789abcdef",
            },
            "anybody who may read could change",
        ),
    ],
)
def test_a_token_that_protects_nothing_is_refused_without_showing_it(environ, complaint):
    with pytest.raises(SettingsError, match=complaint) as caught:
        settings_from(environ)
    assert "0123456789abcdef" not in str(caught.value)


@pytest.mark.parametrize(
    "make", [Path.mkdir, lambda path: path.symlink_to("nowhere")], ids=["folder", "link"]
)
def test_a_default_policy_that_cannot_be_read_is_a_mistake_and_no_missing_one(tmp_path, make):
    make(tmp_path / "ratelimit.toml")
    file = Settings().policy_file(tmp_path)
    with pytest.raises(PolicyError, match="cannot be read"):
        load_policy(file)


def test_the_default_policy_file_is_used_only_where_it_exists(tmp_path):
    assert Settings().policy_file(tmp_path) is None
    (tmp_path / "ratelimit.toml").write_text("version = 1\n")
    assert Settings().policy_file(tmp_path) == tmp_path / "ratelimit.toml"
    assert Settings(policy=Path("other.toml")).policy_file(tmp_path) == tmp_path / "other.toml"


def test_in_a_deleted_working_directory_an_absolute_policy_is_used_and_another_is_a_problem(
    tmp_path, monkeypatch
):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert Settings(policy=tmp_path / "a.toml").policy_file() == tmp_path / "a.toml"
    for settings in (Settings(), Settings(policy=Path("a.toml"))):
        with pytest.raises(SettingsError, match="the working directory does not exist any more"):
            settings.policy_file()


def test_limits_that_are_required_cannot_be_switched_off():
    environ = {"OTEL_RATELIMIT_REQUIRED": "true", "OTEL_RATELIMIT_ENABLED": "false"}
    with pytest.raises(SettingsError, match="contradicts OTEL_RATELIMIT_ENABLED=false"):
        settings_from(environ)
    assert settings_from({"OTEL_RATELIMIT_REQUIRED": "true"}).required


def test_options_of_a_command_line_hold_no_secret():
    public = public_variable_names()
    assert "OTEL_RATELIMIT_REQUIRED" in public
    hidden = {"API_TOKEN", "ADMIN_TOKEN", "HASH_KEY", "DATABASE_URL", "SMTP_URL", "STORAGE_URI"}
    assert not hidden & {name.removeprefix("OTEL_RATELIMIT_") for name in public}


@pytest.mark.parametrize("given", ["debug", "INFO", "Warning", "error", "critical", "off"])
def test_a_log_level_is_a_word_in_whatever_case(given):
    assert settings_from({"OTEL_RATELIMIT_LOG_LEVEL": given}).log_level == given.lower()
    assert settings_from({}, {"log_level": given}).log_level == given.lower()


@pytest.mark.parametrize("given", ["loud", "10", "warn ing", "text"])
def test_a_log_level_that_is_none_is_refused_with_those_there_are(given):
    choices = "debug, info, warning, error, critical or off"
    complaint = f"OTEL_RATELIMIT_LOG_LEVEL: '{given}' is not a log level; write {choices}"
    with pytest.raises(SettingsError, match=complaint):
        settings_from({"OTEL_RATELIMIT_LOG_LEVEL": given})
    with pytest.raises(SettingsError, match=complaint):
        settings_from({}, {"log_level": given})


def test_a_log_format_is_text_or_json():
    assert settings_from({}).log_format == ""
    assert settings_from({"OTEL_RATELIMIT_LOG_FORMAT": "JSON"}).log_format == "json"
    with pytest.raises(SettingsError, match="'xml' is not a log format; write text or json"):
        settings_from({}, {"log_format": "xml"})
