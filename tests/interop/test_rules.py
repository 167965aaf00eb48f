"""What the text forbids a sender, done all the same: each refusal is the one that the text names, signed, and nothing is shown."""

import pytest
from second import sealing
from second.encoding import pack

TOO_LONG = "x" * 256

INSIDE = {
    "an unknown kind": ({"kind": "later"}, "unsupported_version"),
    "no kind": ({"kind": None}, "unsupported_version"),
    "no counter": ({"ctr": 0}, "unsupported_version"),
    "a counter in live mail": ({"kind": "reply", "re": "x"}, "unsupported_version"),
    "a counter below zero": ({"ctr": -1}, "unsupported_version"),
    "an empty id": ({"id": ""}, "unsupported_version"),
    "an id of 129 bytes": ({"id": "x" * 129}, "unsupported_version"),
    "an id with a space": ({"id": "a b"}, "unsupported_version"),
    "an app that is no name": ({"to": "Not A Name"}, "unsupported_version"),
    "a sending app that is no name": ({"from": "-x"}, "unsupported_version"),
    "a receipt secret of 15 bytes": ({"sec": bytes(15)}, "unsupported_version"),
    "metadata that is no JSON": ({"meta": b"{"}, "unsupported_version"),
    "metadata that is no object": ({"meta": b"[1]"}, "unsupported_version"),
    "metadata that is no UTF-8": ({"meta": b'{"a":"\xff"}'}, "unsupported_version"),
    "no content type": ({"ct": ""}, "unsupported_version"),
    "a content type with a line break": ({"ct": "text/plain\n"}, "unsupported_version"),
    "an empty thread": ({"th": ""}, "unsupported_version"),
    "a content type of 256 bytes": ({"ct": TOO_LONG}, "unsupported_version"),
    "a thread of 129 bytes": ({"th": TOO_LONG[:129]}, "unsupported_version"),
    "a range that is reversed": ({"void": [[2, 1]], "ctr": 9}, "unsupported_version"),
    "a range from 0": ({"void": [[0, 1]], "ctr": 9}, "unsupported_version"),
    "a range up to its own counter": ({"void": [[1, 9]], "ctr": 9}, "unsupported_version"),
    "65 ranges": ({"void": [[n, n] for n in range(1, 66)], "ctr": 99}, "unsupported_version"),
    "a body of one byte too many": ({"body": bytes(262_145)}, "too_large"),
    "metadata of one byte too many": ({"meta": b'{"a":"' + b"x" * 16_377 + b'"}'}, "too_large"),
    "a request to nobody": ({"kind": "request", "ctr": 0}, "unsupported_version"),
    "a reply to nothing": ({"kind": "reply", "ctr": 0}, "unsupported_version"),
}


@pytest.mark.parametrize("rule", INSIDE)
def test_what_is_no_message_of_this_version_is_refused_there(alpha, joined, rule):
    node = joined()
    changes, reason = INSIDE[rule]
    row = node.row("alpha", b"it breaks a rule")
    row.content = {name: value for name, value in (row.content | changes).items() if value is not None}
    assert node.hand_over(row, node.seal(row)) == "accepted"
    node.until(lambda: row.nacks or row.receipts, "the other end settles it")
    assert row.nacks == [reason]


@pytest.mark.parametrize("rule", INSIDE)
def test_what_is_no_message_of_this_version_is_refused_here_too(rule):
    changes, reason = INSIDE[rule]
    content = {
        "id": "x",
        "ctr": 1,
        "sec": bytes(16),
        "kind": "message",
        "ct": "text/plain",
        "body": b"",
        "meta": b"",
        "at": 1,
    }
    sealing.read_message(pack(content))
    fields = {name: value for name, value in (content | changes).items() if value is not None}
    with pytest.raises(sealing.Nacked) as nacked:
        sealing.read_message(pack(fields))
    assert nacked.value.reason == reason
