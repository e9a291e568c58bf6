"""Passwords in the address of a store are neither shown nor written down."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.config import as_recorded, settings_of, without_password
from pipelines.errors import UnavailableError
from pipelines.help import print_configuration
from pipelines.mlflow_store import check_answers
from pipelines.training.config import TrainConfig
from tune.config import TuneConfig

SECRET = "s3cr-t:w0rd"
LETTERS = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1)


@given(LETTERS, st.text(st.characters(codec="ascii", exclude_characters="/"), min_size=1), LETTERS)
def test_a_password_is_hidden_and_all_else_is_kept(user: str, password: str, host: str) -> None:
    for scheme in ("postgresql", "postgresql+psycopg", "https"):
        shown = without_password(f"{scheme}://{user}:{password}@{host}:5432/name")
        assert shown == f"{scheme}://{user}:***@{host}:5432/name"


@pytest.mark.parametrize(
    "uri",
    [
        "sqlite:////data/a:b@c/mlflow.db",
        "http://host:5000",
        "https://me@host/p",
        "s3://b/a:b@c",
        "",
    ],
)
def test_what_has_no_password_is_as_it_was(uri: str) -> None:
    assert without_password(uri) == uri


def test_no_configuration_is_written_down_with_one() -> None:
    uri = f"postgresql://me:{SECRET}@host/db"
    for config in (TrainConfig(tracking_uri=uri), TuneConfig(train=TrainConfig(tracking_uri=uri))):
        recorded = json.dumps(as_recorded(config), default=str)
        assert SECRET not in recorded and "postgresql://me:***@host/db" in recorded


def test_neither_the_screen_nor_mlflow_gets_one(capsys: pytest.CaptureFixture[str]) -> None:
    config = TrainConfig(tracking_uri=f"postgresql://me:{SECRET}@host/db", root="/home/me/data")
    print_configuration("train", config, {})
    shown = capsys.readouterr()
    assert "postgresql://me:***@host" in shown.out + shown.err
    assert SECRET not in shown.out + shown.err
    settings = settings_of(config)
    assert settings["steps"] == config.steps and not settings.keys() & {"root", "tracking_uri"}


@pytest.mark.parametrize("store", ["http://me:{}@127.0.0.1:9", "postgresql://me:{}@127.0.0.1:9/db"])
def test_a_store_that_does_not_answer_is_named_without_it(store: str) -> None:
    """At once: MLflow alone would try a database for minutes."""
    named = re.escape(store.format("***"))
    with pytest.raises(UnavailableError, match=rf"store {named} does not answer") as caught:
        check_answers(store.format(SECRET.replace(":", "-")))
    assert "s3cr" not in str(caught.value) and "w0rd" not in str(caught.value)
