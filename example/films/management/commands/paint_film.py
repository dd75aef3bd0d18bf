"""A film for those who have none at hand: painted here, frame by frame."""

from typing import Any

from django.core.files.base import ContentFile
from django.core.management.base import BaseCommand
from pictures.film import DESCRIPTION, paint

from films.models import Film


class Command(BaseCommand):
    help = "Paint a film of half a minute, and save it as if it had been uploaded."

    def handle(self, **options: Any) -> None:
        content = ContentFile(paint(), name="nightfall.webm")
        content.content_type = "video/webm"
        film = Film.objects.create(title="Nightfall", description=DESCRIPTION, file=content)
        self.stdout.write(f"{film.file.name}, {film.file.size} bytes: {film.get_absolute_url()}")
