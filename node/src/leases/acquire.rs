//! Asking for a lease.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};
use waxwing_crypto::space::KeyName;
use waxwing_protocol::api::{LeaseEnd, LeaseMode, OnDisconnect};
use waxwing_protocol::limits;
use waxwing_protocol::link::ChangeOutcome;

use super::look::heard;
use super::record::{Says, mark};
use super::table::{Own, Stage};
use super::{Denied, Leases, Standing};
use crate::apps::{Holder, Which};
use crate::clock::Boot;
use crate::mesh::Mesh;
use crate::spaces::{Draft, DraftChange, NotWritten, Space};

/// The copy has so long to come to a record that the broker has committed.
const COMES_WITHIN: Duration = Duration::from_secs(30);

/// What is asked for.
#[derive(Clone, Debug)]
pub(crate) struct Want {
    pub(crate) key: KeyName,
    pub(crate) holder: Holder,
    pub(crate) ttl: Duration,
    pub(crate) mode: LeaseMode,
    pub(crate) on_disconnect: OnDisconnect,
    pub(crate) purpose: Option<String>,
    /// How long to stand in line.
    pub(crate) wait: Duration,
    /// How long the answer may take of that.
    pub(crate) within: Duration,
}

/// What came of it.
#[derive(Clone, Debug)]
pub(crate) struct Acquired {
    pub(crate) got: Got,
    /// Who had it at that moment.
    pub(crate) holders: Vec<Standing>,
}

/// In a word.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Got {
    Acquired {
        token: u64,
        remaining: Duration,
    },
    Extended {
        token: u64,
        remaining: Duration,
    },
    Queued {
        token: u64,
        ahead: usize,
    },
    Locked,
    /// It stood in line, and that was ended.
    Lost(LeaseEnd),
}

impl Leases {
    /// Asks for something. If whoever asked goes before the answer, what this has made is taken back.
    pub(crate) async fn acquire(self: &Arc<Self>, mesh: &Mesh, want: Want) -> Result<Acquired, Denied> {
        let space = self.space(mesh);
        let _turn = self.turn(&want.key, &want.holder.which).await;
        let has = self.table().find(&want.key, &want.holder.which);
        let before = match has {
            Some(seq) => self.before(mesh, seq, &want).await?,
            None => Before::Nothing,
        };
        let mut placed = match before {
            Before::Extended(got) => return Ok(Acquired { got, holders: Vec::new() }),
            Before::Waiting(placed) => placed,
            Before::Nothing => {
                if want.wait.is_zero() {
                    let queue = self.queue(mesh, &want.key).await?;
                    if !queue.admits(want.mode) {
                        return Ok(Acquired { got: Got::Locked, holders: queue.holders().to_vec() });
                    }
                }
                self.append(mesh, &space, &want).await?
            }
        };
        let come = timeout(COMES_WITHIN, space.reached(placed.seq)).await;
        come.map_err(|_| Denied::NotWritten(NotWritten::Unanswered))?;
        self.look_at(mesh, &want.key).await?;
        let got = self.wait(mesh, &mut placed, &want).await;
        if matches!(got, Got::Acquired { .. } | Got::Queued { .. }) {
            placed.keep();
        }
        drop(placed);
        let queue = self.queue(mesh, &want.key).await.unwrap_or_default();
        let holders = if matches!(got, Got::Acquired { .. }) { Vec::new() } else { queue.holders().to_vec() };
        Ok(Acquired { got, holders })
    }

    /// What the app has already: more time on it, or its place in line.
    async fn before(self: &Arc<Self>, mesh: &Mesh, seq: u64, want: &Want) -> Result<Before, Denied> {
        if self.table().own.get(&seq).is_some_and(|own| own.unseen) {
            self.look_at(mesh, &want.key).await?;
        }
        let held = {
            let mut table = self.table();
            let Some(own) = table.own.get_mut(&seq) else { return Ok(Before::Nothing) };
            if own.says.mode != want.mode {
                return Err(Denied::OtherMode);
            }
            if want.holder.registered {
                let registration = mesh.apps.registration(&want.holder.which);
                own.says.registration = registration.and_then(|id| mark(&mesh.keys, &id));
            }
            own.alone_since = None;
            own.is_held()
        };
        if held {
            let remaining = self.extend(mesh, seq, Some(want.ttl)).await?;
            return Ok(Before::Extended(Got::Extended { token: seq, remaining }));
        }
        let placed = self.change(|table| {
            let own = table.own.get_mut(&seq)?;
            own.waits_until = Boot::now().plus(want.wait);
            own.awaited += 1;
            Some(Placed { leases: Arc::clone(self), seq, stage: own.stage.subscribe(), kept: false })
        });
        Ok(placed.map_or(Before::Nothing, Before::Waiting))
    }

    /// Takes a place in line.
    async fn append(self: &Arc<Self>, mesh: &Mesh, space: &Space, want: &Want) -> Result<Placed, Denied> {
        let Which { name: app, instance } = want.holder.which.clone();
        if self.table().of_app(&want.holder.which) >= limits::LEASES {
            return Err(Denied::TooMany);
        }
        let registration = mesh.apps.registration(&want.holder.which).filter(|_| want.holder.registered);
        let says = Says {
            app,
            instance,
            mode: want.mode,
            on_disconnect: want.on_disconnect,
            ttl: u64::try_from(want.ttl.as_millis()).unwrap_or(u64::MAX),
            purpose: want.purpose.clone(),
            registration: registration.and_then(|id| mark(&mesh.keys, &id)),
        };
        let _appending = Appending::new(self, (want.key.clone(), want.holder.which.clone()));
        let asked = Boot::now();
        let outcomes = space.write(mesh, vec![says.draft(want.key.clone())]).await?;
        let seq = applied(outcomes.first())?;
        let stage = watch::Sender::new(Stage::Waiting(0));
        let own = Own {
            key: want.key.clone(),
            until: asked.plus(says.ttl()),
            says,
            store: None,
            waits_until: asked.plus(want.wait),
            awaited: 1,
            warned: false,
            fresh: false,
            alone_since: None,
            comes_back: Duration::ZERO,
            gone: None,
            over: None,
            unseen: false,
            stage,
        };
        let stage = own.stage.subscribe();
        self.change(|table| table.own.insert(seq, own));
        Ok(Placed { leases: Arc::clone(self), seq, stage, kept: false })
    }

    /// Waits until it is this one's turn, or for as long as the answer may take.
    async fn wait(&self, mesh: &Mesh, placed: &mut Placed, want: &Want) -> Got {
        let answer_by = Instant::now() + want.within.min(want.wait);
        let stop = mesh.stop.clone();
        let decided = async {
            // The sender is here, or has said its last word.
            let _ = placed.stage.wait_for(|stage| !matches!(stage, Stage::Waiting(_))).await;
        };
        tokio::select! {
            _ = timeout_at(answer_by, decided) => {}
            () = stop.cancelled() => {}
        }
        let (token, stage) = (placed.seq, *placed.stage.borrow());
        match stage {
            Stage::Held => self.begin(mesh, token).await,
            Stage::Waiting(ahead) if want.within < want.wait => Got::Queued { token, ahead },
            Stage::Waiting(_) | Stage::GivenUp => Got::Locked,
            Stage::Ended(why) => Got::Lost(why),
        }
    }

    /// It is its turn: after others its time begins now.
    async fn begin(&self, mesh: &Mesh, token: u64) -> Got {
        let fresh = self.table().own.get(&token).is_some_and(|own| own.fresh);
        if fresh {
            // Without an answer it is held for as long as it was.
            let _ = self.extend(mesh, token, None).await;
        }
        let heard = heard(mesh);
        let table = self.table();
        let Some(own) = table.own.get(&token) else { return Got::Lost(LeaseEnd::Expired) };
        // This host may have been suspended since.
        match own.end(heard) {
            (end, why) if end.left().is_zero() => Got::Lost(why),
            _ => Got::Acquired { token, remaining: own.remaining(heard) },
        }
    }

    /// Has the broker renew one.
    pub(super) async fn extend(
        &self,
        mesh: &Mesh,
        seq: u64,
        ttl: Option<Duration>,
    ) -> Result<Duration, Denied> {
        let space = self.space(mesh);
        let ttl =
            ttl.or_else(|| self.table().own.get(&seq).map(|own| own.says.ttl())).ok_or(Denied::Expired)?;
        let millis = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
        let asked = Boot::now();
        let change = DraftChange::Touch { seqs: vec![seq], ttl: millis };
        let outcomes = space.write(mesh, vec![Draft { id: None, app: None, change }]).await?;
        match outcomes.first() {
            Some(ChangeOutcome::Touched { gone }) if gone.is_empty() => {}
            Some(ChangeOutcome::Touched { .. }) | None => return Err(Denied::Expired),
            Some(outcome) => return Err(refused(outcome)),
        }
        let heard = heard(mesh);
        self.change(|table| {
            let own = table.own.get_mut(&seq).ok_or(Denied::Expired)?;
            own.says.ttl = millis;
            own.renewed(asked);
            // The broker's answer may be as old as that.
            if own.end(heard).0.left().is_zero() { Err(Denied::Expired) } else { Ok(own.remaining(heard)) }
        })
    }
}

/// What an app had before it asked.
enum Before {
    Nothing,
    Extended(Got),
    Waiting(Placed),
}

/// A record on its way, until it is in the table, or is given up.
#[derive(Debug)]
struct Appending<'a> {
    leases: &'a Leases,
    who: (KeyName, Which),
}

impl<'a> Appending<'a> {
    fn new(leases: &'a Leases, who: (KeyName, Which)) -> Self {
        leases.table().appending.insert(who.clone());
        Self { leases, who }
    }
}

impl Drop for Appending<'_> {
    fn drop(&mut self) {
        self.leases.change(|table| table.appending.remove(&self.who));
    }
}

/// A place in line, as long as a request waits for it. Taken back with the request, unless it is kept.
#[derive(Debug)]
struct Placed {
    leases: Arc<Leases>,
    seq: u64,
    stage: watch::Receiver<Stage>,
    kept: bool,
}

impl Placed {
    /// Its app has been told.
    const fn keep(&mut self) {
        self.kept = true;
    }
}

impl Drop for Placed {
    fn drop(&mut self) {
        self.leases.change(|table| {
            if let Some(own) = table.own.get_mut(&self.seq) {
                own.awaited = own.awaited.saturating_sub(1);
            }
            // Its record is nobody's now, and is taken away.
            if !self.kept {
                table.end(self.seq, Stage::GivenUp);
            }
        });
    }
}

fn applied(outcome: Option<&ChangeOutcome>) -> Result<u64, Denied> {
    match outcome {
        Some(ChangeOutcome::Applied { seq }) => Ok(*seq),
        Some(outcome) => Err(refused(outcome)),
        None => Err(Denied::NotWritten(NotWritten::Unanswered)),
    }
}

/// What the broker does not do.
pub(super) fn refused(outcome: &ChangeOutcome) -> Denied {
    match outcome {
        ChangeOutcome::NotYours => Denied::NotAdmin,
        ChangeOutcome::NotFound => Denied::Expired,
        ChangeOutcome::TooLarge => Denied::NotWritten(NotWritten::TooLarge),
        ChangeOutcome::Full => {
            Denied::NotWritten(NotWritten::Refused("the mesh has as many records as it may".to_owned()))
        }
        ChangeOutcome::Applied { .. }
        | ChangeOutcome::Touched { .. }
        | ChangeOutcome::Conflict { .. }
        | ChangeOutcome::IdReused
        | ChangeOutcome::BadChange => {
            Denied::NotWritten(NotWritten::Refused("the broker does not take the change".to_owned()))
        }
    }
}
