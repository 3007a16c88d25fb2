"""An S3 server behind a wire that can be slow or cut."""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
import time
from pathlib import Path


class S3:
    """An S3 server with one bucket, and the wire to it: `delay_s` holds back every piece, `cut` ends connections."""

    def __init__(self) -> None:
        from moto.server import ThreadedMotoServer

        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self._server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        self._server.start()
        self._behind = self._server.get_host_and_port()
        self.delay_s, self.cut = 0.0, False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def uri(self, folder: str, *, direct: bool = False) -> str:
        """For `storage`; `direct` goes around the wire."""
        port = self._behind[1] if direct else self.port
        options = "region=us-east-1&scheme=http&allow_bucket_creation=true"
        return f"s3://faults/{folder}?endpoint_override=127.0.0.1:{port}&{options}"

    def fetch(self, folder: str, into: Path) -> None:
        """Copy all that lies in a folder of the bucket."""
        from pyarrow import fs

        source, path = fs.FileSystem.from_uri(self.uri(folder, direct=True))
        into.mkdir(exist_ok=True)
        fs.copy_files(path, str(into), source_filesystem=source, destination_filesystem=fs.LocalFileSystem())

    def close(self) -> None:
        """End the server and the wire."""
        self._listener.close()
        self._server.stop()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self.cut:
                client.close()
                continue
            server = socket.create_connection(self._behind)
            for source, target in ((client, server), (server, client)):
                threading.Thread(target=self._pump, args=(source, target), daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError), source, target:
            while (piece := source.recv(65536)) and not self.cut:
                time.sleep(self.delay_s)
                target.sendall(piece)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
