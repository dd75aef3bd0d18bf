"""Upload films and watch them. The player gets ``film.file.url``; ranges, and the move, are the package's business."""

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.views.decorators.http import require_POST
from django.views.generic import CreateView, DetailView
from placement.places import put_places

from .forms import ACCEPTED, MAX_BYTES, FilmForm
from .models import CHAIN, Film


class FilmsView(CreateView):
    form_class = FilmForm
    template_name = "films/films.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        films = put_places(Film.objects.all(), CHAIN, "file")
        return super().get_context_data(films=films, max_bytes=MAX_BYTES, accepted=ACCEPTED, **kwargs)


class FilmView(DetailView):
    model = Film
    template_name = "films/film.html"

    def get_object(self, queryset: Any = None) -> Film:
        return put_places([super().get_object(queryset)], CHAIN, "file")[0]


@require_POST
def delete(request: HttpRequest, pk: int) -> HttpResponse:
    film = get_object_or_404(Film, pk=pk)
    film.delete()
    messages.success(request, f"“{film.title}” deleted.")
    return redirect("films:films")
