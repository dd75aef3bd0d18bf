"""A film is sought by ranges, at one URL, before, during and after its move."""

from album_site.testing import OnMemory
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import override_settings
from django.urls import reverse
from pictures.film import paint

from queued_storage.testing import assert_nothing_owed, faulty, run_owed_work

from .models import Film

WEBM = b"\x1a\x45\xdf\xa3" + bytes(range(256)) * 40


class Films(OnMemory):
    def setUp(self) -> None:
        super().setUp()
        self.film = self.upload()

    def upload(self, body: bytes = WEBM, name: str = "a-walk.webm", **fields: str) -> Film:
        file = SimpleUploadedFile(name, body, "text/html")  # what a browser claims does not count
        answer = self.client.post(reverse("films:films"), {"file": file, **fields})
        self.assertEqual(answer.status_code, 302)
        return Film.objects.latest("pk")

    def part(self, asked: str) -> tuple[int, str, bytes]:
        answer = self.client.get(self.film.file.url, headers={"Range": asked})
        return answer.status_code, answer.get("Content-Range", ""), b"".join(answer)

    def test_page_has_a_player_at_the_stable_url(self) -> None:
        page = self.client.get(self.film.get_absolute_url())
        self.assertContains(page, f'src="{self.film.file.url}"')
        self.assertEqual(self.film.file.url, f"/files/films/{self.film.file.name}")

    def test_ranges_are_answered_on_each_tier_at_the_same_url(self) -> None:
        url, end = self.film.file.url, len(WEBM)
        for tier in ("disk", "s3"):
            self.assertEqual(self.film.file.tier, tier)
            self.assertEqual(self.part("bytes=0-3"), (206, f"bytes 0-3/{end}", WEBM[:4]))
            self.assertEqual(self.part("bytes=-10"), (206, f"bytes {end - 10}-{end - 1}/{end}", WEBM[-10:]))
            self.assertEqual(self.part("bytes=300-")[2], WEBM[300:])
            self.assertEqual(self.part(f"bytes={end}-")[0], 416)
            self.assertEqual(self.client.head(url)["Accept-Ranges"], "bytes")
            run_owed_work()
        assert_nothing_owed()
        self.assertEqual(self.film.file.url, url)

    def test_type_is_that_of_its_bytes_on_each_tier(self) -> None:
        for _ in range(2):
            self.assertEqual(self.client.head(self.film.file.url)["Content-Type"], "video/webm")
            run_owed_work()

    def test_other_files_are_refused(self) -> None:
        answer = self.client.post(
            reverse("films:films"), {"file": SimpleUploadedFile("a.webm", b"<html>", "video/webm")}
        )
        self.assertContains(answer, "no film that browsers show")

    def test_title_is_made_of_the_name(self) -> None:
        self.assertEqual((self.film.title, self.upload(title="Mine").title), ("A walk", "Mine"))

    @override_settings(QUEUED_STORAGE_RETRY_DELAY=600)  # not due again while the test looks
    def test_while_s3_is_down_the_film_plays_and_the_reason_is_told(self) -> None:
        faulty.bucket("films").go_down()
        run_owed_work()
        self.assertEqual(self.part("bytes=0-3")[0], 206)
        page = self.client.get(reverse("placement:placement"))
        self.assertContains(page, "copy to s3: attempt 2 at")

    def test_delete_takes_the_file_from_every_tier(self) -> None:
        run_owed_work()
        self.client.post(reverse("films:delete", args=[self.film.pk]))
        run_owed_work()
        self.assertEqual(faulty.bucket("films").files, {})

    def test_painted_film_is_taken(self) -> None:
        self.assertEqual(self.upload(paint(seconds=1)).file.size, self.upload(paint(seconds=1)).file.size)
