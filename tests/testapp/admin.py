from __future__ import annotations

from django.contrib import admin

from tests.testapp.models import Document, Picture, Plain

admin.site.register([Document, Picture, Plain])
