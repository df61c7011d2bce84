"""What becomes of a question: the intent to be written, or the error that says why there is none. No I/O."""

from collections.abc import Sequence

from duologue.dialogue.content import check_content, check_encodable
from duologue.dialogue.journal import MessageIntent, OpenTurnIntent, QueueIntent
from duologue.dialogue.requests import Accepted, Ask, Edit
from duologue.dialogue.state import DialogueState
from duologue.dialogue.turn import Turn
from duologue.errors import BadRequest, Busy, Conflict, NotFound, TooMany
from duologue.messages import Message, MessageId, MessageStatus, OnBusy, Role
from duologue.runtime import ReplyTo
from duologue.store.port import MessageQueued, MessageSuperseded, Record, TurnOpened

__all__ = ["ask", "regenerate", "edit", "open_queued"]


def ask(
    state: DialogueState, request: Ask, reply_to: ReplyTo[Accepted], *, now: float
) -> MessageIntent | None:
    """A new message; `None` when it was sent before and is answered (or will be) without another write."""
    check_content(request.content, bytes_max=state.env.limits.message_bytes_max)
    check_encodable(request.client_message_id or "", what="The client_message_id")
    if request.client_message_id is not None and _answer_again(state, request, reply_to):
        return None
    policy = state.policy()
    queueing = state.journal.queueing()
    turn = state.turn or (queueing[-1].turn if queueing else None)
    if turn is not None:
        return _ask_while_busy(state, request, turn, request.on_busy or policy.on_busy, reply_to)
    message = state.new_message(
        request.content, state.new_turn_id(), client_message_id=request.client_message_id
    )
    turn = Turn(message.turn_id, [message.id], service=policy.service, opened_at=now)
    return _opening(turn, message, (), [reply_to])


def _answer_again(state: DialogueState, request: Ask, reply_to: ReplyTo[Accepted]) -> bool:
    """The same message once more: the same answer, or a place among those who wait for it."""
    name = request.client_message_id
    assert name is not None
    under_way = state.journal.asking(name)
    known = under_way.message if under_way is not None else state.history.find_by_client_id(name)
    if known is None:
        return False
    if known.content != request.content:
        raise Conflict("client_message_id was used before for another content.")
    if under_way is not None:
        if state.journal.troubled is not None:
            raise state.journal.troubled
        under_way.repliers.append(reply_to)
        return True
    position = state.history.accepted_at(known.id)
    assert position is not None
    reply_to.reply(Accepted(known.id, known.turn_id, position.epoch, position.seq))
    return True


def _ask_while_busy(
    state: DialogueState, request: Ask, turn: Turn, on_busy: OnBusy, reply_to: ReplyTo[Accepted]
) -> QueueIntent:
    if on_busy is OnBusy.REJECT:
        raise Busy("An answer is being made. Send again when it has ended, or stop it.")
    waiting = sum(len(queued.message_ids) for queued in state.history.queued)
    waiting += len(state.journal.queueing())
    if waiting >= state.env.limits.queued_max:
        raise TooMany(f"{waiting} messages wait for their turn; send again when some are answered.")
    merge = on_busy is OnBusy.MERGE
    turn_id = (state.merge_into if merge else None) or state.new_turn_id()
    if merge:
        state.merge_into = turn_id
    message = state.new_message(request.content, turn_id, client_message_id=request.client_message_id)
    interrupt = on_busy is OnBusy.INTERRUPT
    return QueueIntent(turn, (MessageQueued(message),), message, [reply_to], interrupt)


def regenerate(state: DialogueState, reply_to: ReplyTo[Accepted], *, now: float) -> MessageIntent:
    """The last question, to be answered once more; the answer that was there is superseded."""
    state.must_be_free()
    questions = state.history.last_questions()
    if not questions:
        raise Conflict("There is no message to answer.")
    replaced = state.history.standing_after(questions[-1].id)
    service = state.policy().service
    turn = Turn(state.new_turn_id(), [q.id for q in questions], service=service, opened_at=now)
    return _opening(turn, None, replaced, [reply_to])


def edit(state: DialogueState, request: Edit, reply_to: ReplyTo[Accepted], *, now: float) -> MessageIntent:
    """Another question in the place of an old one; the old one and all that follows it is superseded."""
    check_content(request.content, bytes_max=state.env.limits.message_bytes_max)
    state.must_be_free()
    old = state.history.find(request.message_id)
    if old is None or old.status is MessageStatus.SUPERSEDED:
        raise NotFound("There is no such message.")
    if old.role is not Role.USER:
        raise BadRequest("Only a user's message can be edited; use regenerate for an answer.")
    replaced = [old.id, *state.history.standing_after(old.id)]
    message = state.new_message(request.content, state.new_turn_id())
    turn = Turn(message.turn_id, [message.id], service=state.policy().service, opened_at=now)
    return _opening(turn, message, replaced, [reply_to])


def open_queued(state: DialogueState, *, now: float) -> MessageIntent | None:
    """The next turn of the queue, if the dialogue is free and something waits.

    Not while messages are under way to the queue: one of them may belong to that very turn.
    """
    if state.turn is not None or not state.history.queued or state.journal.queueing():
        return None
    queued = state.history.queued[0]
    if queued.turn_id == state.merge_into:
        state.merge_into = None
    return _opening(Turn(queued.turn_id, queued.message_ids, service="", opened_at=now), None, (), [])


def _opening(
    turn: Turn, message: Message | None, replaced: Sequence[MessageId], repliers: list[ReplyTo[Accepted]]
) -> OpenTurnIntent:
    new = () if message is None else (message,)
    records: tuple[Record, ...] = (
        *map(MessageSuperseded, replaced),
        TurnOpened(turn.turn_id, turn.message_ids, new),
    )
    return OpenTurnIntent(turn, records, message, repliers, tuple(replaced), unasked=not repliers)
