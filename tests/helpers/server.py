"""A web server on loopback, perhaps with a company's certificate."""

import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import BaseRequestHandler


class QuietHandler(SimpleHTTPRequestHandler):
    """Serves a directory without a log."""

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@contextmanager
def serving(
    handler: Callable[..., BaseRequestHandler], certificate: tuple[str, str] | None = None
) -> Iterator[str]:
    """The address of a server; with a certificate and its key, of localhost."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    address = f"http://127.0.0.1:{server.server_port}/"
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        address = f"https://localhost:{server.server_port}/"
    thread = threading.Thread(target=server.serve_forever, args=[0.01], daemon=True)
    thread.start()
    yield address
    server.shutdown()
    thread.join()
    server.server_close()


def files_of(directory: Path) -> Callable[..., BaseRequestHandler]:
    """What serves the files of a directory."""
    return partial(QuietHandler, directory=str(directory))
