"""The program itself: run in this process on a home of its own, or as a process that stays for a while."""

import json
import signal
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from typer.testing import CliRunner

from postpost.cli import app

PROGRAM = [sys.executable, "-c", "from postpost.cli import main; main()"]


def new_home() -> Path:
    """Make a folder that the embedded server's user can pass through, whoever runs the tests."""
    folder = Path(tempfile.mkdtemp(prefix="postpost-cli-"))
    folder.chmod(0o755)
    return folder / "home"


@dataclass
class Program:
    """`postpost` on one home."""

    environ: dict[str, str]

    def run(self, *words, stdin=None, environ=None):
        """Run a command in this process and return its result, whatever it is."""
        return CliRunner().invoke(app, list(words), input=stdin, env={**self.environ, **(environ or {})})

    def json(self, *words, stdin=None):
        """Run a command that has to succeed with --json and return what it printed."""
        result = self.run(*words, "--json", stdin=stdin)
        assert result.exit_code == 0, (words, result.output)
        return json.loads(result.stdout)

    def refused(self, *words, stdin=None, exit_code=1, environ=None) -> str:
        """Run a command that has to fail with this exit code and nothing on standard output; return its words."""
        result = self.run(*words, stdin=stdin, environ=environ)
        assert result.exit_code == exit_code, (words, result.output)
        assert result.stdout == ""
        return " ".join(result.stderr.replace("│", " ").split())

    def start(self, *words) -> "Running":
        """Start a command that stays, and wait until it is ready."""
        process = subprocess.Popen(
            ["env", *(f"{name}={value}" for name, value in self.environ.items()), *PROGRAM, *words, "--json"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        line = process.stdout.readline()
        if not line:
            raise AssertionError(process.communicate(timeout=20)[1])
        return Running(process, json.loads(line))


@dataclass
class Running:
    """A command that stays, with the line that it printed when it was ready."""

    process: subprocess.Popen
    ready: dict

    def stop(self) -> tuple[int, str, str]:
        """Ask it to end; returns exit code, the rest of standard output, and standard error."""
        self.process.send_signal(signal.SIGTERM)
        output, errors = self.process.communicate(timeout=30)
        return self.process.returncode, output, errors

    def call(self, method, path, *, key=None, body=None):
        """Call the REST API and return status and decoded body."""
        return call(method, f"{self.ready['url']}{path}", key=key, body=body)


def call(method, url, *, key=None, body=None):
    """Send a request, with JSON if there is a body, and return status and decoded body."""
    headers = {"content-type": "application/json", **({"x-api-key": key} if key else {})}
    request = urllib.request.Request(url, method=method, headers=headers, data=body and json.dumps(body).encode())
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, json.loads(answer.read() or b"null")
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())
