"""What goes wrong in a task arrives as one line, with its exit code, whatever it was raised as."""

import asyncio
import re
import traceback

import aiohttp
import pytest
from botocore.exceptions import EndpointConnectionError

from pipelines.errors import BusyError
from pipelines.failures import EXIT_BUSY, EXIT_FAILURE, EXIT_UNAVAILABLE, explain_failure
from pipelines.ray_tasks import each_on_ray

NOBODY = "http://127.0.0.1:9/bucket/picture.png"


def fails(item: str) -> str:
    """Raise as a task does where the storage is away, another writes, or there is a bug."""
    if item == "busy":
        raise BusyError("v1 is being written by another process")
    if item == "bug":
        raise ZeroDivisionError("division by zero")

    async def ask() -> None:
        async with aiohttp.ClientSession() as session:
            await session.get(NOBODY)

    try:
        asyncio.run(ask())
    except aiohttp.ClientError as error:  # as the client of S3 tells it
        raise EndpointConnectionError(endpoint_url=NOBODY, error=error) from error
    raise AssertionError("somebody answered")


@pytest.mark.usefixtures("ray_cluster")
@pytest.mark.parametrize(
    ("item", "words", "code"),
    [
        ("away", f'a service does not answer: .*"{NOBODY}"', EXIT_UNAVAILABLE),
        ("busy", "v1 is being written by another process", EXIT_BUSY),
        ("bug", "division by zero", EXIT_FAILURE),
    ],
)
def test_a_failure_of_a_task_is_told_as_if_it_were_here(item: str, words: str, code: int) -> None:
    with pytest.raises(Exception, match=words) as caught:
        list(each_on_ray([item], fails))
    failure = explain_failure(caught.value)
    assert failure.exit_code == code
    assert re.search(words, failure.message), failure.message
    assert "in fails" in "".join(traceback.format_exception(caught.value))
