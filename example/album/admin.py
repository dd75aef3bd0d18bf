from django.contrib import admin
from django.http import HttpRequest

from .models import Photo


@admin.register(Photo)
class PhotoAdmin(admin.ModelAdmin):
    list_display = ["title", "width", "height", "uploaded_at"]
    date_hierarchy = "uploaded_at"
    search_fields = ["title", "image"]
    readonly_fields = ["image", "width", "height", "uploaded_at"]

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Leave it to the upload page, which makes the thumbnail."""
        return False
