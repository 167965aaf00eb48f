//! Live mail: what comes, as it was opened, and what goes, into the outbox.

use tokio::time::Instant;
use waxwing_crypto::sealing::{Kind, Plaintext, Refusal};
use waxwing_crypto::{ClientMessageId, Name, NodeId, Priority, Timestamp};
use waxwing_protocol::api::{Problem, ProblemCode};

use crate::content::Content;
use crate::draft::Draft;
use crate::mesh::Mesh;
use crate::outbox::write_problem;
use crate::store::OutLane;
use crate::writer::Acceptance;

/// What another node says to somebody who waits at this one.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Live {
    pub(super) from: NodeId,
    pub(super) id: ClientMessageId,
    pub(super) from_app: Option<Name>,
    pub(super) to_app: Option<Name>,
    /// Nobody waits after this, by the broker's clock.
    pub(super) expires: Timestamp,
    pub(super) said: Said,
}

/// What it says.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Said {
    Request { content: Content, progress: bool },
    Progress { of: ClientMessageId, content: Content },
    Reply { of: ClientMessageId, content: Content },
    Refusal { of: ClientMessageId, refusal: Refusal },
    Cancel { of: ClientMessageId },
}

impl Live {
    /// Reads what a node has sealed. None if it is not live, or not what a node of this version sends.
    pub(crate) fn read(from: NodeId, expires: Timestamp, plaintext: &Plaintext) -> Option<Self> {
        let of = plaintext.reply_to.clone();
        let content = || Content {
            content_type: plaintext.content_type.clone(),
            body: plaintext.body.clone(),
            meta: plaintext.meta.clone(),
            reply_to: None,
            thread: None,
        };
        let said = match plaintext.kind {
            Kind::Message | Kind::Read => return None,
            Kind::Request => Said::Request { content: content(), progress: plaintext.wants_read },
            Kind::Progress => Said::Progress { of: of?, content: content() },
            Kind::Reply => Said::Reply { of: of?, content: content() },
            Kind::Refusal => Said::Refusal { of: of?, refusal: Refusal::decode(&plaintext.body).ok()? },
            Kind::Cancel => Said::Cancel { of: of? },
        };
        Some(Self {
            from,
            id: plaintext.id.clone(),
            from_app: plaintext.from_app.clone(),
            to_app: plaintext.to_app.clone(),
            expires,
            said,
        })
    }
}

/// Live mail on its way out.
#[derive(Debug)]
pub(super) struct Letter {
    pub(super) kind: Kind,
    pub(super) to: NodeId,
    /// Its name, of whoever was addressed by it.
    pub(super) to_node: Option<Name>,
    pub(super) to_app: Option<Name>,
    pub(super) from_app: Option<Name>,
    /// Of a request: progress is looked at.
    pub(super) progress: bool,
    pub(super) content: Content,
    /// Nobody waits after this.
    pub(super) deadline: Instant,
}

impl Letter {
    /// Puts it into the outbox under this id. When this returns, it is on the disk.
    pub(super) async fn post(self, mesh: &Mesh, id: ClientMessageId) -> Result<(), Box<Problem>> {
        let draft = Draft {
            kind: self.kind,
            lane: OutLane { priority: Priority::Now, recipient: self.to },
            to_node: self.to_node,
            to_app: self.to_app,
            from_app: self.from_app,
            wants_read: self.progress,
            content: self.content,
            ttl: self.deadline.saturating_duration_since(Instant::now()),
        };
        let row = draft.into_row(&mesh.keys, id, mesh.clock.steady());
        let accepted = mesh.writer.accept(vec![row]).await.map_err(|error| write_problem(&error))?;
        match accepted.into_iter().next() {
            Some(Acceptance::New) => Ok(()),
            Some(Acceptance::Full) => Err(Problem::new(ProblemCode::OutboxFull)
                .detail("too much waits for delivery: see `waxwing node status`")
                .into()),
            // The id is a new one.
            Some(Acceptance::Same(_) | Acceptance::Different(_)) | None => {
                Err(Problem::new(ProblemCode::Internal).into())
            }
        }
    }
}
