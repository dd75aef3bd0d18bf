"""What an upload must be: a picture, of a format that browsers show, not too large."""

from pathlib import Path
from typing import Any

from django import forms
from django.core.files.uploadedfile import UploadedFile
from django.template.defaultfilters import filesizeformat

from .models import Photo
from .thumbnails import make_thumbnail

MAX_BYTES = 25 * 1024 * 1024
# By Pillow's names. MPO is a JPEG with a second picture inside, as some phones make them.
CONTENT_TYPES = {
    "JPEG": "image/jpeg",
    "MPO": "image/jpeg",
    "PNG": "image/png",
    "WEBP": "image/webp",
    "GIF": "image/gif",
}
ACCEPTED = ",".join(dict.fromkeys(CONTENT_TYPES.values()))


class ManyFilesInput(forms.ClearableFileInput):
    allow_multiple_selected = True


class UploadForm(forms.Form):
    """The field of the page; each file that comes in is checked by a PhotoForm of its own."""

    pictures = forms.FileField(
        widget=ManyFilesInput(attrs={"accept": ACCEPTED, "required": True}),
    )


class PhotoForm(forms.ModelForm):
    class Meta:
        model = Photo
        fields = ["image"]
        error_messages = {
            "image": {
                "invalid_image": "This is not a picture, or it is damaged.",
                "empty": "This file is empty.",
            },
        }

    def clean_image(self) -> UploadedFile:
        image: UploadedFile = self.cleaned_data["image"]
        if image.size and image.size > MAX_BYTES:
            raise forms.ValidationError(
                f"{filesizeformat(image.size)} is too large; {filesizeformat(MAX_BYTES)} is the limit."
            )
        # Django has opened it with Pillow; what the browser claims about its type does not count.
        kind = image.image.format
        if kind not in CONTENT_TYPES:
            raise forms.ValidationError(f"{kind} pictures are not taken; use JPEG, PNG, WebP or GIF.")
        image.content_type = CONTENT_TYPES[kind]
        return image

    def clean(self) -> dict[str, Any]:
        """Make the thumbnail here: it is the first to read the picture to its end, and may find it cut off."""
        data = super().clean()
        if upload := data.get("image"):
            try:
                self.thumbnail = make_thumbnail(upload)
            except (OSError, ValueError, SyntaxError):  # what Pillow's decoders raise
                self.add_error("image", "This picture is damaged; it cannot be read to its end.")
        return data

    def save(self, commit: bool = True) -> Photo:
        """Name the photo after its file."""
        stem = Path(self.cleaned_data["image"].name).stem
        self.instance.title = stem.replace("-", " ").replace("_", " ").strip().capitalize()[:200]
        self.thumbnail.name = f"{stem}.webp"
        self.instance.thumbnail = self.thumbnail
        return super().save(commit)
