"""The album's own processes: the site, its management commands, the Celery worker."""

import os
import secrets
import subprocess
import sys
from pathlib import Path

from .processes import Child, Children, DemoFailure, free_ports
from .s3 import BUCKET, S3Server
from .site import Site

EXAMPLE = Path(__file__).resolve().parent.parent
# Beat inside the worker sends the sweep, which finds work whose message was lost. Its schedule is in memory: kept in a
# file, it does not always survive the fork of the worker on Python 3.13.
WORKER = [
    "-m",
    "celery",
    "--app",
    "album_site",
    "worker",
    "--beat",
    "--scheduler",
    "celery.beat:Scheduler",
    "--concurrency",
    "2",
    "--loglevel",
    "INFO",
]


def prepare_environment(data: Path, server: S3Server) -> None:
    """Set what the site and the worker read from the environment; nothing of the user's own AWS set-up counts."""
    for name in [name for name in os.environ if name.startswith(("AWS_", "DJANGO_", "CELERY_"))]:
        del os.environ[name]
    os.environ |= {
        "DJANGO_SETTINGS_MODULE": "album_site.settings",
        "PYTHONPATH": os.pathsep.join([str(EXAMPLE), os.environ.get("PYTHONPATH", "")]),
        "ALBUM_DATA": str(data),
        "ALBUM_SECRET_KEY": secrets.token_urlsafe(40),
        "ALBUM_S3_BUCKET": BUCKET,
        "ALBUM_S3_ENDPOINT": server.endpoint,
        "ALBUM_S3_ACCESS_KEY": server.access_key,
        "ALBUM_S3_SECRET_KEY": server.secret_key,
        "AWS_CONFIG_FILE": str(data / "no-aws-config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(data / "no-aws-credentials"),
        "AWS_EC2_METADATA_DISABLED": "true",
        "NO_PROXY": "127.0.0.1,localhost",
        "no_proxy": "127.0.0.1,localhost",
    }


def start_site(children: Children) -> Site:
    manage("migrate", "--verbosity", "0")
    [port] = free_ports(1)
    children.start(
        "site", [sys.executable, EXAMPLE / "manage.py", "runserver", "--noreload", f"127.0.0.1:{port}"]
    )
    site = Site(f"http://127.0.0.1:{port}/")
    children.wait_for(f"The site at {site.address}", site.answers, timeout=60)
    return site


def start_worker(children: Children) -> float:
    worker = children.start("worker", [sys.executable, *WORKER])
    return children.wait_for("The Celery worker", lambda: is_ready(worker), timeout=60)


def is_ready(worker: Child) -> bool:
    return " ready." in worker.log.read_text(errors="replace")


def manage(*arguments: str) -> None:
    command = [sys.executable, EXAMPLE / "manage.py", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise DemoFailure(f"manage.py {arguments[0]} failed:\n{(done.stdout + done.stderr)[-3000:]}")
