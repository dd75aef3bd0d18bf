"""A bucket on an S3 server of one's own; Amazon's are made elsewhere, and have their rules."""

from typing import Any

from botocore.exceptions import ClientError
from django.conf import settings
from django.core.management.base import BaseCommand
from storages.backends.s3 import S3Storage


class Command(BaseCommand):
    help = "Make the bucket of the settings, unless it is there."

    def handle(self, **options: Any) -> None:
        storage = S3Storage(**settings.QUEUED_STORAGE_TIERS["media"]["TIERS"]["s3"]["OPTIONS"])
        client = storage.connection.meta.client
        try:
            client.head_bucket(Bucket=storage.bucket_name)
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] != 404:
                raise
            client.create_bucket(Bucket=storage.bucket_name)
            self.stdout.write(f"made {storage.bucket_name}")
