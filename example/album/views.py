"""Upload pictures, look at them, and see where each of them is."""

from collections.abc import Sequence
from typing import Any

from django.contrib import messages
from django.core.files.uploadedfile import UploadedFile
from django.db import transaction
from django.http import FileResponse, Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views import View
from django.views.decorators.http import require_POST, require_safe
from django.views.generic import DetailView, ListView

from queued_storage.exceptions import ChainUnavailable

from .forms import ACCEPTED, MAX_BYTES, PhotoForm, UploadForm
from .models import Photo
from .places import put_places


class AlbumView(ListView):
    model = Photo
    paginate_by = 60
    template_name = "album/album.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        context = super().get_context_data(**kwargs)
        context["photos"] = put_places(context["page_obj"])
        return context


class PhotoView(DetailView):
    model = Photo
    template_name = "album/photo.html"

    def get_object(self, queryset: Any = None) -> Photo:
        return put_places([super().get_object(queryset)])[0]


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
def original(request: HttpRequest, pk: int) -> HttpResponse | FileResponse:
    """Hand out the picture from the tier that has it, also while it moves.

    A file that was opened reads on to its end, even if its tier gives it up meanwhile. A busy site would rather
    redirect to ``photo.image.url`` once the picture is on S3, and let the browser fetch it there.
    """
    photo = get_object_or_404(Photo, pk=pk)
    try:
        file = photo.image.storage.open(photo.image.name)
    except FileNotFoundError as error:
        raise Http404(f"The file of “{photo}” is gone.") from error
    except ChainUnavailable:  # the tier that has it is down; it is not lost
        return HttpResponse("Not to be had just now.", status=503, headers={"Retry-After": "30"})
    return FileResponse(file, filename=photo.image.name)


@require_safe
def at_tier(request: HttpRequest, pk: int) -> HttpResponse:
    """Redirect to the picture's own address at its tier: asked for now, since it changes with a move."""
    return redirect(get_object_or_404(Photo, pk=pk).image.url)


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
            "image": photo.place.as_json(),
            "thumbnail": photo.thumbnail_place.as_json(),
        }
        for photo in put_places(photos)
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
