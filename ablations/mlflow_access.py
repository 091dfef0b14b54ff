"""How this program speaks to MLflow: quietly, without long waits, and with its troubles told in one line."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ablations.errors import STORE_UNUSABLE, AblationError


class TrackingError(AblationError):
    """MLflow cannot be read, written or opened. The records are whole, and the next sync catches up."""

    exit_code = STORE_UNUSABLE


def mlflow_client(uri: str) -> Any:
    """An ``MlflowClient``. Its import takes seconds."""
    _prepare_environment()
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=uri)


@contextmanager
def mlflow_errors(uri: str, *, advice: str = "") -> Iterator[None]:
    """Whatever MLflow, its databases and the way to it raise within becomes a ``TrackingError``."""
    from sqlalchemy.exc import SQLAlchemyError  # what MLflow's own databases raise

    _prepare_environment()
    from mlflow.exceptions import MlflowException

    try:
        yield
    except (MlflowException, SQLAlchemyError, OSError) as error:
        if isinstance(error.__context__, OSError):  # what it raises while it tries to reach a server
            raise TrackingError(f"MLflow at {without_password(uri)} does not answer") from error
        reason = without_password(" ".join(str(error).partition("[SQL:")[0].split()))[:300]
        raise TrackingError(f"MLflow at {without_password(uri)}: {reason}{advice}") from error


def all_runs(client: Any, experiment: str) -> list[Any]:
    """Every run of an experiment that is not deleted."""
    found: list[Any] = []
    page = None
    while True:
        some = client.search_runs([experiment], max_results=1000, page_token=page)
        found += some
        page = some.token
        if not page:
            return found


def without_password(text: str) -> str:
    """For markers and messages."""
    text = re.sub(r"//[^@\s]*@", "//", text)
    return re.sub(r"(?<=[?&]password=)[^&\s'\"]+", "***", text)


def _prepare_environment() -> None:
    """Before MLflow is imported. A user's own settings win."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")
    # A request that is sent again because its answer was lost may be carried out twice; the next sync looks first.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
