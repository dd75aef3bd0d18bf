"""The page tells where each file lies and what is owed to it, with and without its script."""

from album_site.testing import OnMemory
from django.core.files.base import ContentFile
from django.test import override_settings
from django.urls import reverse

from queued_storage.storage import tiered_storages
from queued_storage.testing import faulty, run_owed_work

from .places import Place, places

PAGE = "/placement/"


class Placement(OnMemory):
    def setUp(self) -> None:
        super().setUp()
        self.name = tiered_storages["media"].save("originals/a.png", ContentFile(b"123"))

    def shelf(self):
        return self.client.get(PAGE).context["shelves"][0]

    def test_before_and_after_the_move(self) -> None:
        page = self.client.get(PAGE)
        self.assertContains(page, "1 file owed work.")
        self.assertContains(page, "copy to s3: due now")
        self.assertEqual((self.shelf().owed, self.shelf().alone, self.shelf().alone_bytes), (1, 1, 3))
        run_owed_work()
        page = self.client.get(PAGE)
        self.assertContains(page, "Nothing is owed.")
        self.assertEqual((self.shelf().settled, self.shelf().alone), (1, 0))
        self.assertEqual(self.shelf().places[0].tiers, ["s3"])

    @override_settings(QUEUED_STORAGE_RETRIES=0)
    def test_failed_file_is_shown_first_with_its_reason(self) -> None:
        with faulty.bucket("media").failing("save", faulty.full):
            run_owed_work()
        tiered_storages["media"].save("originals/b.png", ContentFile(b"1"))
        page = self.client.get(PAGE)
        self.assertContains(page, "1 file given up; 1 owed.")
        self.assertContains(page, "No space left")
        self.assertEqual([place.state for place in self.shelf().places], ["failed", "pending"])

    def test_reloads_itself_without_a_script(self) -> None:
        self.assertContains(
            self.client.get(PAGE), '<noscript><meta http-equiv="refresh" content="3"></noscript>'
        )

    def test_every_live_part_has_an_id(self) -> None:
        for path in (PAGE, "/", reverse("films:films")):
            text = self.client.get(path).content.decode()
            for part in text.split("data-live>")[:-1]:
                self.assertIn(" id=", part[part.rindex("<") :])

    def test_page_costs_few_queries_however_many_files(self) -> None:
        for number in range(30):
            tiered_storages["media"].save(f"originals/{number}.png", ContentFile(b"1"))
        with self.assertNumQueries(
            7
        ):  # for each chain that has something to show: the counts, and three states at most
            page = self.client.get(PAGE)
        self.assertContains(page, "25 of 31")

    def test_name_that_the_catalog_does_not_know(self) -> None:
        self.assertEqual(places("media", ["never"]), {})
        self.assertEqual((Place().label, Place().owed, Place().tier), ("nowhere · unknown", "nothing", None))
