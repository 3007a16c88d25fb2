"""Storage: everything that outlives a process, on any path or URI that pyarrow opens.

Object stores have neither rename nor lock, so a commit is: blobs under names that no other attempt uses, then one
manifest as the last write. The manifest carries size and sha256 of every blob and a digest of itself. What is torn,
cut, tampered with or lacks a blob has no valid manifest: `Store.find` says None, and the caller builds it again.
Reading never executes anything: JSON, bytes and Arrow only.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.fs as pafs

from wetakd.common.canonical_json import dump_with_digest, to_plain
from wetakd.common.errors import UserError, first_line
from wetakd.common.redact import redact
from wetakd.storage import local_files
from wetakd.storage.manifest import MANIFEST, BlobRef, Manifest, check_relative_path, manifest_content, parse_manifest

Paths: TypeAlias = list[str]


class DamagedBlob(RuntimeError):
    """A blob is not what its manifest says. Delete the address and build it again."""


class Store:
    """A folder or bucket that keeps everything. Cheap to build; pickles as its URI, so workers build their own.

    Paths are relative to the root, with forward slashes, and can never leave it.
    """

    def __init__(self, uri: str) -> None:
        """`uri`: a plain path, or file://, s3:// (with pyarrow's query options), gs:// and what else pyarrow opens.

        Raises UserError where nothing can open it. Whether it can be written, `check_writable` says.
        """
        self.is_local = "://" not in uri or uri.startswith("file://")
        self.uri = uri if "://" in uri else str(Path(uri).expanduser().absolute())
        self.redacted_uri = redact(self.uri)
        self._fs, self._root = self._open()

    def _open(self) -> tuple[pafs.FileSystem, str]:
        if "\0" in self.uri or self.uri.startswith("mock:"):
            raise UserError(f"storage: {self.redacted_uri!r} cannot be opened; give a folder, s3://... or gs://...")
        if "://" not in self.uri:
            return pafs.LocalFileSystem(use_mmap=True), self.uri
        try:
            fs, root = pafs.FileSystem.from_uri(self.uri)
        except (OSError, ValueError, ImportError) as error:
            reason = redact(first_line(error), self.uri)
            raise UserError(
                f"storage: {self.redacted_uri!r} cannot be opened ({reason}); give a folder, s3://... or gs://..."
            ) from None
        if not root.strip("/"):
            raise UserError(
                f"storage: {self.redacted_uri!r} names no bucket or folder; give one, such as s3://bucket/folder"
            )
        return pafs.LocalFileSystem(use_mmap=True) if self.is_local else fs, root.rstrip("/")

    @property
    def local_path(self) -> Path:
        """The folder of a local storage; raises ValueError for any other."""
        if not self.is_local:
            raise ValueError(f"{self.redacted_uri} is not a local folder")
        return Path(self._root)

    def filesystem_at(self, path: str) -> tuple[pafs.FileSystem, str]:
        """The file system and a path in it, for those who write there themselves and need not see the URI."""
        return self._fs, self._at(path)

    def __reduce__(self) -> tuple[type[Store], tuple[str]]:
        return Store, (self.uri,)

    def __repr__(self) -> str:
        return f"Store({self.redacted_uri!r})"

    def check_writable(self) -> None:
        """Write, read and delete one small file; raises UserError where any of it fails.

        A bucket that does not exist is made where the URI says `allow_bucket_creation=true`.
        """
        probe = f"probe-{uuid.uuid4().hex}"
        try:
            if not self.is_local and "allow_bucket_creation=true" in self.uri:
                self._fs.create_dir(self._root.partition("/")[0])
            self.write(probe, b"wetakd")
            if self.read_file(probe) != b"wetakd":
                raise OSError("what was written does not read back")
            self.delete(probe)
        except OSError as error:
            reason = redact(first_line(error), self.uri)
            raise UserError(
                f"storage: {self.redacted_uri!r} cannot be written ({reason}); give a folder or bucket that exists and "
                "that you may write to"
            ) from None

    def check_readable(self) -> None:
        """Look into the root; raises UserError where that fails. A folder that is not there yet is an empty storage."""
        try:
            self._fs.get_file_info(pafs.FileSelector(self._root, allow_not_found=True))
        except OSError as error:
            reason = redact(first_line(error), self.uri)
            raise UserError(
                f"storage: {self.redacted_uri!r} cannot be read ({reason}); give a folder or bucket that answers and "
                "that you may read"
            ) from None

    # -------------------------------------------------------------------------------------------------- commits

    def commit(
        self,
        address: str,
        blobs: Mapping[str, bytes | pa.Buffer],
        facts: Mapping[str, Any],
        payload: Mapping[str, Any] = MappingProxyType({}),
    ) -> Manifest:
        """Write `blobs` (bare name -> content) and then the manifest; returns the manifest.

        A result that is there and intact stays: another driver committed it first, and may have used it. Where two
        drivers commit at the same moment, the last manifest stays, and the files of both.

        Args:
            facts: what the writer records, as JSON.
            payload: what the key of the result is the hash of, as JSON.
        """
        if (first := self.find(address)) is not None:
            return first
        refs = {}
        for name, content in blobs.items():
            digest = hashlib.sha256(content).hexdigest()
            path = f"{PurePosixPath(name).stem}-{digest[:16]}{PurePosixPath(name).suffix}"
            self.write(f"{address}/{path}", content)
            refs[name] = BlobRef(path, len(content), digest)
        manifest = Manifest(address, refs, to_plain(facts), to_plain(payload))
        self.write(f"{address}/{MANIFEST}", dump_with_digest(manifest_content(manifest)))
        return manifest

    def find(self, address: str) -> Manifest | None:
        """What is committed at `address`; None if absent, torn or tampered with, or a blob is missing or cut."""
        raw = self.read_file(f"{address}/{MANIFEST}")
        manifest = parse_manifest(address, raw) if raw is not None else None
        if manifest is None:
            return None
        refs = list(manifest.blobs.values())
        found = self._fs.get_file_info([self._at(f"{address}/{ref.path}") for ref in refs])
        intact = all(info.size == ref.size for info, ref in zip(found, refs, strict=True))
        return manifest if intact else None

    def find_intact(self, address: str) -> Manifest | None:
        """As `find`, with every blob held against its sha256. What is damaged is deleted, to be built again."""
        manifest = self.find(address)
        if manifest is None:
            return None
        try:
            for blob in manifest.blobs:
                self.read(manifest, blob)
        except DamagedBlob:
            self.delete(address)
            return None
        return manifest

    def read(self, manifest: Manifest, blob: str) -> pa.Buffer:
        """The content of a blob, checked against its sha256; memory-mapped where the storage is local.

        Raises DamagedBlob where the blob is missing or differs from what was committed.
        """
        ref = manifest.blobs[blob]
        content = self._buffer(f"{manifest.address}/{ref.path}")
        if content is None or hashlib.sha256(content).hexdigest() != ref.sha256:
            raise DamagedBlob(f"{manifest.address}: blob {blob!r} is not what was committed")
        return content

    # ---------------------------------------------------------------------------------------------- plain files

    def write(self, path: str, data: bytes | pa.Buffer, *, durable: bool = True) -> None:
        """Write one file. On a local disk it appears whole or not at all, even if this process is killed.

        durable: once this returns, and before the name appears, the content is on the disk: a power failure leaves
            the old file or the new one, never an empty one.
        """
        target = self._at(path)
        if not self.is_local:
            with self._fs.open_output_stream(target) as stream:
                stream.write(data)
            return
        local_files.write_file(target, data, durable=durable)

    def read_file(self, path: str) -> bytes | None:
        """The content of a file, or None where there is none."""
        content = self._buffer(path)
        return None if content is None else content.to_pybytes()

    def _buffer(self, path: str) -> pa.Buffer | None:
        target = self._at(path)
        if self.is_local and not os.path.isfile(target):
            return None  # nor a pipe, which would be waited for
        try:
            with self._fs.open_input_file(target) as stream:
                return stream.read_buffer()
        except FileNotFoundError:
            return None  # even if another process has written it by now
        except OSError:
            # Object stores say "not found" in many ways; anything else is a fault of the storage, not an absence.
            if self._fs.get_file_info(target).is_file:
                raise
            return None

    def list(self, folder: str = "") -> Paths:
        """Paths of all files below `folder`, at any depth, sorted; unfinished local writes are left out."""
        return sorted(path for path, info in self._files(folder) if not info.base_name.endswith(".part"))

    def size(self, path: str = "") -> int:
        """Bytes of a file, or of all files below a folder."""
        info = self._fs.get_file_info(self._at(path) if path else self._root)
        return int(info.size) if info.is_file else sum(info.size for _, info in self._files(path))

    def changed_at(self, path: str) -> float | None:
        """When a file, or the newest file below a folder, was written, by the clock of the storage; None if unknown."""
        info = self._fs.get_file_info(self._at(path))
        found = [info] if info.is_file else [file for _, file in self._files(path)]
        times: list[float] = [file.mtime.timestamp() for file in found if file.mtime is not None]
        return max(times) if times and len(times) == len(found) else None

    def delete(self, path: str) -> None:
        """Delete a file, or a folder with all that is in it, its manifest first; what is absent is all right."""
        if self.is_local:
            local_files.delete_path(Path(self._at(path)), first=MANIFEST)
            return
        is_file = self._fs.get_file_info(self._at(path)).is_file
        files = [path] if is_file else [file for file, _ in self._files(path)]
        for file in sorted(files, key=lambda file: not file.endswith(MANIFEST)):
            with contextlib.suppress(FileNotFoundError):
                self._fs.delete_file(self._at(file))

    def _files(self, folder: str) -> Iterator[tuple[str, pafs.FileInfo]]:
        root = self._at(folder) if folder else self._root
        which = (
            list(local_files.walk_files(root))
            if self.is_local
            else pafs.FileSelector(root, recursive=True, allow_not_found=True)
        )
        found = self._fs.get_file_info(which)
        return ((info.path[len(self._root) :].lstrip("/"), info) for info in found if info.is_file)

    def _at(self, path: str) -> str:
        return f"{self._root}/{check_relative_path(path)}"

    # ------------------------------------------------------------------------------------------- housekeeping

    def addresses(self, folder: str) -> Paths:
        """Folders right below `folder`, such as `networks/<key>`, committed or not, sorted."""
        return sorted(self.address_sizes(folder))

    def address_sizes(self, folder: str) -> dict[str, int]:
        """Bytes of each of the `addresses` of a folder, from one listing."""
        depth = len(check_relative_path(folder).split("/")) + 1
        found: dict[str, int] = {}
        for path, info in self._files(folder):
            parts = path.split("/")
            if len(parts) > depth:
                address = "/".join(parts[:depth])
                found[address] = found.get(address, 0) + info.size
        return found

    def folders(self, folder: str) -> Paths:
        """Folders right below `folder`, sorted, without a look into them: on local storage they may be empty."""
        root = self._at(folder)
        which = local_files.list_folder(root) if self.is_local else pafs.FileSelector(root, allow_not_found=True)
        found = self._fs.get_file_info(which)
        return sorted(f"{folder}/{info.base_name}" for info in found if info.type == pafs.FileType.Directory)

    def unnamed_files(self, address: str, older_than_s: float) -> Paths:
        """Files of `address` that its manifest does not name, left by attempts that died at least so long ago."""
        manifest = self.find(address)
        named = {MANIFEST, *(ref.path for ref in manifest.blobs.values())} if manifest else set()
        before = time.time() - older_than_s
        return sorted(
            path
            for path, info in self._files(address)
            if path.removeprefix(f"{address}/") not in named and (info.mtime is None or info.mtime.timestamp() < before)
        )
