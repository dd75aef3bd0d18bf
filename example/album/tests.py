"""Uploads of pictures, and what the pages and places.json say of them."""

from io import BytesIO

from album_site.testing import OnMemory
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import call_command
from django.urls import reverse
from PIL import Image

from queued_storage.testing import assert_nothing_owed, run_owed_work

from .models import Photo


def picture(name: str = "blue_hour.png", kind: str = "PNG") -> SimpleUploadedFile:
    content = BytesIO()
    Image.new("RGB", (60, 40), "teal").save(content, kind)
    return SimpleUploadedFile(name, content.getvalue(), "image/png")


class Album(OnMemory):
    def upload(self, *files: SimpleUploadedFile):
        return self.client.post(reverse("album:upload"), {"pictures": files})

    def test_pictures_are_taken_and_moved(self) -> None:
        self.assertRedirects(self.upload(picture(), picture("red.png")), reverse("album:album"))
        run_owed_work()
        assert_nothing_owed()
        photo = Photo.objects.get(title="Blue hour")
        self.assertEqual((photo.image.tiers, photo.thumbnail.tiers), (["s3"], ["disk", "s3"]))
        entry = self.client.get(reverse("album:places")).json()["photos"][0]
        self.assertEqual((entry["image"]["label"], entry["thumbnail"]["tier"]), ("s3 · settled", "disk"))

    def test_refused_ones_do_not_keep_out_the_others(self) -> None:
        answer = self.upload(picture(), SimpleUploadedFile("notes.txt", b"no picture"))
        self.assertContains(answer, "notes.txt: This is not a picture", status_code=400)
        self.assertEqual(Photo.objects.count(), 1)

    def test_picture_cut_off_is_refused(self) -> None:
        whole = picture("a.jpg", "JPEG").read()
        answer = self.upload(SimpleUploadedFile("a.jpg", whole[: len(whole) // 2]))
        self.assertEqual((answer.status_code, Photo.objects.count()), (400, 0))

    def test_every_page_answers(self) -> None:
        self.upload(picture())
        photo = Photo.objects.get()
        names = ("album:album", "album:upload", "films:films", "placement:placement", "login", "sign-up")
        for path in (*map(reverse, names), photo.get_absolute_url(), photo.image.url, photo.thumbnail.url):
            self.assertEqual(self.client.get(path).status_code, 200, path)

    def test_album_page_costs_the_same_however_many_pictures(self) -> None:
        self.upload(picture())
        with self.assertNumQueries(4):  # how many, which, and where all of their files are
            self.client.get("/")
        self.upload(*(picture(f"{number}.png") for number in range(5)))
        with self.assertNumQueries(4):
            self.client.get("/")

    def test_deleted_from_every_tier(self) -> None:
        self.upload(picture())
        run_owed_work()
        photo = Photo.objects.get()
        self.client.post(reverse("album:delete", args=[photo.pk]))
        run_owed_work()
        assert_nothing_owed()
        self.assertEqual(self.client.get(f"/files/media/{photo.image.name}").status_code, 404)

    def test_migrations_say_what_the_models_say(self) -> None:
        call_command("makemigrations", check=True, dry_run=True, verbosity=0)

    def test_account_is_made_and_logged_in(self) -> None:
        secret = "a-long-one-of-many"
        data = {"username": "ada", "password1": secret, "password2": secret}
        self.assertRedirects(self.client.post(reverse("sign-up"), data), reverse("documents:documents"))
        self.assertTrue(User.objects.filter(username="ada").exists())
        self.assertContains(self.client.get("/"), "Log out")
