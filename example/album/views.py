"""Upload pictures, look at them, and see where each of them is."""

from collections.abc import Sequence
from typing import Any

from django.contrib import messages
from django.core.files.uploadedfile import UploadedFile
from django.db import transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views import View
from django.views.decorators.http import require_POST, require_safe
from django.views.generic import DetailView, ListView
from placement.places import put_places

from .forms import ACCEPTED, MAX_BYTES, PhotoForm, UploadForm
from .models import CHAIN, Photo

FILES = ("image", "thumbnail")


class AlbumView(ListView):
    model = Photo
    paginate_by = 60
    template_name = "album/album.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        context = super().get_context_data(**kwargs)
        photos = put_places(context["page_obj"], CHAIN, *FILES)
        return context | {"photos": photos, "summary": summary(photos)}


def summary(photos: Sequence[Photo]) -> dict[str, int]:
    """Count, for the bar above the pictures, from where they are read and what is under way."""
    shown = [photo.places["image"] for photo in photos]
    return {
        "disk": sum(place.tier == "disk" for place in shown),
        "s3": sum(place.tier == "s3" for place in shown),
        "pending": sum(place.state == "pending" for place in shown),
        "failed": sum(place.state == "failed" for place in shown),
    }


class PhotoView(DetailView):
    model = Photo
    template_name = "album/photo.html"

    def get_object(self, queryset: Any = None) -> Photo:
        return put_places([super().get_object(queryset)], CHAIN, *FILES)[0]


class UploadView(View):
    """Take several pictures at once; those that are refused don't keep out the others."""

    def get(self, request: HttpRequest) -> HttpResponse:
        return self.page(request)

    def post(self, request: HttpRequest) -> HttpResponse:
        uploads = request.FILES.getlist("pictures")
        if not uploads:
            return self.page(request, ["No picture was chosen."])
        forms = [PhotoForm(files={"image": upload}) for upload in uploads]
        taken = save_all([form for form in forms if form.is_valid()])
        if taken:
            messages.success(request, f"{taken} picture{'s' if taken > 1 else ''} uploaded.")
        refused = [reason(form, upload) for form, upload in zip(forms, uploads, strict=True) if form.errors]
        return self.page(request, refused) if refused else redirect("album:album")

    def page(self, request: HttpRequest, refused: Sequence[str] = ()) -> HttpResponse:
        context = {
            "form": UploadForm(),
            "refused": refused,
            "max_bytes": MAX_BYTES,
            "accepted": ACCEPTED,
        }
        return render(request, "album/upload.html", context, status=400 if refused else 200)


def save_all(forms: Sequence[PhotoForm]) -> int:
    """Save in one transaction: all pictures or none, and one message to the workers for all of them."""
    with transaction.atomic():
        for form in forms:
            form.save()
    return len(forms)


def reason(form: PhotoForm, upload: UploadedFile) -> str:
    return f"{upload.name}: {' '.join(text for texts in form.errors.values() for text in texts)}"


@require_safe
def places_json(request: HttpRequest) -> JsonResponse:
    """Tell where pictures are: those asked for by ?id=1&id=2, or all."""
    photos = Photo.objects.all()
    if ids := [int(value) for value in request.GET.getlist("id") if value.isdecimal()]:
        photos = photos.filter(pk__in=ids)
    answer = [
        {
            "id": photo.pk,
            "name": photo.image.name,
            "url": photo.image.url,
            **{field: photo.places[field].as_json() for field in FILES},
        }
        for photo in put_places(photos, CHAIN, *FILES)
    ]
    return JsonResponse({"photos": answer}, headers={"Cache-Control": "no-store"})


@require_POST
def transfer(request: HttpRequest, pk: int) -> HttpResponse:
    """Ask for the move again after it has failed."""
    photo = get_object_or_404(Photo, pk=pk)
    for file in (photo.image, photo.thumbnail):
        file.transfer()  # on a settled file this does nothing
    return redirect(photo)


@require_POST
def delete(request: HttpRequest, pk: int) -> HttpResponse:
    photo = get_object_or_404(Photo, pk=pk)
    photo.delete()
    messages.success(request, f"“{photo.title}” deleted.")
    return redirect("album:album")
