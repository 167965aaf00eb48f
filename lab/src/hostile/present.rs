//! A member that is seen as online, and is no node.

use bytes::Bytes;
use getrandom::SysRng;
use rand_core::UnwrapErr;
use waxwing_crypto::ChangeId;
use waxwing_crypto::space::{Condition, KeyName, NamingKey, Operation, Space, Stands, Statement};
use waxwing_protocol::link::{Bye, Change, ChangeOutcome, Put, ToBroker, ToNode};

use super::Member;
use super::member::{crypto, now, wrong};
use crate::error::Result;

impl Member {
    /// Puts a node's own record of presence, bound to its lease. Once.
    ///
    /// # Errors
    /// If the broker does not take it.
    pub async fn is_present(&mut self) -> Result<()> {
        let mesh = self.roster.mesh();
        let name = |_| wrong("a bad name");
        let space = Space::new(mesh, &NamingKey::of(mesh, &self.keys), "presence".parse().map_err(name)?);
        let key: KeyName = format!("node:{}", self.node()).parse().map_err(name)?;
        let (when, ttl, bound) = (Condition::Any, None, Some(0));
        let id = ChangeId::from_bytes([1; ChangeId::SIZE]);
        let statement = Statement {
            operation: Operation::Put,
            stands: Stands::Own,
            id,
            writer: self.node(),
            when,
            ttl,
            bound,
            version: 1,
            counter: 1,
            log_seq: self.roster.head().seq,
            of: None,
            seen: None,
            at: now(),
            name: key.clone(),
            app: None,
            value: says(),
        };
        let (epoch, _) = self.keys.newest();
        let sealed = space.seal(&statement, epoch, &self.keys, &self.key, &mut UnwrapErr(SysRng));
        let sealed = sealed.map_err(crypto)?;
        let put = Put { id, key: space.key(&key), own: true, when, ttl, bound, sealed };
        match self.change(space.id(), vec![Change::Put(put)]).await?[..] {
            [ChangeOutcome::Applied { .. }] => Ok(()),
            _ => Err(wrong("its presence was not taken")),
        }
    }

    /// Says goodbye: whatever is bound to its lease ends.
    ///
    /// # Errors
    /// If the link is gone.
    pub async fn says_goodbye(&mut self) -> Result<()> {
        let req = self.next_req();
        self.link.transmit(&ToBroker::Bye(Bye { req })).await?;
        self.answer(|frame| matches!(frame, ToNode::Done(done) if done.req == req).then_some(())).await
    }
}

/// Since when, and which version, as a node says it: a map of two in MessagePack.
fn says() -> Bytes {
    let mut says = vec![0x82, 0xa5];
    says.extend(b"since\xcf");
    says.extend(now().as_millis().to_be_bytes());
    says.extend(b"\xa7version\xa10");
    says.into()
}
