//! The hot paths that need no database: what is done for each message between its app and the wire, by the public interface of the
//! crates that do it.

use std::hint::black_box;
use std::time::Duration;

use anyhow::{Result, ensure};
use bytes::Bytes;
use getrandom::SysRng;
use getrandom::rand_core::UnwrapErr;
use waxwing_crypto::membership::LogHead;
use waxwing_crypto::sealing::{
    Envelope, Header, Kind, Opening, Parties, Plaintext, Prekey, ReceiptSecret, ReceivingSession,
    SendingSession,
};
use waxwing_crypto::storage::StorageKey;
use waxwing_crypto::{Digest, Fingerprint, MeshId, Priority, SigningKey, Timestamp, WireId};
use waxwing_protocol::link::{self, Deliver, Delivery, Frame, Send, SendItem, ToBroker, ToNode};

/// Bytes of a message's body.
const BODY: usize = 1_024;
/// Items of a frame.
const ITEMS: usize = 128;
const MESH: MeshId = MeshId::from_bytes([7; 16]);

/// One that can be done again and again.
pub(crate) type Operation = Box<dyn FnMut() -> Result<()>>;

/// What is done for a message, or for a frame of them.
#[derive(Clone, Copy)]
pub(crate) enum Path {
    Seal,
    Open,
    Receipt,
    SendEncode,
    SendDecode,
    DeliverEncode,
    DeliverDecode,
}

impl Path {
    pub(crate) fn all() -> Vec<Self> {
        use Path::{DeliverDecode, DeliverEncode, Open, Receipt, Seal, SendDecode, SendEncode};
        vec![Seal, Open, Receipt, SendEncode, SendDecode, DeliverEncode, DeliverDecode]
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Seal => "seal 1 KiB in a session",
            Self::Open => "open 1 KiB in a session",
            Self::Receipt => "receipt, made and verified",
            Self::SendEncode => "frame: send of 128, encode",
            Self::SendDecode => "frame: send of 128, decode",
            Self::DeliverEncode => "frame: deliver of 128, encode",
            Self::DeliverDecode => "frame: deliver of 128, decode",
        }
    }

    /// What it takes before the first time.
    pub(crate) fn prepare(self) -> Result<Operation> {
        let mut ends = Ends::new()?;
        Ok(match self {
            Self::Seal => Box::new(move || ends.seal().map(|sealed| drop(black_box(sealed)))),
            Self::Open => {
                let sealed = ends.seal()?;
                Box::new(move || {
                    let opened = ends.receiving.open(&ends.header, &Envelope::decode(black_box(&sealed))?)?;
                    ensure!(opened.body.len() == BODY, "another body came out");
                    Ok(())
                })
            }
            Self::Receipt => {
                let secret = ReceiptSecret::from_bytes([3; 16]);
                Box::new(move || {
                    let id = black_box(WireId::from_bytes([4; 16]));
                    ensure!(secret.verify(&id, &secret.receipt(&id)), "a receipt is not believed");
                    Ok(())
                })
            }
            Self::SendEncode => encode(ends.send()?),
            Self::SendDecode => decode(&ends.send()?)?,
            Self::DeliverEncode => encode(ends.deliver()?),
            Self::DeliverDecode => decode(&ends.deliver()?)?,
        })
    }
}

fn encode<F: Frame + 'static>(frame: F) -> Operation {
    Box::new(move || Ok(drop(black_box(link::encode(black_box(&frame))?))))
}

fn decode<F: Frame + 'static>(frame: &F) -> Result<Operation> {
    let bytes = link::encode(frame)?;
    Ok(Box::new(move || Ok(drop(black_box(link::decode::<F>(black_box(&bytes))?)))))
}

/// A session's two ends, and a message to send by it.
struct Ends {
    sending: SendingSession,
    receiving: ReceivingSession,
    header: Header,
    plaintext: Plaintext,
    now: Timestamp,
}

impl Ends {
    fn new() -> Result<Self> {
        let mut rng = UnwrapErr(SysRng);
        let now = Timestamp::from_millis(1_800_000_000_000);
        let (alpha, beta) = (SigningKey::from_seed(&[1; 32]), SigningKey::from_seed(&[2; 32]));
        let (from, to) = (alpha.public().node_id(), beta.public().node_id());
        let (signed, secret) = Prekey::mint(&mut rng, &beta, to, None, now)?;
        let prekey = Prekey::verify(&signed, to, &beta.public())?;
        let (parties, storage) = (Parties { mesh: MESH, from, to }, StorageKey::from_bytes(&[5; 32]).keys());
        let log = LogHead { seq: 3, hash: Digest::from_bytes([6; 32]) };
        let mut sending = SendingSession::open(&mut rng, &storage, &alpha, &parties, &prekey, log, now)?;
        let header = Header {
            mesh: MESH,
            from,
            to,
            id: WireId::from_bytes([4; 16]),
            priority: Priority::Next,
            expires: now.plus(Duration::from_secs(3_600)),
        };
        let plaintext = plaintext(now)?;
        let first = sending.seal(&mut rng, &header, &plaintext, now, true)?;
        let opening = first.opening.ok_or_else(|| anyhow::anyhow!("no opening beside the first message"))?;
        let receiving = Opening::accept(&opening, &parties, &alpha.public(), &secret)?;
        Ok(Self { sending, receiving, header, plaintext, now })
    }

    fn seal(&mut self) -> Result<Bytes> {
        let rng = &mut UnwrapErr(SysRng);
        Ok(self.sending.seal(rng, &self.header, black_box(&self.plaintext), self.now, false)?.encode()?)
    }

    fn send(&mut self) -> Result<ToBroker> {
        let Header { to, priority: pri, expires: exp, .. } = self.header;
        let item = |n| -> Result<SendItem> {
            let (id, fp) = (WireId::from_bytes([n; 16]), Fingerprint::from_bytes([n; 32]));
            Ok(SendItem { to, id, fp, pri, exp, seal: 0, first: false, env: self.seal()? })
        };
        let items = (0..ITEMS as u8).map(item).collect::<Result<_>>()?;
        Ok(ToBroker::Send(Send { req: 1, rows: 1, items }))
    }

    fn deliver(&mut self) -> Result<ToNode> {
        let Header { from, priority: pri, expires: exp, .. } = self.header;
        let item = |n: u8| -> Result<Delivery> {
            let (id, env) = (WireId::from_bytes([n; 16]), self.seal()?);
            let n = u64::from(n) + 1;
            Ok(Delivery::Envelope(link::Envelope { n, from, id, pri, exp, seal: 0, env }))
        };
        let items = (0..ITEMS as u8).map(item).collect::<Result<_>>()?;
        Ok(ToNode::Deliver(Deliver { items, tail: false }))
    }
}

/// As an app sends one.
fn plaintext(now: Timestamp) -> Result<Plaintext> {
    Ok(Plaintext {
        id: "01JD3Z8Q4V6W7X8Y9ZABCDEFGH".parse()?,
        counter: 1,
        void: Vec::new(),
        receipt_secret: ReceiptSecret::from_bytes([3; 16]),
        from_app: Some("ci".parse()?),
        to_app: Some("deploy".parse()?),
        kind: Kind::Message,
        content_type: "text/plain".to_owned(),
        body: vec![b'x'; BODY].into(),
        meta: Bytes::new(),
        reply_to: None,
        thread: None,
        wants_read: false,
        sent_at: now,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_can_be_done_again_and_again() {
        for path in Path::all() {
            let mut operation = path.prepare().unwrap();
            (0..3).for_each(|_| operation().unwrap());
        }
    }
}
