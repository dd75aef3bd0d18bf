"""Storages that conform: Django's own, and S3Storage at a server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.core.files.storage import FileSystemStorage, InMemoryStorage

from queued_storage.testing.conformance import Candidate, ChainConformance, TierConformance

from tests.support.servers import S3Server

#: As rows of the matrix they run with the others: here they show the kit's two ways of naming a storage.
pytestmark = pytest.mark.storages


@pytest.fixture
def disk(tmp_path: Path) -> FileSystemStorage:
    return FileSystemStorage(location=tmp_path / "disk", base_url="/disk/")


class TestFileSystem(TierConformance):
    @pytest.fixture
    def storage(self, disk: FileSystemStorage) -> FileSystemStorage:
        return disk


class TestFileSystemInChain(ChainConformance):
    @pytest.fixture
    def storage(self, disk: FileSystemStorage) -> FileSystemStorage:
        return disk


class TestInMemory(TierConformance):
    def make_storage(self) -> InMemoryStorage:
        return InMemoryStorage()


class TestInMemoryInChain(ChainConformance):
    def make_storage(self) -> InMemoryStorage:
        return InMemoryStorage()


@pytest.fixture
def s3_on_moto(moto_server: S3Server) -> Candidate:
    tier: dict[str, Any] = moto_server.tier(file_overwrite=False)
    bucket = tier["OPTIONS"]["bucket_name"]

    def content_type(name: str) -> str:
        return str(moto_server.client.head_object(Bucket=bucket, Key=name)["ContentType"])

    return Candidate(tier, kind="S3Storage on moto", content_type=content_type)


class TestS3(TierConformance):
    @pytest.fixture
    def storage(self, s3_on_moto: Candidate) -> Candidate:
        return s3_on_moto


class TestS3InChain(ChainConformance):
    @pytest.fixture
    def storage(self, s3_on_moto: Candidate) -> Candidate:
        return s3_on_moto


@pytest.mark.tier_conformance
def test_disk(tmp_path: Path) -> FileSystemStorage:
    return FileSystemStorage(location=tmp_path / "disk", base_url="/disk/")


@pytest.mark.chain_conformance
def test_disk_in_chain(tmp_path: Path) -> FileSystemStorage:
    return FileSystemStorage(location=tmp_path / "disk", base_url="/disk/")
