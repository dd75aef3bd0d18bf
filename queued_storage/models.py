"""The catalog's row: one for each file of a chain."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from django.core.checks import CheckMessage
from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from . import names


@dataclass(frozen=True)
class LostAttempt:
    """An attempt that has lost its file, and whose last call to a tier may not have ended."""

    #: The attempt's fence, by which what it staged is known.
    fence: int
    #: The generation that it may write.
    generation: int
    #: POSIX time after which it cannot write any more.
    until: float

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


class StoredFile(models.Model):
    """What is known of one file, and the durable record of the work that it is owed."""

    class State(models.TextChoices):
        PENDING = "pending", _("pending")
        SETTLED = "settled", _("settled")
        FAILED = "failed", _("failed")
        DELETED = "deleted", _("deleted")

    chain = models.CharField(_("chain"), max_length=64)
    name = models.TextField(_("name"))
    key = models.CharField(_("key"), max_length=64, editable=False, help_text=_("SHA-256 of the name."))
    generation = models.PositiveBigIntegerField(
        _("generation"), default=1, help_text=_("New at every save of a name.")
    )

    size = models.PositiveBigIntegerField(_("size"), null=True, help_text=_("In bytes."))
    digest = models.CharField(
        _("digest"), max_length=64, blank=True, help_text=_("SHA-256, once a copy was made.")
    )
    content_type = models.CharField(_("content type"), max_length=255, blank=True)
    metadata = models.JSONField(_("metadata"), default=dict, blank=True, encoder=DjangoJSONEncoder)
    saved_at = models.DateTimeField(_("saved at"))
    modified_at = models.DateTimeField(_("modified at"), null=True, help_text=_("As the first tier told it."))
    created_at = models.DateTimeField(_("created at"), null=True)
    accessed_at = models.DateTimeField(_("accessed at"), null=True)

    model = models.CharField(
        _("model"), max_length=200, blank=True, help_text=_("Label of the model that saved it.")
    )
    field = models.CharField(_("field"), max_length=200, blank=True)

    policy = models.CharField(_("policy"), max_length=255, blank=True, help_text=_("Empty: the chain's own."))
    requested = models.BooleanField(_("requested"), default=False, help_text=_("Its transfer was asked for."))
    crowded_out = models.BooleanField(
        _("crowded out"),
        default=False,
        help_text=_("It was asked to leave the first tier, to make room there."),
    )
    called_back_at = models.DateTimeField(
        _("called back at"), null=True, help_text=_("When it was last asked to come back to the first tier.")
    )
    tiers = models.JSONField(_("tiers"), default=list, help_text=_("Those that hold a verified copy."))
    stale = models.JSONField(
        _("stale"), default=list, help_text=_("Those that may hold other bytes by this name.")
    )
    staged = models.CharField(
        _("staged"),
        max_length=64,
        blank=True,
        help_text=_(
            "Content of this generation that lies beside its place on the first tier, to be published."
        ),
    )
    copied_at = models.DateTimeField(_("copied at"), null=True)
    # Empty is NULL here: the INSERT of a file of any other chain does not name these columns.
    host = models.CharField(
        _("host"),
        max_length=64,
        null=True,
        help_text=_("Whose own disk the first tier is on which something of the file lies."),
    )
    for_host = models.CharField(
        _("for host"),
        max_length=64,
        null=True,
        help_text=_("The host that alone can do what is due; empty: any can."),
    )

    state = models.CharField(_("state"), max_length=10, choices=State, default=State.PENDING)
    due_at = models.DateTimeField(
        _("due at"), null=True, help_text=_("When there is work to do; empty: none is owed.")
    )
    attempts = models.PositiveIntegerField(_("attempts"), default=0)
    last_error = models.TextField(_("last error"), blank=True)
    lease = models.CharField(
        _("lease"), max_length=32, blank=True, help_text=_("Token of the attempt under way.")
    )
    lease_until = models.DateTimeField(_("lease until"), null=True)
    fence = models.PositiveBigIntegerField(
        _("fence"), default=0, help_text=_("Counts the attempts ever begun.")
    )
    lost = models.JSONField(
        _("lost attempts"),
        default=list,
        blank=True,
        help_text=_(
            "Attempts that lost the file and may still write, each with the time by which it cannot."
        ),
    )

    owes_trash = models.BooleanField(
        _("owes trash"),
        default=False,
        help_text=_("Content that was deleted under this name is yet to be put into the trash."),
    )

    class Meta:
        verbose_name = _("stored file")
        verbose_name_plural = _("stored files")
        permissions = (
            ("retry_storedfile", "Can try failed files again"),
            ("transfer_storedfile", "Can have files transferred now"),
            ("cancel_storedfile", "Can withdraw transfers that were asked for"),
            ("verify_storedfile", "Can have the copies of files verified"),
        )
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["chain", "key"], name="queued_storage_one_row_per_name"),
        ]
        # Of what is settled no index but the key's and the name's holds anything, where the database has partial
        # indexes: what is asked all day costs the same however much is settled, and to settle a file writes less.
        # MariaDB and MySQL index all rows; the conditions are in the queries too, and each index serves without.
        indexes: ClassVar[list[models.Index]] = [
            models.Index(
                fields=["chain", "due_at"], condition=Q(due_at__isnull=False), name="queued_storage_due"
            ),
            models.Index(
                fields=["chain", "state", "due_at", "saved_at"],
                # Spelled as alternatives, of which SQLite sees that each query names one.
                condition=Q(state="pending") | Q(state="failed") | Q(state="deleted"),
                name="queued_storage_unsettled",
            ),
            models.Index(fields=["staged"], condition=Q(staged__gt=""), name="queued_storage_staged"),
        ]

    def __str__(self) -> str:
        return f"{self.chain}:{self.name}"

    @classmethod
    def check(cls, **kwargs: Any) -> list[CheckMessage]:
        # MariaDB and MySQL are told of conditions that they leave out; the indexes are made to serve without.
        return [message for message in super().check(**kwargs) if message.id != "models.W037"]

    @staticmethod
    def key_of(name: str) -> str:
        """Return the fixed-length key of a name: databases differ in how long texts may be, and how they compare."""
        return hashlib.sha256(name.encode()).hexdigest()

    @classmethod
    def named(cls, chain: str, name: str) -> Q:
        return Q(chain=chain, key=cls.key_of(name))

    @property
    def is_live(self) -> bool:
        """Whether readers may see the file; False for the tombstone of a deleted one."""
        return self.state != self.State.DELETED

    @property
    def is_gone(self) -> bool:
        """Whether the file is deleted and no tier has anything of it any more, so that its name is free."""
        return not self.is_live and self.due_at is None and not self.lease

    @property
    def lost_attempts(self) -> list[LostAttempt]:
        return [LostAttempt(**entry) for entry in self.lost]

    def staging_name(self, fence: int) -> str:
        """Return the name by which the attempt of this fence stages the file: who follows it can take that away."""
        token = hashlib.sha256(f"{self.chain}\0{self.key}\0{fence}".encode()).hexdigest()
        return names.staging_name(token[:32])

    def instance(self) -> models.Model | None:
        """Look up the model instance whose field saved this file; None where there is none (any more)."""
        model = self.model_class
        if model is None:
            return None
        manager: models.Manager[Any] = model._base_manager
        return manager.filter(**{self.field: self.name}).first()

    @property
    def model_class(self) -> type[models.Model] | None:
        from django.apps import apps

        try:
            return apps.get_model(self.model) if self.model else None
        except LookupError:
            return None


class StoredChain(models.Model):
    """What is known of a chain: the settings that its files follow, and what its tiers are known by."""

    chain = models.CharField(_("chain"), max_length=64, unique=True)
    identities = models.JSONField(
        _("identities"), default=dict, blank=True, help_text=_("Of each tier, what its identity file says.")
    )
    applied = models.JSONField(
        _("applied"), default=dict, blank=True, help_text=_("The tiers and policies that its files follow.")
    )
    applied_at = models.DateTimeField(_("applied at"), null=True)
    #: How far ``tiers apply`` has come: the settings that it applies, and the key of the last row it has done.
    progress = models.JSONField(_("progress"), default=dict, blank=True)

    class Meta:
        verbose_name = _("stored chain")
        verbose_name_plural = _("stored chains")
        default_permissions = ()

    def __str__(self) -> str:
        return self.chain


class Sample(models.Model):
    """What a chain was owed at a minute, and what was copied since its sample before: of these the admin's plots are.

    The sweep writes one a minute, and removes those that are older than SAMPLES says.
    """

    chain = models.CharField(_("chain"), max_length=64)
    taken_at = models.DateTimeField(_("taken at"), help_text=_("A whole minute."))
    pending = models.PositiveBigIntegerField(_("pending"))
    pending_bytes = models.PositiveBigIntegerField(_("pending bytes"))
    failed = models.PositiveBigIntegerField(_("failed"))
    seconds = models.PositiveBigIntegerField(
        _("seconds"), help_text=_("Since the sample before; 0 for the first.")
    )
    copied = models.PositiveBigIntegerField(_("copied"), help_text=_("Files copied in these seconds."))
    copied_bytes = models.PositiveBigIntegerField(_("copied bytes"))
    newest = models.PositiveBigIntegerField(
        _("newest"), help_text=_("Id of the stored file that was written last.")
    )

    class Meta:
        verbose_name = _("sample")
        verbose_name_plural = _("samples")
        default_permissions = ()
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["chain", "taken_at"], name="queued_storage_one_sample_a_minute"),
        ]

    def __str__(self) -> str:
        return f"{self.chain} at {self.taken_at:%Y-%m-%d %H:%M}"


class Host(models.Model):
    """A host with a disk of its own as a first tier, and its workers' last sign of life."""

    name = models.CharField(_("name"), max_length=64, unique=True)
    seen_at = models.DateTimeField(
        _("seen at"), null=True, help_text=_("When a worker last took something from its queue.")
    )
    asked_at = models.DateTimeField(_("asked at"), null=True, help_text=_("When it was last asked for that."))
    given_up_at = models.DateTimeField(
        _("given up at"), null=True, help_text=_("When somebody said that it is gone for good.")
    )

    class Meta:
        verbose_name = _("host")
        verbose_name_plural = _("hosts")

    def __str__(self) -> str:
        return self.name


class HostClearing(models.Model):
    """What another host deleted or replaced, and this host still has to clear from its own disk."""

    host = models.CharField(_("host"), max_length=64)
    chain = models.CharField(_("chain"), max_length=64)
    key = models.CharField(_("key"), max_length=64, editable=False)
    name = models.TextField(_("name"))
    owed_at = models.DateTimeField(_("owed at"))
    last_error = models.TextField(_("last error"), blank=True)

    class Meta:
        verbose_name = _("clearing")
        verbose_name_plural = _("clearings")
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(
                fields=["host", "chain", "key"], name="queued_storage_one_clearing_per_name"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.host}: {self.chain}:{self.name}"


class TrashedFile(models.Model):
    """A deleted file that can be brought back: what was known of it, and where its content is kept."""

    #: What a restored file has of the deleted one's row.
    FACTS: ClassVar[tuple[str, ...]] = (
        "size", "digest", "content_type", "metadata", "saved_at", "modified_at", "created_at", "accessed_at", "model",
        "field", "policy", "requested",
    )  # fmt: skip

    chain = models.CharField(_("chain"), max_length=64)
    name = models.TextField(_("name"))
    key = models.CharField(_("key"), max_length=64, editable=False, help_text=_("SHA-256 of the name."))
    generation = models.PositiveBigIntegerField(_("generation"), help_text=_("That was deleted."))

    size = models.PositiveBigIntegerField(_("size"), null=True, help_text=_("In bytes."))
    digest = models.CharField(_("digest"), max_length=64, blank=True)
    content_type = models.CharField(_("content type"), max_length=255, blank=True)
    metadata = models.JSONField(_("metadata"), default=dict, blank=True, encoder=DjangoJSONEncoder)
    saved_at = models.DateTimeField(_("saved at"))
    modified_at = models.DateTimeField(_("modified at"), null=True)
    created_at = models.DateTimeField(_("created at"), null=True)
    accessed_at = models.DateTimeField(_("accessed at"), null=True)
    model = models.CharField(_("model"), max_length=200, blank=True)
    field = models.CharField(_("field"), max_length=200, blank=True)
    policy = models.CharField(_("policy"), max_length=255, blank=True)
    requested = models.BooleanField(_("requested"), default=False)

    deleted_at = models.DateTimeField(_("deleted at"))
    until = models.DateTimeField(_("until"), help_text=_("When it is purged."))
    sources = models.JSONField(
        _("sources"), default=list, help_text=_("Tiers that hold it under its own name until it is kept.")
    )
    staged = models.CharField(
        _("staged"),
        max_length=64,
        blank=True,
        help_text=_("Base name by which the first tier holds it instead, if it was never published."),
    )
    tier = models.CharField(
        _("tier"), max_length=64, blank=True, help_text=_("Where it is kept; empty: not yet.")
    )
    token = models.CharField(
        _("token"), max_length=32, blank=True, help_text=_("Part of the name by which it is kept.")
    )

    class Meta:
        verbose_name = _("deleted file")
        verbose_name_plural = _("deleted files")
        default_permissions = ("view",)
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["chain", "key"], name="queued_storage_trash_name"),
            models.Index(fields=["until"], name="queued_storage_trash_until"),
            models.Index(fields=["token"], name="queued_storage_trash_token"),
        ]

    def __str__(self) -> str:
        return f"{self.chain}:{self.name}"

    @property
    def is_kept(self) -> bool:
        """Whether its content lies in the trash; else under its own name still."""
        return bool(self.tier)

    @property
    def kept_as(self) -> str:
        """The name by which its tier holds the content."""
        return names.trash_name(self.name, self.token)

    def token_for(self, fence: int, *, near: bool = False) -> str:
        """Return what the name has in it by which an attempt of this fence keeps the content.

        ``near`` is of who keeps it on the first tier, under the lock of its name's row and with no fence of its own.
        """
        told = f"{self.chain}\0{self.key}\0{self.pk}\0{self.deleted_at.timestamp()}\0{fence}\0{near}"
        return hashlib.sha256(told.encode()).hexdigest()[:32]
