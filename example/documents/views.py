"""Private documents: their owner alone lists, opens and shares them. To anybody else they do not exist.

Nothing here reads a file. Whoever may open it is sent to a signed URL of ``queued_storage.urls``, which hands it out
from whichever tier has it: but not without a signature, with one that was tampered with, or with one that has expired.
"""

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.contrib.auth.mixins import LoginRequiredMixin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe
from django.views.generic import CreateView, DetailView
from placement.places import put_places

from .forms import MAX_BYTES, DocumentForm, LinkForm
from .models import CHAIN, Document


class OwnDocuments(LoginRequiredMixin):
    """Only ever looks among the visitor's own: somebody else's answers 404, as one that never was."""

    def get_queryset(self) -> QuerySet[Document]:
        return Document.objects.filter(owner=self.request.user)


class DocumentsView(OwnDocuments, CreateView):
    form_class = DocumentForm
    template_name = "documents/documents.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        documents = put_places(self.get_queryset(), CHAIN, "file")
        return super().get_context_data(documents=documents, max_bytes=MAX_BYTES, **kwargs)

    def form_valid(self, form: DocumentForm) -> HttpResponse:
        form.instance.owner = self.request.user
        form.save()
        messages.success(self.request, f"“{form.instance.title}” uploaded.")
        return redirect("documents:documents")


class DocumentView(OwnDocuments, DetailView):
    """One document; a POST makes a link to share."""

    template_name = "documents/document.html"

    def get_object(self, queryset: Any = None) -> Document:
        return put_places([super().get_object(queryset)], CHAIN, "file")[0]

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return {"form": LinkForm(), **super().get_context_data(**kwargs)}

    def post(self, request: HttpRequest, pk: int) -> HttpResponse:
        self.object = self.get_object()
        form = LinkForm(request.POST)
        context = self.get_context_data(form=form)
        if form.is_valid():
            context["link"] = request.build_absolute_uri(self.object.link(form.duration))
            context["expires_at"] = timezone.now() + form.duration
        return self.render_to_response(context, status=200 if form.is_valid() else 400)


@never_cache
@require_safe
@login_required
def open_document(request: HttpRequest, pk: int) -> HttpResponse:
    """Send the owner to the file, by a link that lasts a minute (LINK_LIFETIME): made when it is asked for."""
    return redirect(get_object_or_404(Document, pk=pk, owner=request.user).link())


@require_POST
@login_required
def delete(request: HttpRequest, pk: int) -> HttpResponse:
    document = get_object_or_404(Document, pk=pk, owner=request.user)
    document.delete()
    messages.success(request, f"“{document.title}” deleted, and every link to it with it.")
    return redirect("documents:documents")
