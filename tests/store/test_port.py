"""What every store does, run against each of them."""

import asyncio
from dataclasses import replace

import pytest

from duologue.errors import BadRequest, Conflict, LogConflict, Moved, StoreUnavailable
from duologue.messages import DialogueId, DialogueStatus, Epoch, MessageId, Position, Tier, TurnId
from duologue.store.port import AnswerExtended, Owner, Store, TurnClosed, TurnOpened, TurnOutcome
from tests.store.builders import META, START, Writer, message, new_id, queued, state, texts_of

# ── create and claim ────────────────────────────────────────────────────────────────────────────────────────


async def test_a_new_dialogue_is_owned_by_who_made_it_and_has_an_empty_log(store: Store) -> None:
    created = await store.create(new_id(), "n1", META, Position(Epoch("e9"), 0))
    assert created.created
    assert created.head.owner == Owner(1, "n1")
    assert (created.head.log_index, created.head.write_id, created.head.open_turn) == (0, "", None)
    assert created.head.position == Position(Epoch("e9"), 0)
    assert created.head.updated_at == META.created_at
    assert created.head.meta == META


async def test_creating_what_exists_takes_ownership_and_changes_nothing_else(store: Store) -> None:
    writer = await Writer.create(store)
    await writer.say("first")
    again = await store.create(
        writer.dialogue, "other", replace(META, feature="another"), Position(Epoch("x"), 7)
    )
    assert not again.created
    assert again.head.owner == Owner(2, "other")
    assert again.head.meta == META
    assert again.head.log_index == 1
    assert again.head.position == state().position
    with pytest.raises(Moved):
        await writer.say("late")


async def test_claiming_gives_the_next_term_and_what_was_last_written(store: Store) -> None:
    writer = await Writer.create(store)
    write = writer.write(head=state(seq=5, open_turn="t7", preview="A question"), opens=True)
    await writer.append(write)
    head = await store.claim(writer.dialogue, "mine")
    assert head is not None
    assert head.owner == Owner(2, "mine")
    assert head.write_id == write.write_id
    assert (head.position, head.open_turn) == (Position(Epoch("e"), 5), TurnId("t7"))
    assert (head.updated_at, head.preview, head.log_index) == (write.head.updated_at, "A question", 1)


async def test_claiming_what_is_not_there_gives_none(store: Store) -> None:
    assert await store.claim(new_id(), "n") is None


async def test_reading_the_head_does_not_take_ownership(store: Store) -> None:
    writer = await Writer.create(store)
    head = await store.read_head(writer.dialogue)
    assert head == writer.head
    await writer.say("still mine")


async def test_the_head_of_what_is_not_there_is_none(store: Store) -> None:
    assert await store.read_head(new_id()) is None


async def test_of_many_that_create_at_once_one_makes_it_and_one_owns_it(store: Store) -> None:
    dialogue = new_id()
    made = await asyncio.gather(*(store.create(dialogue, f"n{i}", META, START) for i in range(20)))
    assert sum(created.created for created in made) == 1
    assert sorted(created.head.owner.term for created in made) == list(range(1, 21))
    head = await store.read_head(dialogue)
    assert head is not None
    last = max(made, key=lambda created: created.head.owner.term)
    assert head.owner == last.head.owner


# ── append ──────────────────────────────────────────────────────────────────────────────────────────────────


async def test_an_append_returns_the_new_index_and_is_read_back_in_order(store: Store) -> None:
    writer = await Writer.create(store)
    assert await writer.say("one", "two") == 2
    assert await writer.say("three") == 3
    entries = await store.read(writer.dialogue)
    assert [entry.index for entry in entries] == [1, 2, 3]
    assert texts_of([entry.record for entry in entries]) == ["one", "two", "three"]


async def test_every_kind_of_record_comes_back_as_it_was(store: Store) -> None:
    writer = await Writer.create(store)
    records = (
        TurnOpened(TurnId("t1"), (MessageId("m1"),), (message("é\u2028😀\x00"),)),
        AnswerExtended(TurnId("t1"), 1, 0, "Wo", "fast", Tier.BACKUP, "standard"),
        TurnClosed(TurnId("t1"), 1, TurnOutcome.FAILED, None, None, "timeout"),
    )
    await writer.append(writer.write(*records))
    assert tuple(entry.record for entry in await store.read(writer.dialogue)) == records


async def test_a_write_of_thousands_of_records_is_one_write(store: Store) -> None:
    writer = await Writer.create(store)
    texts = [str(i) for i in range(2_500)]
    assert await writer.say(*texts) == 2_500
    found = await store.read(writer.dialogue, limit=5_000)
    assert texts_of([entry.record for entry in found]) == texts


async def test_an_append_sets_the_head(store: Store) -> None:
    writer = await Writer.create(store)
    write = writer.write(head=state(seq=3, open_turn="t1", at=1_700_000_009.5, preview="Hé"))
    await writer.append(write)
    head = await store.read_head(writer.dialogue)
    assert head is not None
    assert (head.position, head.open_turn) == (Position(Epoch("e"), 3), TurnId("t1"))
    assert (head.updated_at, head.preview, head.write_id) == (1_700_000_009.5, "Hé", write.write_id)
    assert head.meta == META


async def test_repeating_the_last_write_returns_its_result_and_writes_nothing(store: Store) -> None:
    writer = await Writer.create(store)
    write = writer.write(queued("once"), message_ids={"c1": MessageId("m1")}, opens=True)
    assert await store.append(write) == 1
    assert await store.append(write) == 1
    assert await store.append(replace(write, head=state(preview="other"))) == 1
    assert await writer.texts() == ["once"]
    head = await store.read_head(writer.dialogue)
    assert head is not None
    assert head.preview == "Hi"


async def test_repeating_an_older_write_is_a_conflict_of_the_log(store: Store) -> None:
    writer = await Writer.create(store)
    old = writer.write(queued("old"))
    await writer.append(old)
    await writer.say("new")
    with pytest.raises(LogConflict) as caught:
        await store.append(old)
    assert caught.value.actual == 2
    assert await writer.texts() == ["old", "new"]


@pytest.mark.parametrize("expected", [0, 2, 9])
async def test_a_write_at_another_index_is_refused_with_the_real_one(store: Store, expected: int) -> None:
    writer = await Writer.create(store)
    await writer.say("one")
    with pytest.raises(LogConflict) as caught:
        await store.append(writer.write(queued("lost"), expected=expected))
    assert caught.value.actual == 1
    assert await writer.texts() == ["one"]


async def test_of_many_writers_at_the_same_index_one_wins(store: Store) -> None:
    writer = await Writer.create(store)
    outcomes = await asyncio.gather(
        *(store.append(writer.write(queued(str(i)))) for i in range(30)), return_exceptions=True
    )
    assert outcomes.count(1) == 1
    assert sum(isinstance(outcome, LogConflict) for outcome in outcomes) == 29
    assert len(await writer.texts()) == 1


@pytest.mark.parametrize(
    ("term", "nonce"),
    [(0, None), (2, None), (99, None), (None, "forged"), (None, ""), (2, "forged")],
    ids=["older term", "newer term", "far term", "other nonce", "no nonce", "both"],
)
async def test_only_the_very_owner_may_write(store: Store, term: int | None, nonce: str | None) -> None:
    writer = await Writer.create(store)
    real = writer.head.owner
    forged = Owner(real.term if term is None else term, real.nonce if nonce is None else nonce)
    with pytest.raises(Moved):
        await store.append(replace(writer.write(queued("forged")), owner=forged))
    assert await writer.texts() == []


async def test_a_zombie_cannot_write_after_a_claim_nor_repeat_its_last_write(store: Store) -> None:
    zombie = await Writer.create(store)
    write = zombie.write(queued("before"))
    await zombie.append(write)
    assert await store.claim(zombie.dialogue, "successor") is not None
    for late in (write, zombie.write(queued("late")), zombie.write(queued("late"), expected=5)):
        with pytest.raises(Moved):
            await store.append(late)
    assert await zombie.texts() == ["before"]


async def test_two_owners_with_the_same_term_are_told_apart_by_nonce(store: Store) -> None:
    """Terms may repeat after a failover of the store."""
    writer = await Writer.create(store)
    head = await store.claim(writer.dialogue, "a")
    assert head is not None
    twin = replace(writer, head=replace(head, owner=Owner(head.owner.term, "b")))
    with pytest.raises(Moved):
        await twin.say("as b")
    await replace(writer, head=head).say("as a")


async def test_appending_to_what_never_was_is_moved(store: Store) -> None:
    writer = await Writer.create(store)
    with pytest.raises(Moved):
        await store.append(replace(writer.write(), dialogue=new_id()))


async def test_a_client_message_id_is_accepted_once(store: Store) -> None:
    writer = await Writer.create(store)
    await writer.append(writer.write(queued("one"), message_ids={"c1": MessageId("m1")}))
    with pytest.raises(Conflict):
        await writer.append(
            writer.write(queued("two"), message_ids={"c2": MessageId("m2"), "c1": MessageId("m3")})
        )
    assert await writer.texts() == ["one"]
    await writer.append(writer.write(queued("two"), message_ids={"c2": MessageId("m2")}))


async def test_the_same_client_message_id_is_free_in_another_dialogue(store: Store) -> None:
    for _ in range(2):
        writer = await Writer.create(store)
        await writer.append(writer.write(message_ids={"c1": MessageId("m1")}))


async def test_what_cannot_be_encoded_is_refused_and_nothing_is_written(store: Store) -> None:
    writer = await Writer.create(store)
    with pytest.raises(BadRequest):
        await writer.say("fine", "a lone surrogate: \ud800")
    assert await writer.texts() == []


async def test_names_that_look_like_protocol_come_back_unharmed(store: Store) -> None:
    writer = await Writer.create(store, DialogueId("a.b_c~d-E.9"))
    write = writer.write(queued("*1\r\n$4\r\nPING\r\n"), message_ids={"c\r\n{x} é": MessageId("m\n1")})
    await writer.append(write)
    assert await writer.texts() == ["*1\r\n$4\r\nPING\r\n"]
    with pytest.raises(Conflict):
        await writer.append(writer.write(message_ids={"c\r\n{x} é": MessageId("m")}))


# ── read ────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_reading_goes_on_after_an_index_and_stops_at_a_limit(store: Store) -> None:
    writer = await Writer.create(store)
    await writer.say(*"abcdef")
    entries = await store.read(writer.dialogue, after=2, limit=3)
    assert [entry.index for entry in entries] == [3, 4, 5]
    assert texts_of([entry.record for entry in entries]) == ["c", "d", "e"]


@pytest.mark.parametrize(("after", "limit"), [(6, 10), (60, 10), (0, 0), (3, -1)])
async def test_reading_where_nothing_is_gives_nothing(store: Store, after: int, limit: int) -> None:
    writer = await Writer.create(store)
    await writer.say(*"abcdef")
    assert len(await store.read(writer.dialogue, after=after, limit=limit)) == 0


async def test_reading_what_is_not_there_gives_nothing(store: Store) -> None:
    assert len(await store.read(new_id())) == 0


# ── delete ──────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_deleted_dialogue_is_gone_from_everywhere(store: Store) -> None:
    writer = await Writer.create(store)
    await writer.open_turn()
    assert await store.delete(writer.dialogue) is True
    assert await store.read_head(writer.dialogue) is None
    assert await store.claim(writer.dialogue, "n") is None
    assert len(await store.read(writer.dialogue)) == 0
    assert writer.dialogue not in await store.open_turns()
    assert (await store.list_dialogues()).rows == []
    assert await store.delete(writer.dialogue) is False


async def test_deleting_what_never_was_says_so(store: Store) -> None:
    assert await store.delete(new_id()) is False


async def test_no_late_write_revives_a_deleted_dialogue(store: Store) -> None:
    writer = await Writer.create(store)
    await writer.open_turn()
    late = writer.write(opens=True, head=state(open_turn="t2"))
    await store.delete(writer.dialogue)
    with pytest.raises(Moved):
        await store.append(late)
    assert await store.read_head(writer.dialogue) is None
    assert (await store.list_dialogues()).rows == []
    assert await store.open_turns() == []


async def test_a_dialogue_created_again_starts_empty_and_goes_on_in_its_term(store: Store) -> None:
    first = await Writer.create(store)
    await first.append(first.write(queued("old life"), message_ids={"c1": MessageId("m1")}))
    await store.claim(first.dialogue, "x")
    await store.delete(first.dialogue)
    second = await Writer.create(store, first.dialogue)
    assert second.head.owner.term == 3
    assert second.head.log_index == 0
    assert await second.texts() == []
    with pytest.raises(Moved):
        await first.say("late")
    await second.append(second.write(queued("new life"), message_ids={"c1": MessageId("m1")}))
    assert await second.texts() == ["new life"]


# ── open turns ──────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_dialogue_with_an_open_turn_is_found_until_it_is_closed(store: Store) -> None:
    idle = await Writer.create(store)
    busy = await Writer.create(store)
    await idle.say("nothing open")
    await busy.open_turn()
    assert await store.open_turns() == [busy.dialogue]
    await busy.append(busy.write(head=state(open_turn="t1")))
    assert await store.open_turns() == [busy.dialogue]
    await busy.close_turn()
    assert await store.open_turns() == []
    await busy.open_turn("t2")
    assert await store.open_turns() == [busy.dialogue]


async def test_a_refused_opening_leaves_no_open_turn(store: Store) -> None:
    writer = await Writer.create(store)
    with pytest.raises(LogConflict):
        await store.append(writer.write(head=state(open_turn="t1"), opens=True, expected=4))
    assert await store.open_turns() == []


# ── lists ───────────────────────────────────────────────────────────────────────────────────────────────────


async def _listed(store: Store, *, limit: int, status: DialogueStatus | None = None) -> list[DialogueId]:
    """All dialogues, page by page, with what every page promises checked on the way."""
    found: list[DialogueId] = []
    before: str | None = None
    while True:
        page = await store.list_dialogues(status=status, before=before, limit=limit)
        assert len(page.rows) <= limit
        found += [row.dialogue for row in page.rows]
        before = page.before
        if before is None:
            return found
        assert len(page.rows) == limit


async def test_a_row_says_what_the_dialogue_is_about(store: Store) -> None:
    writer = await Writer.create(store)
    await writer.append(
        writer.write(head=state(open_turn="t1", at=1_700_000_050.0, preview="Why?"), opens=True)
    )
    (row,) = (await store.list_dialogues()).rows
    assert row.dialogue == writer.dialogue
    assert (row.feature, row.section, row.account) == ("student_dialogue", "real-chem", None)
    assert (row.status, row.updated_at, row.preview) == (DialogueStatus.GENERATING, 1_700_000_050.0, "Why?")


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 50])
async def test_pages_hold_every_dialogue_once_newest_first(store: Store, limit: int) -> None:
    writers = [await Writer.create(store, at=1_700_000_000.0 + i // 3) for i in range(7)]  # with ties
    by_age = sorted(writers, key=lambda writer: (writer.head.updated_at, writer.dialogue), reverse=True)
    assert await _listed(store, limit=limit) == [writer.dialogue for writer in by_age]


async def test_creating_what_exists_leaves_it_at_its_place(store: Store) -> None:
    old, new = [await Writer.create(store, at=1_700_000_000.0 + i) for i in range(2)]
    await store.create(old.dialogue, "n", replace(META, created_at=1_700_000_099.0), START)
    assert await _listed(store, limit=10) == [new.dialogue, old.dialogue]


async def test_opening_and_closing_a_turn_moves_a_dialogue_up(store: Store) -> None:
    a, b, c = [await Writer.create(store, at=1_700_000_000.0 + i) for i in range(3)]
    await a.open_turn(at=1_700_000_010.0)
    assert await _listed(store, limit=10) == [a.dialogue, c.dialogue, b.dialogue]
    await b.open_turn(at=1_700_000_011.0)
    await a.close_turn(at=1_700_000_012.0)
    assert await _listed(store, limit=10) == [a.dialogue, b.dialogue, c.dialogue]


@pytest.mark.parametrize("limit", [1, 2, 50])
async def test_lists_can_be_of_one_status(store: Store, limit: int) -> None:
    writers = [await Writer.create(store, at=1_700_000_000.0 + i) for i in range(6)]
    for writer in writers[::2]:
        await writer.open_turn(at=writer.head.updated_at)
    names = [writer.dialogue for writer in reversed(writers)]
    assert await _listed(store, limit=limit, status=DialogueStatus.GENERATING) == names[1::2]
    assert await _listed(store, limit=limit, status=DialogueStatus.IDLE) == names[::2]


async def test_an_empty_store_lists_nothing(store: Store) -> None:
    page = await store.list_dialogues()
    assert (page.rows, page.before) == ([], None)
    assert (await store.list_dialogues(status=DialogueStatus.GENERATING)).rows == []


@pytest.mark.parametrize("cursor", ["", "x", "12", ":d1", "12:", "1e9:d1", "99999999999999999999:d1", "²:d1"])
async def test_a_cursor_that_is_not_ours_is_a_bad_request(store: Store, cursor: str) -> None:
    with pytest.raises(BadRequest):
        await store.list_dialogues(before=cursor)


# ── opening and closing the store ───────────────────────────────────────────────────────────────────────────


async def test_a_store_that_serves_answers_ping(store: Store) -> None:
    await store.ping()


async def test_a_closed_store_refuses_everything_and_certainly_did_nothing(store: Store) -> None:
    writer = await Writer.create(store)
    await store.close()
    await store.close()
    calls = (
        store.ping(),
        store.create(new_id(), "n", META, START),
        store.claim(writer.dialogue, "n"),
        store.append(writer.write()),
        store.read_head(writer.dialogue),
        store.read(writer.dialogue),
        store.delete(writer.dialogue),
        store.list_dialogues(),
        store.open_turns(),
    )
    for call in calls:
        with pytest.raises(StoreUnavailable) as caught:
            await call
        assert caught.value.applied == "no"


async def test_a_store_opened_again_serves_what_was_kept(store: Store) -> None:
    writer = await Writer.create(store)
    await writer.say("kept")
    await store.close()
    await store.open()
    assert await writer.texts() == ["kept"]
    await writer.say("more")


async def test_calls_that_are_cancelled_leave_the_store_usable(store: Store) -> None:
    writer = await Writer.create(store)
    calls = [asyncio.ensure_future(writer.texts()) for _ in range(20)]
    await asyncio.sleep(0)
    for call in calls[::2]:
        call.cancel()
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert outcomes[1::2] == [[]] * 10
    assert all(isinstance(outcome, asyncio.CancelledError) for outcome in outcomes[::2])
    await writer.say("fine")
