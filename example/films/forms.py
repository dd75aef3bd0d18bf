from pathlib import PurePath

from django import forms
from django.core.files.uploadedfile import UploadedFile
from django.template.defaultfilters import filesizeformat

from .models import Film

MAX_BYTES = 500 * 1024 * 1024
ACCEPTED = "video/mp4,video/webm"


class FilmForm(forms.ModelForm):
    class Meta:
        model = Film
        fields = ["file", "title", "description"]
        labels = {"file": "Film"}
        help_texts = {"title": "Left empty, the file's name is taken."}
        widgets = {
            "file": forms.FileInput(attrs={"accept": ACCEPTED}),
            "description": forms.Textarea(attrs={"rows": 3}),
        }
        error_messages = {"file": {"required": "No film was chosen.", "empty": "This file is empty."}}

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.fields["title"].required = False

    def clean_file(self) -> UploadedFile:
        file: UploadedFile = self.cleaned_data["file"]
        if file.size and file.size > MAX_BYTES:
            raise forms.ValidationError(
                f"{filesizeformat(file.size)} is too large; {filesizeformat(MAX_BYTES)} is the limit."
            )
        kind = content_type(file)
        if kind is None:
            raise forms.ValidationError("This is no film that browsers show; use MP4 or WebM.")
        file.content_type = (
            kind  # what the browser claims does not count; this goes with the file to every tier
        )
        return file

    def clean(self) -> dict:
        data = super().clean()
        if not data.get("title") and (file := data.get("file")):
            data["title"] = PurePath(file.name).stem.replace("-", " ").replace("_", " ").capitalize()[:200]
        return data


def content_type(file: UploadedFile) -> str | None:
    """Look at the first bytes, by which both kinds are known."""
    file.seek(0)
    head = file.read(12)
    file.seek(0)
    if head[4:8] == b"ftyp":
        return "video/mp4"
    return "video/webm" if head[:4] == b"\x1a\x45\xdf\xa3" else None
