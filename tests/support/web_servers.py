"""nginx in front of the tests' own server, configured as the documentation says."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path

from tests.support.processes import Process, free_ports
from tests.support.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")

CONFIGURATION = """
daemon off;
{user}
worker_processes 1;
pid {folder}/pid;
error_log stderr warn;
events {{ worker_connections 64; }}
http {{
    access_log off;
    default_type application/x-of-nginx;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    scgi_temp_path {folder}/scgi;
    uwsgi_temp_path {folder}/uwsgi;
    server {{
        listen 127.0.0.1:{port};
        {locations}
    }}
}}
"""


def documented(page: str) -> str:
    """Return the part of nginx's configuration that a page of the documentation shows."""
    _, _, rest = (ROOT / "docs" / page).read_text().partition(".. code-block:: nginx\n\n")
    lines = []
    for line in rest.splitlines():
        if line and not line.startswith(" "):
            break
        lines.append(line)
    return "\n".join(lines)


@contextmanager
def nginx(folder: Path, locations: str, instead: Mapping[str, str]) -> Iterator[int]:
    """Run nginx with these locations, with what stands for places of the reader's own put in; yield its port."""
    assert PROGRAM is not None
    (port,) = free_ports(1)
    for text, own in instead.items():
        assert text in locations, f"the documentation does not say {text!r}"
        locations = locations.replace(text, own)
    folder.mkdir()
    # Started by root, its worker would be a user who may not read what the test wrote.
    user = "user root;" if os.geteuid() == 0 else ""
    configuration = folder / "nginx.conf"
    configuration.write_text(CONFIGURATION.format(user=user, folder=folder, port=port, locations=locations))
    server = Process([PROGRAM, "-p", str(folder), "-c", str(configuration), "-e", "stderr"])
    try:
        wait_until(lambda: not server.running or answers(port), "nginx answers")
        if not server.running:
            raise server.failure("it does not run")
        yield port
    finally:
        server.stop()


def answers(port: int) -> bool:
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("HEAD", "/")
        connection.getresponse()
    except OSError:
        return False
    finally:
        connection.close()
    return True
