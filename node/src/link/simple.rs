//! A link on which one thing is asked after the other, and nothing else is done: by who enters a mesh, and by a member
//! that must know the log before mail flows. What comes meanwhile is passed over; deliveries that nobody settles come
//! again on the next link.

use std::time::Duration;

use tokio::time::{sleep, timeout};
use waxwing_crypto::membership::SignedEntry;
use waxwing_protocol::limits;
use waxwing_protocol::link::{Code, ErrorFrame, Log, LogAppend, LogGet, ToBroker, ToNode};

use super::calls::pause;
use super::dial::{self, Connection, DialError};

/// An answer takes no longer than this, or the link is as good as lost.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// Attempts at one request, while the broker wants to be asked later.
const ATTEMPTS: usize = 5;

/// Why there is no answer to a request.
#[derive(Debug)]
pub(crate) enum Unanswered {
    /// The broker refuses.
    Denied(ErrorFrame),
    /// Nothing is known: the link broke.
    Lost(DialError),
}

impl Connection {
    /// The broker's log after a place, all of it.
    pub(crate) async fn log_after(&mut self, place: u64) -> Result<Vec<SignedEntry>, Unanswered> {
        let mut entries: Vec<SignedEntry> = Vec::new();
        let mut bytes = 0;
        loop {
            let after = place + entries.len() as u64;
            let page = self.patiently(|req| ToBroker::LogGet(LogGet { req, after })).await?;
            let head = page.head.map_or(0, |head| head.seq);
            let got = page.entries.len() as u64;
            bytes += page.entries.iter().map(|entry| entry.bytes.len()).sum::<usize>();
            entries.extend(page.entries);
            if bytes > limits::LOG {
                let why = "the broker's log is larger than a log may be".to_owned();
                return Err(Unanswered::Lost(DialError::Incompatible(why)));
            }
            if got == 0 || after + got >= head {
                return Ok(entries);
            }
        }
    }

    /// Appends an entry.
    pub(crate) async fn append(&mut self, entry: &SignedEntry) -> Result<(), Unanswered> {
        let append = |req| ToBroker::LogAppend(LogAppend { req, entry: entry.clone() });
        self.patiently(append).await.map(|_| ())
    }

    /// Asks, again and again while the broker wants to be asked later.
    async fn patiently(&mut self, request: impl Fn(u64) -> ToBroker) -> Result<Log, Unanswered> {
        for req in 1..ATTEMPTS as u64 {
            match self.ask(req, request(req)).await {
                Err(Unanswered::Denied(ErrorFrame { code: Code::RateLimited, after, .. })) => {
                    sleep(pause(after)).await;
                }
                answer => return answer,
            }
        }
        let last = ATTEMPTS as u64;
        self.ask(last, request(last)).await
    }

    async fn ask(&mut self, req: u64, request: ToBroker) -> Result<Log, Unanswered> {
        let late =
            || Unanswered::Lost(DialError::Unreachable("a request was not answered within 30 s".into()));
        timeout(ANSWER_WITHIN, self.answer(req, request)).await.map_err(|_| late())?
    }

    async fn answer(&mut self, req: u64, request: ToBroker) -> Result<Log, Unanswered> {
        dial::send(&mut self.socket, &request).await.map_err(Unanswered::Lost)?;
        loop {
            match dial::receive::<ToNode>(&mut self.socket).await.map_err(Unanswered::Lost)? {
                ToNode::Log(log) if log.req == Some(req) => return Ok(log),
                ToNode::Error(error) => return Err(Unanswered::Denied(error)),
                ToNode::GoAway(goaway) => return Err(Unanswered::Lost(DialError::GoAway(goaway))),
                // A log that is pushed is in the pages asked for too.
                ToNode::Log(_)
                | ToNode::Sent(_)
                | ToNode::Deliver(_)
                | ToNode::Done(_)
                | ToNode::Keys(_)
                | ToNode::QueueShown(_)
                | ToNode::SpaceWritten(_)
                | ToNode::SpaceChanges(_)
                | ToNode::SpaceOffered(_)
                | ToNode::MeshNotice(_)
                | ToNode::Prekeys(_) => {}
            }
        }
    }
}
