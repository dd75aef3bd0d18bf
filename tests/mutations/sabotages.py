"""Small sabotages of the package: each breaks a guarantee, and the tests named beside it must notice."""

from __future__ import annotations

from dataclasses import dataclass

SHORT = "tests/guarantees/test_g_in_short.py"
LATE = "tests/guarantees/test_g_late_workers.py"
PROPERTY = "tests/guarantees/test_g2_property.py::test_g2_no_order_of_statements_removes_the_last_copy"


@dataclass(frozen=True)
class Sabotage:
    id: str
    guarantee: str
    #: A module of the package.
    file: str
    #: Stands there exactly once.
    old: str
    new: str
    #: What pytest is given; one of them must fail.
    tests: tuple[str, ...]
    #: The service without which they are skipped.
    needs: str = ""


SABOTAGES = (
    Sabotage(
        "publish-before-the-row",
        "G1",
        "saving.py",
        """\
                row = catalog.record(self.chain, self._saved(tier, name, content, prepared.size))
                prepared.publish(name, overwrite=False)
""",
        """\
                prepared.publish(name, overwrite=False)
                row = catalog.record(self.chain, self._saved(tier, name, content, prepared.size))
""",
        ("tests/test_first_tier.py::test_g3_content_whose_row_cannot_be_written_is_taken_back",),
    ),
    Sabotage(
        "do-not-look-again",
        "G1",
        "reading.py",
        "if row is not None and _whereabouts(row) == _whereabouts(before):",
        "if before is not None:",
        (f"{SHORT}::test_g1_reader_follows_a_file_that_moves_on",),
    ),
    Sabotage(
        "publish-before-the-commit",
        "G1",
        "saving.py",
        'staged, size = prepared.keep() if replaces else ("", None)',
        'staged, size = "", None',
        ("tests/test_overwriting.py::test_g1_rolled_back_replacement_leaves_the_committed_content",),
    ),
    Sabotage(
        "skip-the-verify",
        "G2",
        "copying.py",
        "    if not (proven and wanted == \"size\"):\n        check(destination,",
        "    if not (proven or wanted == \"size\"):\n        check(destination,",
        (f"{SHORT}::test_g2_copy_counts_once_it_was_verified",),
    ),
    Sabotage(
        "skip-the-verify-before-the-release",
        "G2",
        "reconcile.py",
        "        if not self._verify_those_that_stay(tier):\n            return False\n",
        "",
        (f"{SHORT}::test_g2_source_stays_until_the_copy_is_seen_again",),
    ),
    Sabotage(
        "believe-an-empty-mount",
        "G2",
        "healing.py",
        "if flawed >= FEW and flawed * 100 > looked_at * self.max_share:",
        "if False:",
        ("tests/test_verify.py::TestBrake::test_g2_nothing_is_believed_of_an_empty_mount",),
    ),
    Sabotage(
        "heal-from-what-was-not-read",
        "G2",
        "healing.py",
        "flaw = looker.look(chain[name], suspect.row, content=True)",
        "flaw = None",
        ("tests/test_verify.py::TestRepair::test_g2_it_heals_from_none_that_is_bad_itself",),
    ),
    Sabotage(
        "believe-a-mount-that-is-not-there",
        "G2",
        "looking.py",
        "            self.ask(tier, partial(self._require_place, tier))\n",
        "            pass\n",
        ("tests/test_verify.py::TestTierThatIsDown::test_g2_folder_that_is_not_mounted",),
    ),
    Sabotage(
        "release-the-last-copy",
        "G2",
        "catalog/attempts.py",
        "    if not remaining:\n        raise CustodyError",
        "    if not row.pk:\n        raise CustodyError",
        (f"{SHORT}::test_g2_catalog_lets_no_last_copy_go", PROPERTY),
    ),
    Sabotage(
        "drop-the-lease-guard",
        "G2",
        "catalog/attempts.py",
        "guard = Q(pk=row.pk, lease=row.lease, generation=row.generation)",
        "guard = Q(pk=row.pk, generation=row.generation)",
        (PROPERTY,),
    ),
    Sabotage(
        "drop-the-generation-guard",
        "G6",
        "catalog/attempts.py",
        "guard = Q(pk=row.pk, lease=row.lease, generation=row.generation)",
        "guard = Q(pk=row.pk, lease=row.lease)",
        (f"{SHORT}::test_g6_attempt_that_lost_its_lease_changes_no_row", PROPERTY),
    ),
    Sabotage(
        "delete-before-the-record",
        "G2",
        "reconcile.py",
        """\
                    catalog.record_release(self.row, tier.name, cleared=True)
                    with self.attempt.speaking_of(tier):
                        tier.storage.delete(self.row.name)
""",
        """\
                    with self.attempt.speaking_of(tier):
                        tier.storage.delete(self.row.name)
                    catalog.record_release(self.row, tier.name, cleared=True)
""",
        (f"{LATE}::test_g2_release_of_what_was_just_replaced_deletes_nothing",),
    ),
    Sabotage(
        "forget-deletes-under-way",
        "G2",
        "catalog/attempts.py",
        'return {"lost": with_own(row, -1, timezone.now() + 2 * lease_time())}',
        'return {"lost": row.lost}',
        ("tests/test_lost_attempts.py",),
    ),
    Sabotage(
        "trust-one-folder-under-two-names",
        "G2",
        "copies.py",
        "if disk.is_one_file(tier.storage, released.storage, self.row.name):",
        "if tier is released:",
        ("tests/test_chain.py::test_g2_folders_that_became_one_keep_the_file",),
    ),
    Sabotage(
        "ignore-the-returned-name",
        "G2",
        "copying.py",
        "    if saved == name:\n        return True\n",
        "    if saved:\n        return True\n",
        (
            f"{SHORT}::test_g2_destination_that_lies_costs_nothing",
            "tests/ancestors/test_queued_storage_08.py::test_g_remote_that_returns_another_name_is_no_success",
        ),
    ),
    Sabotage(
        "do-not-count-attempts",
        "G3",
        "catalog/attempts.py",
        'attempts=F("attempts") + 1,',
        'attempts=F("attempts"),',
        (f"{SHORT}::test_g3_file_that_kills_its_workers_ends_as_failed",),
    ),
    Sabotage(
        "forget-what-failed",
        "G3",
        "catalog/attempts.py",
        'changes = {"due_at": timezone.now() + _back_off(row.attempts), **_unsettled(row)}',
        'changes = {"due_at": None, **_unsettled(row)}',
        ("tests/ancestors/test_queued_storage_08.py::test_f3_one_error_in_mid_copy_leaves_one_whole_file",),
    ),
    Sabotage(
        "settle-whatever-happened",
        "G3",
        "reconcile.py",
        "            self._fail(error)\n",
        "            catalog.settle(self.row, None)\n",
        (f"{SHORT}::test_g3_file_that_cannot_move_is_counted_and_says_why",),
    ),
    Sabotage(
        "leave-files-to-dead-workers",
        "G3",
        "catalog/finding.py",
        'return Q(due_at__lte=now) & (Q(lease="") | Q(lease_until__lt=now))',
        'return Q(due_at__lte=now) & Q(lease="")',
        ("tests/ancestors/test_queued_storage_08.py::test_f1_nobody_reads_the_torn_copy_of_a_worker_that_died",),
    ),
    Sabotage(
        "write-in-place",
        "G4",
        "copying.py",
        "    if staging.can_stage(storage):\n        with (",
        "    if not name:\n        with (",
        (f"{SHORT}::test_g4_nothing_is_seen_of_a_copy_under_way",),
    ),
    Sabotage(
        "list-staged-names",
        "G4",
        "reading.py",
        "names.update(name for name in here if not is_staging(name))",
        "names.update(here)",
        (f"{SHORT}::test_g4_content_that_waits_for_its_commit_is_in_no_listing",),
    ),
    Sabotage(
        "do-not-sync",
        "G4",
        "copying.py",
        "durable=destination.syncs_copies",
        "durable=False",
        (f"{SHORT}::test_g4_bytes_are_on_the_disk_before_the_source_goes",),
    ),
    Sabotage(
        "swallow-a-full-disk",
        "G4",
        "disk.py",
        "        _write(path, content, durable=durable)\n",
        "        with suppress(OSError):\n            _write(path, content, durable=durable)\n",
        (f"{SHORT}::test_g4_full_disk_is_told_and_leaves_nothing",),
    ),
    Sabotage(
        "leave-staged-rests",
        "G4",
        "disk.py",
        "            with suppress(FileNotFoundError):\n                os.unlink(path)\n",
        "            pass\n",
        (f"{SHORT}::test_g4_save_that_breaks_off_leaves_nothing",),
    ),
    Sabotage(
        "short-way-past-a-delete",
        "G5",
        "reading.py",
        "None if tier is None or hooks.ChangesReads.alive else",
        "None if tier is None else",
        ("tests/test_reading.py::TestPlainDisk::test_reads_are_short_again_once_a_delete_is_decided",),
    ),
    Sabotage(
        "take-the-known-for-the-truth",
        "G1",
        "reading.py",
        "(answer := self._find_as_known(search)) is not None:\n            return answer\n",
        "(answer := self._find_as_known(search) or search.give_up()):\n            return answer\n",
        ("tests/test_prefetching.py::TestFilesThatTheCatalogDoesNotKnow",),
    ),
    Sabotage(
        "spill-from-the-middle",
        "G4",
        "saving.py",
        "        with uploads.replayable(content) as replayable:\n",
        "        for replayable in [content]:\n",
        (f"{SHORT}::test_g4_spilled_content_is_whole",),
    ),
    Sabotage(
        "spill-past-the-old-content",
        "G6",
        "saving.py",
        "traits.overwrites(tier.storage)) or self._is_new(name)",
        "traits.overwrites(tier.storage)) or bool(name)",
        (f"{SHORT}::test_g6_content_that_replaces_other_does_not_spill",),
    ),
    Sabotage(
        "forget-the-tombstone",
        "G5",
        "catalog/keeping.py",
        '"tiers": [], "stale": writable}',
        '"tiers": [], "stale": []}',
        (f"{SHORT}::test_g5_tier_that_is_down_is_cleared_later",),
    ),
    Sabotage(
        "give-up-deletes",
        "G5",
        "catalog/attempts.py",
        "final = row.is_live and (permanent or row.attempts",
        "final = (permanent or row.attempts",
        (f"{SHORT}::test_g5_tier_that_is_down_is_cleared_later",),
    ),
    Sabotage(
        "bury-before-the-hard-end",
        "G5",
        "reconcile.py",
        "        self.contenders.wait_for_them(self.chain)\n",
        "",
        (f"{LATE}::test_g5_put_of_a_dead_worker_that_lands_after_the_delete",),
    ),
    Sabotage(
        "do-not-undo",
        "G5",
        "reconcile.py",
        "                self.copies.undo(tier)\n",
        "                pass\n",
        (f"{SHORT}::test_g6_newest_save_wins_over_a_late_copy",),
    ),
    Sabotage(
        "release-before-the-hard-end",
        "G6",
        "reconcile.py",
        "        self.contenders.wait_for_them(staying, stale=self.row.stale)\n",
        "",
        (f"{LATE}::test_g6_put_of_a_dead_worker_that_lands_after_the_new_copy",),
    ),
    Sabotage(
        "do-not-look-after-the-hard-end",
        "G6",
        "reconcile.py",
        "        self._distrust_overwritten()\n",
        "",
        (f"{LATE}::test_g6_put_of_a_dead_worker_that_lands_after_the_new_copy",),
    ),
    Sabotage(
        "no-fence-on-staging",
        "G6",
        "contenders.py",
        "lambda staged=staged: copying.fence(tier, self.row.name, staged)",
        "lambda staged=staged: None",
        (f"{LATE}::test_g6_worker_paused_before_its_rename_publishes_nothing",),
    ),
    Sabotage(
        "no-condition-on-s3",
        "G6",
        "conditional.py",
        "        with _only_if(client, seen):\n",
        "        if True:\n",
        ("tests/test_conditional.py::TestSave",),
    ),
    Sabotage(
        "no-condition-on-the-quick-way-to-s3",
        "G6",
        "conditional.py",
        "direct.put(storage, name, upload, dict([_condition(seen)]))",
        "direct.put(storage, name, upload, {})",
        ("tests/test_conditional.py::TestCopy",),
    ),
    Sabotage(
        "record-a-batch-whatever-happened",
        "G6",
        "catalog/batches.py",
        "return {pk: requested for pk, generation, requested in found if generation == generations[pk]}",
        "return {row.pk: row.requested for row in rows}",
        ("tests/test_batch.py",),
    ),
    Sabotage(
        "never-renew",
        "G6",
        "heartbeat.py",
        "            try:\n                self._renew()\n",
        "            try:\n                pass\n",
        (f"{SHORT}::test_g6_long_copy_keeps_its_lease",),
    ),
    Sabotage(
        "dispatch-before-the-commit",
        "G7",
        "dispatch.py",
        "transaction.on_commit(_Hint(row, batch, using, is_put_off=is_put_off), using=using, robust=True)",
        "_Hint(row, batch, using, is_put_off=is_put_off)()",
        (f"{SHORT}::test_g7_work_is_handed_out_after_the_commit",),
    ),
    Sabotage(
        "clear-before-the-commit",
        "G7",
        "committed.py",
        "transaction.on_commit(_Clearing(row, using), using=using, robust=True)",
        "_Clearing(row, using)()",
        (f"{SHORT}::test_g7_rollback_queues_nothing_and_loses_nothing",),
    ),
    Sabotage(
        "hook-on-another-database",
        "G7",
        "dispatch.py",
        "using=using, robust=True)",
        "robust=True)",
        ("tests/test_transactions.py::TestOtherDatabase",),
        needs="postgresql",
    ),
    Sabotage(
        "work-in-anothers-transaction",
        "G2",
        "reconcile.py",
        "    if _would_join_another(pk):\n",
        "    if False:\n",
        ("tests/contrib/test_database_tier.py::test_g2_work_on_anybodys_file_waits",),
    ),
    Sabotage(
        "hint-before-the-tiers-commit",
        "G7",
        "dispatch.py",
        "{chain: hooks.commit_elsewhere(chain) for chain in",
        "{chain: None for chain in",
        ("tests/contrib/test_database_tier.py::test_g7_hint_is_sent_once_both_have_committed",),
    ),
    Sabotage(
        "outage-is-missing",
        "G8",
        "reading.py",
        "            except TierUnavailable as error:\n                self.failures[tier.name] = error.reason\n",
        "            except TierUnavailable:\n                pass\n",
        (f"{SHORT}::test_g8_broken_is_not_absent",),
    ),
    Sabotage(
        "wait-for-a-silent-tier",
        "G8",
        "storage.py",
        "    with bounded.spending(deadline / 3, leaving=deadline / 4) as seconds:\n",
        "    with bounded.spending(deadline * 3) as _, bounded.spending(3) as _:\n        seconds = 3.0\n",
        (f"{SHORT}::test_g8_silent_tier_and_dead_broker_hold_up_nobody",),
    ),
    Sabotage(
        "broken-broker-fails-the-save",
        "G8",
        "dispatch.py",
        "using=using, robust=True)",
        "using=using, robust=False)",
        (f"{SHORT}::test_g8_silent_tier_and_dead_broker_hold_up_nobody",),
    ),
    Sabotage(
        "drop-the-content-type",
        "G9",
        "copying.py",
        "        upload.content_type = content.content_type",
        "        content.content_type",
        (f"{SHORT}::test_g9_content_type_arrives_on_every_tier",),
    ),
    Sabotage(
        "do-not-record-the-content-type",
        "G9",
        "saving.py",
        "            content_type=content_type,\n",
        "",
        (f"{SHORT}::test_g9_content_type_arrives_on_every_tier",),
    ),
    Sabotage(
        "option-in-the-last-error",
        "G10",
        "traits.py",
        'text = " ".join(redact(str(error), secrets).split())',
        'text = " ".join(str(error).split())',
        (f"{SHORT}::test_g10_marker_secret_is_found_nowhere",),
    ),
    Sabotage(
        "backends-words-in-a-span",
        "G10",
        "tracing.py",
        'kind = type(error).__name__',
        'kind = f"{type(error).__name__}: {error}"',
        ("tests/test_tracing.py::test_failed_copy_tells_no_words_of_a_backend",),
    ),
    Sabotage(
        "databases-words-in-the-health-check",
        "G10",
        "contrib/health.py",
        'f"the catalog cannot be read ({type(error).__name__})"',
        'f"the catalog cannot be read ({error})"',
        ("tests/contrib/test_health.py::TestDiscretion",),
    ),
    Sabotage(
        "options-in-the-repr",
        "G10",
        "tier.py",
        'return f"<Tier {self.name!r} of chain {self.chain!r}>"',
        'return f"<Tier {self.name!r} of chain {self.chain!r}: {self._options}>"',
        (f"{SHORT}::test_g10_marker_secret_is_found_nowhere",),
    ),
    Sabotage(
        "whole-file-in-memory",
        "G11",
        "copying.py",
        "_upload(io.BufferedReader(self, CHUNK), size, self.digest_of, content)",
        "_upload(io.BytesIO(self.readall()), size, self.digest_of, content)",
        (f"{SHORT}::test_g11_memory_of_a_move_does_not_grow_with_the_file",),
    ),
    Sabotage(
        "whole-upload-in-memory",
        "G11",
        "disk.py",
        "for chunk in content.chunks())",
        "for chunk in [content.read()])",
        (f"{SHORT}::test_g11_memory_of_a_move_does_not_grow_with_the_file",),
    ),
    Sabotage(
        "rest-of-another-content",
        "G4",
        "serving.py",
        "if now == before:",
        "if now is not None:",
        ("tests/test_stable_urls.py::TestConditions::test_content_replaced_while_opened_has_its_own_etag",),
    ),
)  # fmt: skip
