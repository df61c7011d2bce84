import gc
import weakref

from duologue.errors import Busy
from duologue.runtime import IGNORED, KILLED, NOPROC, NORMAL, SHUTDOWN, ExitReason
from duologue.runtime.exits import safe_text


def _raised(error: BaseException) -> BaseException:
    try:
        raise error
    except BaseException as caught:
        return caught


def test_reasons_are_compared_by_value():
    assert ExitReason("shutdown") == SHUTDOWN
    assert ExitReason.shutdown("drained") == ExitReason("shutdown", "drained")
    assert ExitReason.shutdown("drained") != SHUTDOWN
    assert len({NORMAL, ExitReason("normal"), KILLED}) == 2


def test_the_clean_reasons_are_normal_shutdown_with_or_without_a_term_and_ignored():
    assert all(reason.clean for reason in (NORMAL, SHUTDOWN, ExitReason.shutdown("x"), IGNORED))
    assert not any(
        reason.clean for reason in (KILLED, NOPROC, ExitReason("error", "ValueError"), ExitReason("mine"))
    )


def test_a_reason_made_of_an_exception_keeps_its_type_message_and_places():
    reason = ExitReason.of(_raised(ValueError("quoted text")))
    assert (reason.kind, reason.detail, reason.message) == ("error", "ValueError", "quoted text")
    assert reason.where[-1].endswith("in _raised")
    assert __name__ in reason.where[-1]


def test_what_an_exception_said_is_shown_by_neither_str_nor_repr():
    reason = ExitReason.of(_raised(ValueError("quoted text")))
    assert "quoted" not in f"{reason} {reason!r}"


def test_two_reasons_of_the_same_error_are_equal_wherever_it_was_raised():
    assert ExitReason.of(ValueError("x")) == ExitReason.of(_raised(ValueError("x")))


def test_a_reason_keeps_neither_the_exception_nor_its_frames():
    class Canary:
        pass

    def fail() -> tuple[ExitReason, "weakref.ref[Canary]"]:
        canary = Canary()
        try:
            raise KeyError("x")
        except KeyError as error:
            return ExitReason.of(error), weakref.ref(canary)

    reason, canary = fail()
    gc.collect()
    assert canary() is None
    assert reason.detail == "KeyError"


def test_the_message_of_an_error_is_logged_only_when_its_class_vouches_for_it():
    assert safe_text(ValueError("private")) == "ValueError"
    assert safe_text(Busy("an answer is streaming")) == "Busy: an answer is streaming"


def test_only_the_last_places_of_a_deep_traceback_are_kept():
    def deeper(left: int) -> None:
        if not left:
            raise ValueError
        deeper(left - 1)

    try:
        deeper(50)
    except ValueError as error:
        reason = ExitReason.of(error)
    assert len(reason.where) == 16
