"""Mail between a node of the product and one that was written from the protocol's text alone, by the product's broker."""

import base64
import json

import pytest
from product import eventually
from relay import flipped, once, relay
from second import sealing
from second.encoding import text_id
from second.keys import Unproven
from second.spaces import appear

LONG = bytes(range(256)) * 1024
BODIES = [b"", "grüße, 世界".encode(), b"\x00\xff\xfe", b"x" * 1_000, LONG]


def shown(alpha, app: str = "*", after: int = 0) -> list[dict]:
    return alpha.run("inbox", "--app", app, "--after", str(after), "--limit", "1000")["items"]


def body_of(item: dict) -> bytes:
    coded = item.get("body_base64")
    return base64.b64decode(coded) if coded is not None else item.get("body", "").encode()


def found(alpha, client_id: str) -> list[dict]:
    return [item for item in shown(alpha) if item["client_message_id"] == client_id]


def state_there(alpha, client_id: str) -> tuple[str, str]:
    """The last state of a message that alpha has sent, and whose word it is."""
    last = alpha.run("trace", client_id)["history"][-1]
    return last["state"], last["by"]


def end_of(node, command) -> dict:
    """What a command prints, while the node answers."""
    node.until(lambda: command.poll() is not None, "the command ends")
    out, errors = command.communicate()
    assert command.returncode == 0, errors
    return json.loads(out)


def test_who_joins_by_a_token_is_a_member_to_everybody(alpha, joined):
    node = joined()
    assert node.log.name == "interop"
    assert list(node.state_keys) == [1], "the invite's box of state keys opens"
    members = alpha.run("members")["members"]
    mine = next(member for member in members if member["node"] == node.name)
    assert (mine["id"], mine["role"]) == (text_id(node.id), "member")
    assert {member["node"] for member in members} >= {m.name for m in node.log.members.values()}


def test_what_is_sealed_here_is_shown_there_and_the_receipt_proves_it(alpha, joined):
    node = joined()
    rows = [node.send("alpha", body, ct="application/octet-stream", to="inner") for body in BODIES]
    node.until(lambda: all(row.state == "delivered" for row in rows), "receipts that verify")
    got = [item for item in shown(alpha, "inner") if item["from"] == node.name]
    assert [body_of(item) for item in got] == BODIES
    assert [item["client_message_id"] for item in got] == [row.content["id"] for row in rows]


def test_every_field_of_the_message_inside_arrives(alpha, joined):
    node = joined()
    meta = {"build": 4711, "who": "ä", "nested": {"a": [True, None]}}
    said = {"from": "ci", "to": "deploy", "th": "release-1", "re": "older", "ct": "text/markdown", "priority": "low"}
    coded = json.dumps(meta, separators=(",", ":"), sort_keys=True, ensure_ascii=False).encode()
    row = node.send("alpha", b"# done", meta=coded, **said)
    node.until(lambda: row.state == "delivered", "it arrives")
    [item] = found(alpha, row.content["id"])
    names = {"from_app": "ci", "app": "deploy", "thread": "release-1", "reply_to": "older", "priority": "low"}
    assert {name: item[name] for name in names} == names
    assert (item["meta"], item["content_type"], item["sent_at"]) == (meta, "text/markdown", row.content["at"])


def test_what_is_sealed_there_is_shown_here_and_its_receipt_is_believed_there(alpha, joined, tmp_path):
    node = joined()
    for number, body in enumerate(BODIES):
        file = tmp_path / "body"
        file.write_bytes(body)
        words = ["send", f"reader@{node.name}", "--file", str(file), "--id", f"{node.name}-{number}", "--app", "writer"]
        words += ["--meta", "n=1", "--thread", "t", "--wait", "delivered"]
        said = end_of(node, alpha.start_command(*words))
        assert (said["state"], said["reached"]) == ("delivered", True)
        assert state_there(alpha, f"{node.name}-{number}") == ("delivered", "recipient")
    assert [item["body"] for item in node.inbox] == BODIES
    assert all((item["from"], item["to"], item["th"]) == ("writer", "reader", "t") for item in node.inbox)
    assert [json.loads(item["meta"]) for item in node.inbox] == [{"n": "1"}] * len(BODIES)


def test_a_lane_keeps_its_order_both_ways_and_the_opening_is_left_out_once_receipted(alpha, joined):
    node = joined()
    first = node.send("alpha", b"0")
    node.until(lambda: first.state == "delivered", "the session is known there")
    assert node.outgoing[first.to].opening is None
    rows = [node.send("alpha", str(number).encode()) for number in range(1, 20)]
    node.until(lambda: all(row.state == "delivered" for row in rows), "all arrive")
    got = [body_of(item) for item in shown(alpha) if item["from"] == node.name]
    assert got == [str(number).encode() for number in range(20)]
    for number in range(10):
        alpha.run("send", node.name, str(number))
    node.until(lambda: len(node.inbox) == 10, "all come")
    assert [item["body"] for item in node.inbox] == [str(number).encode() for number in range(10)]
    assert [item["ctr"] for item in node.inbox] == list(range(1, 11))


@pytest.mark.parametrize("part", ["the box", "the tag", "the nonce", "the session", "the opening", "its signature"])
def test_a_flipped_bit_is_refused_there_by_a_signed_nack_and_sealed_anew_it_arrives(alpha, joined, part):
    node = joined()
    row = node.send("alpha", b"once more", to="unseen", id=f"{node.name}-0")
    node.until(lambda: row.state == "delivered", "a session that works")
    node.outgoing.clear()

    def broken(envelope: bytes) -> bytes:
        fields = sealing.unpack_map(envelope)
        opening = fields["o"]
        changes = {
            "the box": {"b": flipped(fields["b"], 0)},
            "the tag": {"b": flipped(fields["b"])},
            "the nonce": {"n": flipped(fields["n"])},
            "the session": {"s": flipped(fields["s"])},
            "the opening": {"o": opening | {"b": flipped(opening["b"])}},
            "its signature": {"o": opening | {"s": flipped(opening["s"], 0)}},
        }
        return sealing.pack(fields | changes[part])

    row = node.row("alpha", b"with a flipped bit", to="unseen")
    assert node.hand_over(row, broken(node.seal(row))) == "accepted"
    node.until(lambda: row.nacks, "a nack that its recipient has signed")
    reasons = {"the session": "unknown_session", "the opening": "unknown_session", "its signature": "unknown_sender"}
    assert row.nacks == [reasons.get(part, "bad_seal")]
    assert found(alpha, row.content["id"]) == [], "nothing of it is shown"
    assert node.seal_anew(row) == "accepted"
    node.until(lambda: row.state == "delivered", "it arrives")
    assert [body_of(item) for item in found(alpha, row.content["id"])] == [b"with a flipped bit"]


def deliveries(change):
    """A lie about each envelope delivered."""

    def lie(name: str, body: dict) -> dict:
        if name != "deliver" or not any("env" in item for item in body["items"]):
            return body
        changed = [{"env": item["env"] | change(item["env"])} if "env" in item else item for item in body["items"]]
        return body | {"items": changed}

    return once(lie)


def box_of(delivery: dict) -> dict:
    fields = sealing.unpack_map(delivery["env"])
    return {"env": sealing.pack(fields | {"b": flipped(fields["b"], 3)})}


LIES = {
    "a flipped bit": box_of,
    "another priority": lambda delivery: {"pri": 0 if delivery["pri"] else 1},
    "another expiry": lambda delivery: {"exp": delivery["exp"] + 1},
    "no envelope": lambda delivery: {"env": b"\x80"},
    "half an envelope": lambda delivery: {"env": delivery["env"][: len(delivery["env"]) // 2]},
}


@pytest.mark.parametrize("lie", LIES)
def test_what_the_broker_changes_is_refused_here_and_the_product_seals_it_anew(alpha, broker, joined, lie):
    with relay(broker.port, deliveries(LIES[lie])) as by:
        node = joined(by)
        name = f"{node.name}-lie"
        end_of(node, alpha.start_command("send", node.name, "true words", "--id", name, "--wait", "delivered"))
        assert node.refused == ["bad_seal"]
        assert [item["body"] for item in node.inbox] == [b"true words"]
        assert alpha.run("trace", name)["seal"] == 1, "the nack was believed"
        node.disconnect()


def test_a_replay_is_shown_once_there_and_receipted_each_time(alpha, joined):
    node = joined()
    row = node.send("alpha", b"only once")
    node.until(lambda: row.state == "delivered", "it arrives")
    same = node.seal(row)
    assert node.hand_over(row, same) == "duplicate", "the broker knows it"
    for times in (2, 3):
        row.seal += 1
        assert node.hand_over(row, same) == "accepted", "a broker that was told it is sealed anew hands it on"
        node.until(lambda times=times: row.receipts == times, "the same receipt again")
    assert row.state == "delivered"
    assert len(found(alpha, row.content["id"])) == 1


def test_the_same_message_under_another_wire_id_is_shown_once(alpha, joined):
    node = joined()
    row = node.send("alpha", b"under two names", id=f"{node.name}-twice")
    node.until(lambda: row.state == "delivered", "it arrives")
    again = node.row("alpha", b"under two names", id=f"{node.name}-twice")
    again.wire_id = flipped(again.wire_id)
    again.content["ctr"] = row.content["ctr"]
    node.outbox[again.wire_id] = again
    assert node.hand_over(again, node.seal(again)) == "accepted"
    node.until(lambda: again.receipts, "it is receipted")
    assert len(found(alpha, row.content["id"])) == 1


def test_what_comes_again_after_a_lost_settlement_is_shown_once_here(alpha, joined):
    node = joined()
    node.mute = True
    name = f"{node.name}-again"
    alpha.run("send", node.name, "it comes twice", "--id", name, "--wait", "accepted")
    node.until(lambda: node.opened == 1, "it comes")
    node.disconnect()
    assert state_there(alpha, name) == ("accepted", "broker")
    node.mute = False
    node.connect()
    node.until(lambda: node.opened == 2, "it comes again")
    eventually(lambda: state_there(alpha, name) == ("delivered", "recipient"), "the receipt of then is believed")
    assert [item["body"] for item in node.inbox] == [b"it comes twice"]


def test_a_forged_receipt_is_not_believed_there(alpha, joined):
    node = joined()
    node.forge = True
    alpha.run("send", node.name, "not proven", "--id", f"{node.name}-forged", "--wait", "accepted")
    node.until(lambda: node.opened == 1, "it comes")
    node.forge = False
    end_of(node, alpha.start_command("send", node.name, "proven", "--id", f"{node.name}-true", "--wait", "delivered"))
    assert state_there(alpha, f"{node.name}-forged") == ("accepted", "broker")
    assert state_there(alpha, f"{node.name}-true") == ("delivered", "recipient")


def test_a_forged_receipt_or_nack_is_not_believed_here(alpha, broker, joined):
    def lie(name: str, body: dict) -> dict:
        notices = [item for item in body["items"] if "notice" in item] if name == "deliver" else []
        for item in notices:
            kind = item["notice"]["kind"]
            forged = {"delivered": {"receipt": flipped(kind["delivered"]["receipt"])}}
            return body | {"items": [{"notice": item["notice"] | {"kind": forged}}]}
        return body

    with relay(broker.port, once(lie)) as by:
        node = joined(by)
        row = node.send("alpha", b"not proven")
        node.until(lambda: row.receipts == 1, "something that looks like a receipt")
        assert row.state == "accepted"
        other = node.send("alpha", b"proven")
        node.until(lambda: other.state == "delivered", "a receipt that verifies")
        node.disconnect()


def test_a_log_that_the_broker_has_changed_is_refused_here(alpha, broker):
    from second.node import Node

    def lie(name: str, body: dict) -> dict:
        if name != "log":
            return body
        first = body["entries"][0]
        at = first["b"].index(b"interop")
        changed = first["b"][:at] + b"another" + first["b"][at + 7 :]
        return body | {"entries": [first | {"b": changed}, *body["entries"][1:]]}

    with relay(broker.port, lie) as by, pytest.raises((Unproven, Exception), match="genesis|signature"):
        Node.join("py-lied-to", alpha.invite(), by)


def test_an_app_that_asks_is_told_when_it_was_read(alpha, joined):
    node = joined()
    row = node.send("alpha", b"read me", to="reader", rr=True)
    node.until(lambda: row.state == "delivered", "it arrives")
    [item] = found(alpha, row.content["id"])
    alpha.run("ack", str(item["id"]), "--app", "reader")
    node.until(lambda: node.inbox, "a read receipt")
    assert [(said["kind"], said["re"]) for said in node.inbox] == [("read", row.content["id"])]


def test_a_request_is_answered_there(alpha, joined):
    node = joined()
    serving = alpha.start_command("serve", "--name", "words", "--", "wc", "-w")
    try:
        eventually(lambda: any(app["name"] == "words" for app in alpha.run("apps")["apps"]), "somebody serves")
        row = node.send("alpha", b"how many words is this", kind="request", ctr=0, to="words", priority="now")
        node.until(lambda: node.inbox, "an answer")
        [reply] = node.inbox
        assert (reply["kind"], reply["re"], reply["body"].strip()) == ("reply", row.content["id"], b"5")
    finally:
        serving.terminate()
        serving.communicate(timeout=10)


def test_a_request_is_answered_here_by_a_node_that_says_that_it_is_there(alpha, joined):
    node = joined()
    appear(node)
    online = lambda: [peer["node"] for peer in alpha.run("peers")["peers"] if peer["online"]]
    eventually(lambda: node.name in online(), "it is online to others")
    asking = alpha.start_command("request", f"echo@{node.name}", "are you there")
    node.until(lambda: node.inbox, "a question")
    [asked] = node.inbox
    assert (asked["kind"], asked["to"], asked["body"]) == ("request", "echo", b"are you there")
    node.send("alpha", b"I am", kind="reply", re=asked["id"], ctr=0, priority="now")
    assert end_of(node, asking)["body"] == "I am"


def test_mail_goes_on_both_ways_when_the_other_has_new_keys(alpha, joined):
    node = joined()
    before = node.log.member(node.log.named("alpha")).signing
    row = node.send("alpha", b"by the old keys")
    node.until(lambda: row.state == "delivered", "it arrives")
    end_of(node, alpha.start_command("send", node.name, "by the old keys", "--wait", "delivered"))
    end_of(node, alpha.start_command("rotate-keys"))
    node.until(lambda: node.log.member(node.log.named("alpha")).signing != before, "the log says so")
    end_of(node, alpha.start_command("send", node.name, "by the new keys", "--wait", "delivered"))
    row = node.send("alpha", b"by the new keys")
    node.until(lambda: row.state == "delivered", "it arrives")
    assert [(item["body"], item["ctr"]) for item in node.inbox] == [(b"by the old keys", 1), (b"by the new keys", 1)]
