"""How this program speaks to MLflow: quietly, without long waits, and with errors reported in one line."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import entry_points
from typing import Any

from ablations.errors import STORE_UNUSABLE, AblationError, BadInput

_SERVERS = ("http", "https", "databricks")
_DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
"""Databases that MLflow writes to; the driver may follow, as in ``postgresql+psycopg2``."""
_PLUGINS = "mlflow.tracking_store"
"""Where packages that let MLflow write elsewhere say so, by the scheme of their addresses."""


class TrackingError(AblationError):
    """MLflow cannot be read, written or opened. The records are complete, and the next sync catches up."""

    exit_code = STORE_UNUSABLE


def tracking_address(uri: str | None) -> str | None:
    """An address as a user gave it; ``None`` if there is none. Raises ``BadInput`` for what MLflow cannot write to,
    before anything is trained."""
    if uri and not _can_be_written(uri):
        raise _no_address(uri)
    return uri or None


def _can_be_written(uri: str) -> bool:
    """Whether MLflow, or a plugin of it that is installed, writes to addresses of this kind. Imports no MLflow."""
    if uri == "databricks":
        return True
    scheme, colon, _ = uri.partition(":")
    if not colon or scheme == "file":  # MLflow has a folder of files for what has no scheme
        return False
    database, _, _ = scheme.partition("+")
    return scheme in _SERVERS or database in _DATABASES or scheme in entry_points(group=_PLUGINS).names


def mlflow_client(uri: str) -> Any:
    """An ``MlflowClient``. Its import takes seconds."""
    _prepare_environment()
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=uri)


@contextmanager
def mlflow_errors(uri: str, *, advice: str = "") -> Iterator[None]:
    """Turn whatever MLflow, its databases and the connection to it raise within into a ``TrackingError``."""
    from sqlalchemy.exc import SQLAlchemyError  # what MLflow's own databases raise

    _prepare_environment()
    from mlflow.exceptions import MlflowException
    from mlflow.tracking.registry import UnsupportedModelRegistryStoreURIException

    try:
        yield
    except UnsupportedModelRegistryStoreURIException:
        raise _no_address(uri) from None
    except ImportError as error:
        raise TrackingError(
            f"MLflow at {without_password(uri)}: the driver for this database is not installed ({error}); the one for "
            'PostgreSQL comes with the extra `postgres`: pip install --editable ".[postgres]", and its addresses begin '
            "with postgresql+psycopg2://"
        ) from error
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
    """A text without its passwords, for markers and messages."""
    text = re.sub(r"//[^@\s]*@", "//", text)
    return re.sub(r"(?<=[?&]password=)[^&\s'\"]+", "***", text)


def _no_address(uri: str) -> BadInput:
    return BadInput(
        f"MLflow at {without_password(uri)}: not the address of a server or a database; allowed are "
        "http://HOST:PORT, https://HOST, sqlite:///FILE.db, postgresql+psycopg2://USER:PASSWORD@HOST/DATABASE or "
        "others that MLflow knows (--tracking-uri, MLFLOW_TRACKING_URI, --from-mlflow). `mlflow migrate-filestore` "
        "moves what an old folder `mlruns` holds into a database"
    )


def _prepare_environment() -> None:
    """Set what MLflow reads when it is imported. A user's own settings win."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")
    # A request that is sent again because its answer was lost may be carried out twice; the next sync looks first.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
