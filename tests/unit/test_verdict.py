"""What an attempt at Graph means, as a table, for an answer and for farewells."""

from typing import NamedTuple

import pytest

from shared.meta.graph import CallsReply, GraphError, read_reply
from workers.action.verdict import Attempt, Sent, Verdict, is_ambiguous, is_over, is_throttled, judge

AGAIN, SETTLED, HOPELESS = Verdict.AGAIN, Verdict.SETTLED, Verdict.HOPELESS

ANSWERED = b'{"success":true,"session":{"sdp_response":"v=0"}}'
DONE = b'{"success":true}'


def replied(status: int, body: bytes = b"") -> Attempt:
    return Attempt(Sent.REPLIED, status=status, reply=read_reply(body))


def refused(
    code: int | None, *, subcode: int | None = None, transient: bool = False, message: str = "no", status: int = 400
) -> Attempt:
    error = GraphError(message=message, code=code, error_subcode=subcode, is_transient=transient)
    return Attempt(Sent.REPLIED, status=status, reply=CallsReply(error=error))


class Case(NamedTuple):
    what: str
    attempt: Attempt
    accept: Verdict
    probe: Verdict
    farewell: Verdict
    ambiguous: bool = False
    """Whether Meta may have carried out an accept."""


TABLE = (
    Case("an answer", replied(200, ANSWERED), SETTLED, SETTLED, SETTLED),
    Case("success as text", replied(200, ANSWERED.replace(b"true", b'"true"')), SETTLED, SETTLED, SETTLED),
    Case("success without an answer", replied(200, DONE), HOPELESS, HOPELESS, SETTLED, ambiguous=True),
    Case("200 and no JSON", replied(200, b"<html>"), HOPELESS, HOPELESS, HOPELESS, ambiguous=True),
    Case("no connection", Attempt(Sent.NEVER), AGAIN, HOPELESS, AGAIN),
    Case("no reply", Attempt(Sent.MAYBE), AGAIN, HOPELESS, AGAIN, ambiguous=True),
    Case("a gateway's 502", replied(502, b"<html>bad gateway</html>"), AGAIN, HOPELESS, AGAIN, ambiguous=True),
    Case("503 without a body", replied(503), AGAIN, HOPELESS, AGAIN, ambiguous=True),
    Case("408 without an error", replied(408), AGAIN, HOPELESS, AGAIN, ambiguous=True),
    Case("429 without an error", replied(429), AGAIN, HOPELESS, AGAIN, ambiguous=True),
    Case("404 without an error", replied(404), HOPELESS, HOPELESS, HOPELESS, ambiguous=True),
    Case("302 somewhere else", replied(302), HOPELESS, HOPELESS, HOPELESS, ambiguous=True),
    Case("1 unknown", refused(1), AGAIN, HOPELESS, AGAIN),
    Case("2 temporarily down", refused(2, status=500), AGAIN, HOPELESS, AGAIN),
    Case("transient of any code", refused(9999, transient=True), AGAIN, HOPELESS, AGAIN),
    Case("transient without a code", refused(None, transient=True), AGAIN, HOPELESS, AGAIN),
    *(
        Case(f"{code} throttled", refused(code), AGAIN, HOPELESS, AGAIN)
        for code in (4, 17, 32, 341, 613, 80000, 80001, 80006, 80014)
    ),
    Case("613 with its subcode", refused(613, subcode=1893016), AGAIN, HOPELESS, AGAIN),
    *(
        Case(f"{code} for good", refused(code, status=status), HOPELESS, HOPELESS, HOPELESS)
        for code, status in (
            (3, 403),
            (10, 403),
            (100, 400),
            (190, 401),
            (200, 403),
            (368, 400),
            (506, 400),
            (551, 400),
        )
    ),
    Case("an error without a code", refused(None), HOPELESS, HOPELESS, HOPELESS),
    Case("a 500 that says why", refused(100, status=500), HOPELESS, HOPELESS, HOPELESS),
    Case("2018389 not on the list", refused(2018389), HOPELESS, HOPELESS, HOPELESS),
    Case("2018392 bad SDP", refused(100, subcode=2018392), HOPELESS, HOPELESS, HOPELESS),
    *(Case(f"{code} over", refused(code), HOPELESS, HOPELESS, SETTLED) for code in (2018390, 2018395, 2018396)),
    *(
        Case(f"{code} over, as subcode", refused(100, subcode=code), HOPELESS, HOPELESS, SETTLED)
        for code in (2018390, 2018395, 2018396)
    ),
    *(
        Case(phrase, refused(100, message=f"(#100) {phrase}"), HOPELESS, HOPELESS, SETTLED)
        for phrase in (
            "Call already rejected",
            "Call already terminated",
            "Cannot reject a failed or completed call",
            "Cannot terminate a failed or completed call",
        )
    ),
    Case("over and transient", refused(2018396, transient=True), AGAIN, HOPELESS, SETTLED),
)


@pytest.mark.meta("4.2-success")
@pytest.mark.parametrize("case", TABLE, ids=lambda case: case.what)
def test_an_accept(case: Case) -> None:
    assert judge("accept", case.attempt) is case.accept
    assert is_ambiguous("accept", case.attempt) is case.ambiguous


@pytest.mark.parametrize("case", TABLE, ids=lambda case: case.what)
def test_the_one_probe_of_an_accept_is_never_repeated(case: Case) -> None:
    assert judge("accept", case.attempt, probing=True) is case.probe


@pytest.mark.meta("4.4-invalid-id")
@pytest.mark.parametrize("action", ["reject", "terminate"])
@pytest.mark.parametrize("case", TABLE, ids=lambda case: case.what)
def test_a_farewell(case: Case, action: str) -> None:
    assert judge(action, case.attempt) is case.farewell


@pytest.mark.parametrize("case", TABLE, ids=lambda case: case.what)
def test_only_what_graph_says_about_its_limits_is_throttling(case: Case) -> None:
    assert is_throttled(case.attempt) is any(word in case.what for word in ("throttled", "613", "429"))


@pytest.mark.meta("4.4-success")
@pytest.mark.parametrize("said", [False, "false"])
def test_a_farewell_that_graph_did_not_carry_out_is_said_again(said: object) -> None:
    attempt = Attempt(Sent.REPLIED, status=200, reply=CallsReply(success=said))
    assert judge("terminate", attempt) is AGAIN


@pytest.mark.meta("4.4-already")
def test_that_a_call_is_over_may_be_said_in_any_case() -> None:
    assert is_over(GraphError(message="CALL ALREADY TERMINATED"))
    assert not is_over(GraphError(message="Call already accepted"))
