//! What becomes of what is held: by the copy, by time, and by the apps that have it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast::error::RecvError;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tracing::info;
use waxwing_crypto::space::{KeyName, Stands};
use waxwing_protocol::api::{LeaseEnd, LeaseNews};
use waxwing_protocol::link::EndedBy;

use super::Leases;
use super::record::{Mark, Says, mark};
use super::table::{Heard, Own, Stage, Table, Told};
use crate::apps::Which;
use crate::clock::Boot;
use crate::error::{Error, Result};
use crate::mesh::Mesh;
use crate::spaces::{Entry, Fact, Freshness, Gone, News, Space};
use crate::store::events::NewEvent;
use crate::writer::WriteError;

/// While something is held, there is a look at least as often: timers stand still while the host is suspended.
const EVERY: Duration = Duration::from_secs(10);
/// An app that was registered with the process before this one may come back for so long.
const COMES_BACK: Duration = Duration::from_secs(10);
/// One that stood in line then is to ask again within this.
const ASKS_AGAIN: Duration = Duration::from_secs(60);
/// Times that were the broker's are taken for this much shorter.
const MARGIN: Duration = Duration::from_secs(1);

/// Records of this node that nobody here has: to be taken away.
pub(super) type Orphans = BTreeSet<(u64, KeyName)>;

/// What stands in the space, by place; and which app of this node it is of, if it is one's.
type Index = BTreeMap<u64, (KeyName, Option<Which>)>;

/// How long this node's lease lasts.
pub(super) fn heard(mesh: &Mesh) -> Heard {
    Heard { at: mesh.heard(), lease: mesh.presence.lease() }
}

/// Looks until it is dropped, or the database fails.
pub(super) async fn run(
    mesh: &Mesh,
    leases: &Leases,
    space: &Space,
    orphans: &watch::Sender<Orphans>,
) -> Result<()> {
    let (mut news, mut freshness) = (space.news(), space.freshness());
    let (mut moved, mut apps) = (leases.moved.subscribe(), mesh.apps.changes());
    let mut index = read(mesh, leases, space, true).await?;
    // Names of which something has changed that is still to be looked at.
    let mut dirty = BTreeSet::new();
    loop {
        match wake(mesh, leases, &mut news, (&mut freshness, &mut moved, &mut apps)).await {
            Some(Ok(page)) if !page.reset => dirty.extend(leases.take(mesh, &mut index, &page)),
            // The copy is begun anew, or more has changed than was told.
            Some(Ok(_) | Err(RecvError::Lagged(_))) => {
                news = space.news();
                index = read(mesh, leases, space, false).await?;
                dirty.extend(leases.keys(|_| true));
            }
            Some(Err(RecvError::Closed)) => std::future::pending::<()>().await,
            None => {}
        }
        let now = *freshness.borrow_and_update();
        let told = leases.pass(mesh, now);
        leases.tell(mesh, told).await?;
        dirty.extend(leases.keys(|own| own.unseen && now.complete));
        for key in &dirty {
            let told = leases.judge(mesh, key, now.complete).await?;
            leases.tell(mesh, told).await?;
        }
        if now.complete {
            dirty.clear();
        }
        let now = leases.orphans(&index);
        orphans.send_if_modified(|orphans| {
            *orphans != now && {
                *orphans = now;
                true
            }
        });
    }
}

/// Waits until there is something to look at: news, or anything else.
async fn wake(
    mesh: &Mesh,
    leases: &Leases,
    news: &mut tokio::sync::broadcast::Receiver<Arc<News>>,
    (freshness, moved, apps): (
        &mut watch::Receiver<Freshness>,
        &mut watch::Receiver<()>,
        &mut watch::Receiver<()>,
    ),
) -> Option<std::result::Result<Arc<News>, RecvError>> {
    let due = leases.next(mesh);
    tokio::select! {
        page = news.recv() => Some(page),
        _ = freshness.changed() => None,
        _ = moved.changed() => None,
        _ = apps.changed() => None,
        () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => None,
    }
}

/// What the copy has. At the start, what this node wrote in the process before is taken over.
async fn read(mesh: &Mesh, leases: &Leases, space: &Space, adopt: bool) -> Result<Index> {
    let life = space.life(mesh).await?;
    let entries: Vec<Entry> = space.entries(mesh).await?;
    let mut index = Index::new();
    for entry in
        entries.into_iter().filter(|entry| entry.stands == Stands::Appended && Some(entry.life) == life)
    {
        if adopt {
            leases.adopt(mesh, &entry);
        }
        index.insert(entry.seq, indexed(mesh, &entry));
    }
    Ok(index)
}

fn indexed(mesh: &Mesh, entry: &Entry) -> (KeyName, Option<Which>) {
    let own = entry.writer == mesh.identity.node;
    let which =
        Some(entry).filter(|_| own).and_then(|entry| Says::decode(&entry.value)).map(|says| says.which());
    (entry.key.clone(), which)
}

impl Leases {
    /// Takes over what this node wrote before it was started.
    fn adopt(&self, mesh: &Mesh, entry: &Entry) {
        let Some(says) = Says::decode(&entry.value).filter(|_| entry.writer == mesh.identity.node) else {
            return;
        };
        let left = entry.expires.map_or(Duration::ZERO, |expires| expires.since(mesh.clock.broker_now()));
        let now = Boot::now();
        let own = Own {
            key: entry.key.clone(),
            store: Some(entry.life),
            until: now.plus(left.saturating_sub(MARGIN)),
            stage: watch::Sender::new(Stage::Waiting(0)),
            waits_until: now.plus(ASKS_AGAIN),
            awaited: 0,
            warned: false,
            fresh: false,
            alone_since: None,
            comes_back: COMES_BACK,
            gone: None,
            over: None,
            unseen: true,
            says,
        };
        let mut table = self.table();
        let comes = table.appending.contains(&(own.key.clone(), own.says.which()));
        if !comes {
            table.own.entry(entry.seq).or_insert(own);
        }
    }

    /// Takes in what has changed. Says which keys of this node's are concerned.
    fn take(&self, mesh: &Mesh, index: &mut Index, page: &News) -> BTreeSet<KeyName> {
        let mut changed = BTreeSet::new();
        for fact in &page.facts {
            match fact {
                Fact::Set(entry) if entry.stands == Stands::Appended => {
                    changed.insert(entry.key.clone());
                    index.insert(entry.seq, indexed(mesh, entry));
                }
                Fact::Gone { seq, why, .. } => {
                    changed.extend(index.remove(seq).map(|(key, _)| key));
                    let reason = match why {
                        Gone::Deleted => LeaseEnd::Revoked,
                        Gone::Ended(EndedBy::Lifetime) => LeaseEnd::Expired,
                        Gone::Ended(_) => LeaseEnd::Disconnected,
                    };
                    if let Some(own) = self.table().own.get_mut(seq) {
                        own.gone = Some(reason);
                    }
                }
                Fact::Set(_) | Fact::Touched { .. } => {}
            }
        }
        let table = self.table();
        changed.retain(|key| table.own.values().any(|own| own.key == *key));
        changed
    }

    /// What such of this node's apps have is of.
    fn keys(&self, such: impl Fn(&Own) -> bool) -> BTreeSet<KeyName> {
        self.table().own.values().filter(|own| such(own)).map(|own| own.key.clone()).collect()
    }

    /// Holds what this node's apps have of one name against the copy.
    pub(super) async fn look_at(&self, mesh: &Mesh, key: &KeyName) -> Result<()> {
        self.judge(mesh, key, false).await.map(drop)
    }

    /// The same. `ends`: what is not there any more is over.
    async fn judge(&self, mesh: &Mesh, key: &KeyName, ends: bool) -> Result<Vec<Told>> {
        // Before the copy is read: it has come there at least.
        let freshness = *self.space(mesh).freshness().borrow();
        let queue = self.queue(mesh, key).await?;
        let heard = heard(mesh);
        let mut told = Vec::new();
        self.change_if(|table| {
            let its = |(_, own): &(&u64, &Own)| own.key == *key;
            let seqs: Vec<u64> = table.own.iter().filter(its).map(|(seq, _)| *seq).collect();
            let mut changed = false;
            for seq in seqs {
                match queue.ahead(seq) {
                    Some(ahead) => changed |= stands(table, seq, (ahead, freshness), heard, &mut told),
                    None if ends && freshness.place >= seq => {
                        changed = true;
                        let why = table.own.get(&seq).and_then(|own| own.gone).unwrap_or(LeaseEnd::Expired);
                        over(table, seq, Stage::Ended(why), heard, &mut told);
                    }
                    None => {}
                }
            }
            changed
        });
        Ok(told)
    }

    /// What time has brought, and what has become of apps and of the broker's store.
    fn pass(&self, mesh: &Mesh, freshness: Freshness) -> Vec<Told> {
        let heard = heard(mesh);
        let mut told = Vec::new();
        let registered = self.registered(mesh);
        self.change_if(|table| {
            let seqs: Vec<u64> = table.own.keys().copied().collect();
            let mut changed = false;
            for seq in seqs {
                let Some(own) = table.own.get_mut(&seq) else { continue };
                let lost = own.store.is_some() && freshness.store.is_some() && own.store != freshness.store;
                let end = if lost {
                    Some(Stage::Ended(LeaseEnd::StoreLost))
                } else {
                    own.end_by_time(heard).or_else(|| own.end_by_app(mesh, &registered))
                };
                if let Some(end) = end {
                    over(table, seq, end, heard, &mut told);
                    changed = true;
                } else if own.is_to_be_warned(heard) {
                    own.warned = true;
                    told.push(own.tell(seq, LeaseNews::Expiring, heard));
                }
            }
            changed
        });
        told
    }

    /// Which registrations apps have that have something here.
    fn registered(&self, mesh: &Mesh) -> BTreeMap<Which, Option<Mark>> {
        let whiches: BTreeSet<Which> = self.table().own.values().map(|own| own.says.which()).collect();
        let current = |which: &Which| mesh.apps.registration(which).and_then(|id| mark(&mesh.keys, &id));
        whiches.into_iter().map(|which| (which.clone(), current(&which))).collect()
    }

    /// Own records that nobody here has.
    fn orphans(&self, index: &Index) -> Orphans {
        let table = self.table();
        let orphan = |(seq, (key, which)): (&u64, &(KeyName, Option<Which>))| {
            let which = which.as_ref()?;
            let has = table.own.contains_key(seq) || table.appending.contains(&(key.clone(), which.clone()));
            (!has).then(|| (*seq, key.clone()))
        };
        index.iter().filter_map(orphan).collect()
    }

    /// When there is something to look at though nothing happens.
    fn next(&self, mesh: &Mesh) -> Option<Instant> {
        let heard = heard(mesh);
        let table = self.table();
        let left = table.own.values().map(|own| own.next(heard).left().min(EVERY)).min();
        let apps = mesh.apps.next_end().filter(|_| !table.own.is_empty());
        left.map(|left| Instant::now() + left).into_iter().chain(apps).min()
    }

    /// Tells apps.
    async fn tell(&self, mesh: &Mesh, told: Vec<Told>) -> Result<()> {
        for told in told {
            let Some(body) = (self.event)(&told) else { continue };
            let event = NewEvent { app: Some(told.which.name.to_string()), body };
            match mesh.writer.tell(event).await {
                Ok(()) => {}
                Err(error @ WriteError::DiskFull) => info!(%error, "an app is not told of what it holds"),
                Err(error @ WriteError::Failed(_)) => {
                    return Err(Error::Database(waxwing_sqlite::Error::Writer(error.to_string())));
                }
            }
        }
        Ok(())
    }
}

/// It stands in line, with so many before it. Says whether that is news.
fn stands(
    table: &mut Table,
    seq: u64,
    (ahead, freshness): (usize, Freshness),
    heard: Heard,
    told: &mut Vec<Told>,
) -> bool {
    let Some(own) = table.own.get_mut(&seq) else { return false };
    own.store = own.store.or(freshness.store);
    let before = own.stage();
    if own.unseen && freshness.complete {
        own.unseen = false;
    }
    let now = if ahead == 0 { Stage::Held } else { Stage::Waiting(ahead) };
    if now == before || before == Stage::Held {
        return false;
    }
    own.stage.send_replace(now);
    if now == Stage::Held {
        // Not if it was its turn at once: then its time has just begun.
        own.fresh = matches!(before, Stage::Waiting(ahead) if ahead > 0);
        if own.fresh && own.awaited == 0 {
            told.push(own.tell(seq, LeaseNews::Granted, heard));
        }
    }
    true
}

/// It is over. Whoever waits for it is answered, everybody else told.
fn over(table: &mut Table, seq: u64, end: Stage, heard: Heard, told: &mut Vec<Told>) {
    let Some(own) = table.own.get(&seq) else { return };
    let silent = !own.is_held() && own.awaited > 0;
    if let Some(own) = table.end(seq, end)
        && !silent
    {
        told.push(own.tell(seq, LeaseNews::Lost, heard));
    }
}
