//! What went over the wire, held against what the broker promises by itself.

use std::collections::HashMap;

use waxwing_client::NodeId;
use waxwing_lab::{Captured, Frame};
use waxwing_protocol::link::{Outcome, ToBroker, ToNode};

/// What the broker said of each message of a node, in the order it said so. Messages are numbered from 0 in the order
/// they were first handed over.
pub(crate) fn outcomes(captured: &[Captured], node: NodeId) -> Vec<(usize, Outcome)> {
    let mut numbers = HashMap::new();
    let mut asked = HashMap::new();
    let mut outcomes = Vec::new();
    for frame in captured.iter().filter(|frame| frame.node == Some(node)) {
        if let Frame::ToBroker(ToBroker::Send(send)) = &frame.frame {
            let items = send.items.iter().map(|item| {
                let fresh = numbers.len();
                *numbers.entry(item.id).or_insert(fresh)
            });
            asked.insert(send.req, items.collect::<Vec<_>>());
        }
        if let Frame::ToNode(ToNode::Sent(sent)) = &frame.frame {
            outcomes.extend(asked[&sent.req].iter().copied().zip(sent.outcomes.iter().copied()));
        }
    }
    outcomes
}

/// Messages that were accepted while an earlier one was not.
pub(crate) fn overtaken(outcomes: &[(usize, Outcome)]) -> Vec<usize> {
    let mut done = 0;
    let mut overtaken = Vec::new();
    for (number, outcome) in outcomes {
        if matches!(outcome, Outcome::Accepted { .. } | Outcome::Duplicate { .. }) {
            if *number > done {
                overtaken.push(*number);
            }
            done = done.max(number + 1);
        }
    }
    overtaken
}

/// Messages that were accepted twice, under two of the broker's ids.
pub(crate) fn accepted_twice(outcomes: &[(usize, Outcome)]) -> Vec<usize> {
    let mut ids = HashMap::new();
    let mut twice = Vec::new();
    for (number, outcome) in outcomes {
        if let Outcome::Accepted { message } | Outcome::Duplicate { message, .. } = outcome
            && *ids.entry(*number).or_insert(*message) != *message
        {
            twice.push(*number);
        }
    }
    twice
}
