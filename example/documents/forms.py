from datetime import timedelta
from pathlib import PurePath

from django import forms
from django.core.files.uploadedfile import UploadedFile
from django.template.defaultfilters import filesizeformat

from .models import Document

MAX_BYTES = 50 * 1024 * 1024


class DocumentForm(forms.ModelForm):
    """Takes any type: what could act as a page of the site is sent as a download, by the package's view."""

    class Meta:
        model = Document
        fields = ["title", "file"]
        labels = {"file": "File"}
        help_texts = {"title": "Left empty, the file's name is taken."}
        error_messages = {"file": {"required": "No file was chosen.", "empty": "This file is empty."}}

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.fields["title"].required = False

    def clean_file(self) -> UploadedFile:
        file: UploadedFile = self.cleaned_data["file"]
        if file.size and file.size > MAX_BYTES:
            raise forms.ValidationError(
                f"{filesizeformat(file.size)} is too large; {filesizeformat(MAX_BYTES)} is the limit."
            )
        return file

    def clean(self) -> dict:
        data = super().clean()
        if not data.get("title") and (file := data.get("file")):
            data["title"] = PurePath(file.name).stem[:200]
        return data


class LinkForm(forms.Form):
    """For how long a link is to last."""

    LIFETIMES = {
        "ten-minutes": ("Ten minutes", timedelta(minutes=10)),
        "day": ("A day", timedelta(days=1)),
        "week": ("A week", timedelta(weeks=1)),
    }
    lifetime = forms.ChoiceField(
        label="The link lasts", choices=[(name, text) for name, (text, _) in LIFETIMES.items()]
    )

    @property
    def duration(self) -> timedelta:
        return self.LIFETIMES[self.cleaned_data["lifetime"]][1]
