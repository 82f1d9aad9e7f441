"""The server process as its owner sees it: begun, known by address and credentials, ended."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_virtualstain.compute.serve import LOG, STOP
from napari_virtualstain.errors import ComputeError

if TYPE_CHECKING:
    from distributed.security import Security

__all__ = ["Server"]

_PATIENCE_S = 4.0
"""For a server that was told to end."""
_START_S = 30.0
"""For a server that was started on a busy machine."""
_TAIL = 4000


@dataclass(frozen=True, slots=True)
class Credentials:
    """What one has to show to be let in; they end with the server."""

    certificate: str
    key: str

    def security(self) -> Security:
        """Return them as dask takes them."""
        from distributed.security import Security

        return Security(
            require_encryption=True,
            tls_ca_file=self.certificate,
            tls_client_cert=self.certificate,
            tls_client_key=self.key,
        )


class Server:
    """A compute process of ours.

    Parameters
    ----------
    folder
        For its log and scratch files, and for temporary stores; only the user may enter it.
    on_gone
        Called with the server, from a thread, if it ends without having been told to.
    crowd
        Workers that share a run, see `compute.cluster.Crowd`; the one of a viewer if `None`.
    """

    def __init__(
        self,
        folder: Path,
        on_gone: Callable[[Server], None],
        *,
        crowd: dict[str, Any] | None = None,
    ) -> None:
        self.folder = folder
        self._told = False
        # -P: a dask.py that lies beside the user's images is none of ours.
        command = [sys.executable, "-P", "-m", "napari_virtualstain.compute.serve", str(folder)]
        if crowd is not None:
            command.append(json.dumps(crowd))
        # No shell, no console window, nothing inherited but the environment.
        with (folder / LOG).open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                encoding="utf-8",
                # Ctrl-C in the terminal of the viewer is not for us.
                start_new_session=True,
                creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0)
                | getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
            )
        line = self._first_line()
        try:
            said = json.loads(line)
        except ValueError:
            self.stop(keep=False)
            raise ComputeError(
                "The compute process did not start. Run `virtualstain doctor`, and read the end of "
                f"its log: {self.log_tail() or 'it is empty'}"
            ) from None
        self.address: str = said["address"]
        self.credentials = Credentials(said["certificate"], said["key"])
        self._on_gone = on_gone
        threading.Thread(target=self._watch, name="compute-watch", daemon=True).start()

    def _first_line(self) -> str:
        """Return what the process announces, ``""`` if it says nothing in time."""
        output, said = self._process.stdout, list[str]()
        assert output is not None
        reader = threading.Thread(target=lambda: said.append(output.readline()), daemon=True)
        reader.start()
        reader.join(_START_S)
        if reader.is_alive():
            self._process.kill()
            reader.join()
        output.close()
        return "".join(said)

    @property
    def pid(self) -> int:
        """Number of the process."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the process is there."""
        return self._process.poll() is None

    def kill_workers(self, pid: int | None = None) -> None:
        """End the worker without asking; the server starts another.

        Parameters
        ----------
        pid
            Of the worker if it is known, else everything below the server goes, once.
        """
        import psutil

        try:
            below = psutil.Process(self.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return
        for process in below:
            if pid is None or process.pid == pid:
                try:
                    process.kill()
                except psutil.NoSuchProcess:
                    continue

    def stop(self, *, keep: bool) -> None:
        """End the server and its worker.

        Parameters
        ----------
        keep
            Whether its folder stays.
        """
        self._told = True
        assert self._process.stdin is not None
        try:
            if keep:
                self._process.stdin.write(f"{STOP}\n")
            self._process.stdin.close()
        except OSError:
            pass  # it has gone already
        try:
            self._process.wait(_PATIENCE_S)
        except subprocess.TimeoutExpired:
            self._end_all()

    def _end_all(self) -> None:
        """End the server and what it started, which it must not replace meanwhile."""
        import psutil

        below: list[psutil.Process] = []
        try:
            server = psutil.Process(self.pid)
            server.suspend()  # it would start another worker for each that goes
            below = server.children(recursive=True)
        except psutil.NoSuchProcess:
            pass  # it has ended this moment, and its workers with it
        self._process.kill()
        for process in below:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
        self._process.wait()

    def log_tail(self) -> str:
        """Return the end of what server and worker printed."""
        try:
            return (
                (self.folder / LOG).read_text(encoding="utf-8", errors="replace")[-_TAIL:].strip()
            )
        except OSError:
            return ""

    def _watch(self) -> None:
        self._process.wait()
        if not self._told:
            self._on_gone(self)
