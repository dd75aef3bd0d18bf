from __future__ import annotations

from django.contrib import admin

from tests.third_party.gallery.models import Photo

admin.site.register(Photo)
