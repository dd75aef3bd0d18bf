"""Who gets a document, and who does not: ``ALBUM_STACK=embedded python manage.py test`` needs no server at all."""

import mimetypes
from datetime import timedelta

import time_machine
from album_site.testing import OnMemory
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse
from django.utils import timezone

from queued_storage.testing import assert_nothing_owed, assert_owed, run_owed_work

from .forms import MAX_BYTES, DocumentForm
from .models import Document

PDF = b"%PDF-1.7 of Ada"


def content(response) -> bytes:
    return b"".join(response.streaming_content)


class PrivateDocuments(OnMemory):
    @classmethod
    def setUpTestData(cls) -> None:
        cls.ada = User.objects.create_user("ada")
        cls.mallory = User.objects.create_user("mallory")

    def setUp(self) -> None:
        super().setUp()
        self.client.force_login(self.ada)
        self.document = self.upload()

    def upload(self, name: str = "lease.pdf", title: str = "Lease", body: bytes = PDF) -> Document:
        file = SimpleUploadedFile(name, body, mimetypes.guess_type(name)[0])
        answer = self.client.post(reverse("documents:documents"), {"file": file, "title": title})
        self.assertRedirects(answer, reverse("documents:documents"))
        return Document.objects.latest("pk")

    def url(self, name: str) -> str:
        return reverse(f"documents:{name}", args=[self.document.pk])

    def link(self, lifetime: str = "day") -> str:
        answer = self.client.post(self.url("document"), {"lifetime": lifetime})
        return answer.context["link"]

    # ---- its owner ----

    def test_owner_opens_it_before_during_and_after_the_move(self) -> None:
        assert_owed(self.document.file.name, chain="documents", missing=["s3"], surplus=["disk"])
        self.assertEqual(content(self.client.get(self.url("open"), follow=True)), PDF)
        run_owed_work()
        assert_nothing_owed()
        self.assertEqual(self.document.file.tiers, ["s3"])
        self.assertEqual(content(self.client.get(self.url("open"), follow=True)), PDF)

    def test_list_has_own_documents_alone(self) -> None:
        self.assertContains(self.client.get(reverse("documents:documents")), "Lease")
        self.client.force_login(self.mallory)
        self.assertNotContains(self.client.get(reverse("documents:documents")), "Lease")

    def test_title_is_the_name_of_the_file_where_none_was_given(self) -> None:
        self.assertEqual(self.upload("passport.pdf", title="").title, "passport")

    def test_two_of_one_name_are_two_files(self) -> None:
        other = self.upload("lease.pdf", body=b"another")
        self.assertNotEqual(other.file.name, self.document.file.name)
        self.assertEqual(self.document.file.read(), PDF)

    def test_page_without_a_file_is_told(self) -> None:
        answer = self.client.post(reverse("documents:documents"), {"title": "Nothing"})
        self.assertContains(answer, "No file was chosen.")

    def test_too_large_is_refused(self) -> None:
        file = SimpleUploadedFile("huge.bin", b"x")
        file.size = MAX_BYTES + 1
        form = DocumentForm({"title": ""}, {"file": file})
        self.assertIn("is too large", str(form.errors))

    # ---- anybody else ----

    def test_nobody_in_particular_is_asked_to_log_in(self) -> None:
        self.client.logout()
        for name in ("document", "open"):
            self.assertRedirects(self.client.get(self.url(name)), f"{reverse('login')}?next={self.url(name)}")
        self.assertEqual(self.client.post(self.url("delete")).status_code, 302)
        self.assertTrue(Document.objects.filter(pk=self.document.pk).exists())

    def test_to_another_user_it_does_not_exist(self) -> None:
        self.client.force_login(self.mallory)
        for name in ("document", "open"):
            self.assertEqual(self.client.get(self.url(name)).status_code, 404)
        for name in ("document", "delete"):
            self.assertEqual(self.client.post(self.url(name), {"lifetime": "week"}).status_code, 404)
        self.assertTrue(Document.objects.filter(pk=self.document.pk).exists())

    def test_placement_page_names_it_to_its_owner_alone(self) -> None:
        page = reverse("placement:placement")
        self.assertContains(self.client.get(page), self.document.file.name)
        self.client.force_login(self.mallory)
        self.assertNotContains(self.client.get(page), self.document.file.name)
        self.client.logout()
        self.assertNotContains(self.client.get(page), self.document.file.name)

    # ---- links ----

    def test_link_opens_it_to_anybody_wherever_it_lies(self) -> None:
        link = self.link()
        self.client.logout()
        self.assertEqual(content(self.client.get(link)), PDF)
        run_owed_work()
        answer = self.client.get(link)
        self.assertEqual(content(answer), PDF)
        self.assertIn("private", answer["Cache-Control"])

    def test_without_a_signature_it_stays_shut(self) -> None:
        path, _, _ = self.link().partition("?")
        self.assertEqual(self.client.get(path).status_code, 403)  # to the owner, too: the page makes a link

    def test_tampered_link_is_refused(self) -> None:
        link = self.link()
        path, _, signature = link.partition("?signature=")
        other = self.upload("other.pdf")
        self.client.logout()
        longer = signature.replace("86400", "8640000", 1)
        for url in (
            f"{path}?signature={signature[:-1]}{'A' if signature[-1] != 'A' else 'B'}",
            f"{path}?signature={longer}",
            f"{path}?signature=",
            link.replace(self.document.filename, other.filename),
        ):
            self.assertEqual(self.client.get(url).status_code, 403, url)

    def test_link_ends(self) -> None:
        with time_machine.travel(timezone.now(), tick=False) as clock:
            link = self.link("ten-minutes")
            self.client.logout()
            clock.shift(timedelta(minutes=9, seconds=59))
            self.assertEqual(self.client.get(link).status_code, 200)
            clock.shift(timedelta(seconds=2))
            self.assertEqual(self.client.get(link).status_code, 410)

    def test_owners_own_link_lasts_a_minute(self) -> None:
        with time_machine.travel(timezone.now(), tick=False) as clock:
            link = self.client.get(self.url("open"))["Location"]
            clock.shift(timedelta(minutes=1, seconds=2))
            self.assertEqual(self.client.get(link).status_code, 410)
            self.assertEqual(content(self.client.get(self.url("open"), follow=True)), PDF)

    def test_link_for_ever_cannot_be_had(self) -> None:
        answer = self.client.post(self.url("document"), {"lifetime": "for-ever"})
        self.assertEqual(answer.status_code, 400)
        self.assertNotIn("link", answer.context)

    def test_delete_ends_every_link(self) -> None:
        link, name = self.link(), self.document.file.name
        run_owed_work()
        self.client.post(self.url("delete"))
        run_owed_work()
        self.assertEqual(self.client.get(link).status_code, 404)
        self.assertFalse(self.document.file.storage.exists(name))

    def test_html_is_for_saving_not_for_showing(self) -> None:
        self.document = self.upload("page.html", body=b"<script>alert(1)</script>")
        answer = self.client.get(self.url("open"), follow=True)
        self.assertTrue(answer["Content-Disposition"].startswith("attachment"))
        self.assertIn("sandbox", answer["Content-Security-Policy"])
