"""Optuna's own pages on the study of a search, read-only and served on this machine.

Needs the extra ``dashboard``. Requests that would write are refused: the study has one writer, and this is not it.
"""

import threading
from collections.abc import Callable, Iterable
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from optuna_dashboard import wsgi

from ablations.errors import BadInput
from ablations.study_place import Kept, StudyPlace

Answer = Callable[..., Any]


def serve_study(place: StudyPlace, host: str, port: int) -> str:
    """Serve until this process ends. Returns the address of the study's page. Raises ``StudyAway``, ``OSError``, and
    ``BadInput`` where there is no study yet."""
    kept = _found(place)

    def pages(request: dict[str, Any], answer: Answer) -> Iterable[bytes]:
        if request["REQUEST_METHOD"] not in ("GET", "HEAD"):
            answer("405 Method Not Allowed", [("Content-Type", "application/json")])
            return [b'{"reason": "these pages are for looking: the sweep alone changes its study"}']
        found: Iterable[bytes] = wsgi(_found(place).storage)(request, answer)  # it may have been made anew since
        return found

    server = make_server(host, port, pages, server_class=_Server, handler_class=_Quiet)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://{host}:{port}/dashboard/studies/{kept.storage.get_study_id_from_name(kept.name)}"


def _found(place: StudyPlace) -> Kept:
    kept = place.read()
    if kept is None:
        raise BadInput(f"{place.shown}: there is no study yet; the search creates it when it starts")
    return kept


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *arguments: Any) -> None:
        pass
