//! What a broker can try.

use std::collections::HashMap;

use bytes::Bytes;
use waxwing_crypto::{KeyId, NodeId, Signed, SpaceId, WireId};
use waxwing_protocol::link::{
    Deliver, Delivery, LogGet, MeshNotice, MeshNoticeKind, NoticeKind, Record, ToBroker, ToNode, ToNodeLogin,
    What,
};

use crate::proxy::{Frame, Happened, Proxy, Standing, When};

/// Shows a node nothing of the log behind an entry, for as long as the answer is kept. It should be linked, and know no more.
pub fn withhold_log(proxy: &Proxy, node: NodeId, last: u64) -> Standing {
    proxy.rewrite_all(When::named(node, "log"), move |mut frame| {
        if let Frame::ToNode(ToNode::Log(log)) = &mut frame {
            log.entries.retain(|entry| entry.parse().is_ok_and(|entry| entry.seq <= last));
            log.head = None;
            if log.req.is_none() && log.entries.is_empty() {
                return Vec::new();
            }
        }
        vec![frame]
    })
}

/// Takes the next entry that a node appends for appended, and shows it to nobody.
pub fn swallow_append(proxy: &Proxy, node: NodeId) -> Happened {
    proxy.rewrite_next(When::named(node, "log.append"), |frame| {
        let Frame::ToBroker(ToBroker::LogAppend(append)) = frame else { return vec![frame] };
        // An answer of the right kind, and nothing in it.
        vec![Frame::ToBroker(ToBroker::LogGet(LogGet { req: append.req, after: u64::MAX }))]
    })
}

/// Gives a node the first prekey of each peer that it ever saw in place of the newest, for as long as the answer is kept.
pub fn show_old_prekeys(proxy: &Proxy, node: NodeId) -> Standing {
    let mut first: HashMap<NodeId, Signed> = HashMap::new();
    for captured in proxy.captured().into_iter().filter(|captured| captured.node == Some(node)) {
        let Frame::ToNode(ToNode::Prekeys(shown)) = captured.frame else { continue };
        for peer in shown.prekeys {
            if let Some(prekey) = peer.prekey {
                first.entry(peer.node).or_insert(prekey);
            }
        }
    }
    proxy.rewrite_all(When::named(node, "prekey"), move |mut frame| {
        if let Frame::ToNode(ToNode::Prekeys(shown)) = &mut frame {
            for peer in &mut shown.prekeys {
                peer.prekey = first.get(&peer.node).cloned().or_else(|| peer.prekey.take());
            }
        }
        vec![frame]
    })
}

/// Says that a message has ended, in place of its receipt.
pub fn invent_end(
    proxy: &Proxy,
    sender: NodeId,
    kind: impl Fn(WireId) -> NoticeKind + Send + 'static,
) -> Happened {
    proxy.rewrite_next(When::notice(sender), move |mut frame| {
        for item in items(&mut frame) {
            if let Delivery::Notice(notice) = item {
                notice.kind = kind(notice.id);
            }
        }
        vec![frame]
    })
}

/// Gives a login the number that an earlier one had.
pub fn repeat_login(proxy: &Proxy, node: NodeId, number: u64) -> Happened {
    proxy.rewrite_next(When::named(node, "welcome"), move |mut frame| {
        if let Frame::Login(ToNodeLogin::Welcome(welcome)) = &mut frame {
            welcome.login = Some(number);
        }
        vec![frame]
    })
}

/// Says to a node that a copy of another's state has shown up, beside the next frame of this name.
pub fn invent_copy(proxy: &Proxy, node: NodeId, beside: &'static str, of: NodeId) -> Happened {
    proxy.rewrite_next(When::named(node, beside), move |frame| {
        let kind = MeshNoticeKind::NodeDuplicated { node: of };
        vec![Frame::ToNode(ToNode::MeshNotice(MeshNotice { kind })), frame]
    })
}

/// Turns the envelopes of the next delivery of several around.
pub fn reorder(proxy: &Proxy, node: NodeId) -> Happened {
    proxy.rewrite_next(several(node), |mut frame| {
        let items = items(&mut frame);
        items.reverse();
        let count = items.len() as u64;
        let first = items.iter().map(Delivery::number).min().unwrap_or(0);
        for (n, item) in (first..first + count).zip(items) {
            renumber(item, n);
        }
        vec![frame]
    })
}

/// Swaps the boxes of two messages in the next delivery of several, and leaves what is said beside them.
pub fn swap_boxes(proxy: &Proxy, node: NodeId) -> Happened {
    proxy.rewrite_next(several(node), |mut frame| {
        if let [Delivery::Envelope(first), Delivery::Envelope(second), ..] = items(&mut frame) {
            std::mem::swap(&mut first.env, &mut second.env);
        }
        vec![frame]
    })
}

/// Delivers everything of the next delivery twice.
pub fn repeat(proxy: &Proxy, node: NodeId) -> Happened {
    proxy.rewrite_next(When::envelope(node), |mut frame| {
        if let Frame::ToNode(ToNode::Deliver(deliver)) = &mut frame {
            let count = deliver.items.len() as u64;
            let mut again = deliver.items.clone();
            for item in &mut again {
                renumber(item, item.number() + count);
            }
            deliver.items.extend(again);
        }
        vec![frame]
    })
}

/// Every record of a space that a node has been shown, in the order in which they came.
pub fn shown_records(proxy: &Proxy, node: NodeId) -> Vec<(SpaceId, Record)> {
    let (mut asked, mut shown) = (HashMap::new(), Vec::new());
    for captured in proxy.captured().into_iter().filter(|captured| captured.node == Some(node)) {
        if let Frame::ToBroker(ToBroker::SpaceFollow(follow)) = &captured.frame {
            asked.insert(follow.req, follow.space);
        }
        if let Frame::ToNode(ToNode::SpaceChanges(answer)) = &captured.frame
            && let Some(space) = asked.get(&answer.req)
        {
            shown.extend(records(&captured.frame).map(|record| (*space, record.clone())));
        }
    }
    shown
}

/// Shows a node the bytes of an old record where a newer one of the same key has been put.
pub fn replay_record(proxy: &Proxy, node: NodeId, old: Record) -> Happened {
    show_other(proxy, node, old.key, old.sealed)
}

/// Shows a node other bytes than were written, where the next record under a key has been put.
pub fn show_other(proxy: &Proxy, node: NodeId, key: KeyId, sealed: Bytes) -> Happened {
    let newer = move |frame: &Frame| records(frame).any(|record| record.key == key);
    proxy.rewrite_next(When::matches(node, newer), move |mut frame| {
        if let Frame::ToNode(ToNode::SpaceChanges(answer)) = &mut frame {
            for changed in &mut answer.changes {
                if let What::Record(record) = &mut changed.what
                    && record.key == key
                {
                    record.sealed = sealed.clone();
                }
            }
        }
        vec![frame]
    })
}

/// Shows a node an end of its spaces that is far behind what it knows, and nothing else.
pub fn roll_back_space(proxy: &Proxy, node: NodeId) -> Happened {
    proxy.rewrite_next(When::named(node, "space.changes"), |mut frame| {
        if let Frame::ToNode(ToNode::SpaceChanges(answer)) = &mut frame {
            answer.changes.clear();
            (answer.upto, answer.head) = (1, 1);
        }
        vec![frame]
    })
}

/// Leaves what has changed out of the next answer to a follower.
pub fn drop_changes(proxy: &Proxy, node: NodeId) -> Happened {
    let some = |frame: &Frame| records(frame).next().is_some();
    proxy.rewrite_next(When::matches(node, some), |mut frame| {
        if let Frame::ToNode(ToNode::SpaceChanges(answer)) = &mut frame {
            answer.changes.clear();
        }
        vec![frame]
    })
}

fn records(frame: &Frame) -> impl Iterator<Item = &Record> {
    let changes =
        if let Frame::ToNode(ToNode::SpaceChanges(answer)) = frame { &answer.changes[..] } else { &[] };
    changes.iter().filter_map(|changed| match &changed.what {
        What::Record(record) => Some(record),
        What::Deleted(_) | What::Ended(_) | What::Touched { .. } => None,
    })
}

/// A delivery with more than one envelope in it.
fn several(node: NodeId) -> When {
    When::matches(node, |frame| {
        let Frame::ToNode(ToNode::Deliver(deliver)) = frame else { return false };
        deliver.items.len() > 1 && deliver.items.iter().all(|item| matches!(item, Delivery::Envelope(_)))
    })
}

fn items(frame: &mut Frame) -> &mut [Delivery] {
    if let Frame::ToNode(ToNode::Deliver(Deliver { items, .. })) = frame { items } else { &mut [] }
}

const fn renumber(item: &mut Delivery, n: u64) {
    match item {
        Delivery::Envelope(envelope) => envelope.n = n,
        Delivery::Notice(notice) => notice.n = n,
    }
}
