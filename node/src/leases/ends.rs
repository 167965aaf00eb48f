//! When something is over: by its time, by this node's link, by its app.

use std::collections::BTreeMap;
use std::time::Duration;

use waxwing_protocol::api::{LeaseEnd, OnDisconnect};
use waxwing_protocol::limits;

use super::record::{Mark, mark};
use super::table::{Heard, Own, Stage};
use crate::apps::Which;
use crate::clock::Boot;
use crate::mesh::Mesh;

impl Own {
    pub(super) fn end_by_time(&self, heard: Heard) -> Option<Stage> {
        let (end, why) = self.end(heard);
        if end.left().is_zero() {
            return Some(Stage::Ended(why));
        }
        (self.is_unawaited() && self.waits_until.left().is_zero()).then_some(Stage::GivenUp)
    }

    /// What the end of its app's registration means for it.
    pub(super) fn end_by_app(
        &mut self,
        mesh: &Mesh,
        registered: &BTreeMap<Which, Option<Mark>>,
    ) -> Option<Stage> {
        let mark_of_it = self.says.registration?;
        let current = registered.get(&self.says.which()).copied().flatten();
        if current == Some(mark_of_it) {
            (self.alone_since, self.comes_back) = (None, Duration::ZERO);
            return None;
        }
        let first = self.alone_since.is_none();
        let since = *self.alone_since.get_or_insert_with(Boot::now);
        let removed =
            || mesh.apps.has_removed(|id| mark(&mesh.keys, id).is_some_and(|removed| removed == mark_of_it));
        let ended = Some(Stage::Ended(LeaseEnd::Unregistered));
        let patience = match self.says.on_disconnect {
            OnDisconnect::Hold => return None,
            // Another has its name, or somebody has ended it: it does not come back.
            OnDisconnect::Grace | OnDisconnect::Release if current.is_some() || first && removed() => {
                return ended;
            }
            OnDisconnect::Grace => limits::LEASE_GRACE,
            OnDisconnect::Release => self.comes_back,
        };
        if since.plus(patience).left().is_zero() { ended } else { None }
    }

    /// It stands in line, and no request waits with it: that would decide itself how long.
    fn is_unawaited(&self) -> bool {
        !self.is_held() && self.awaited == 0
    }

    pub(super) fn is_to_be_warned(&self, heard: Heard) -> bool {
        self.is_held() && !self.warned && self.warning(heard).left().is_zero()
    }

    /// When time next brings something.
    pub(super) fn next(&self, heard: Heard) -> Boot {
        let mut next = self.end(heard).0;
        if self.is_unawaited() {
            next = next.min(self.waits_until);
        } else if self.is_held() && !self.warned {
            next = next.min(self.warning(heard));
        }
        let patience = match self.says.on_disconnect {
            OnDisconnect::Grace => limits::LEASE_GRACE,
            OnDisconnect::Hold | OnDisconnect::Release => self.comes_back,
        };
        let alone = self.alone_since.map(|since| since.plus(patience));
        alone.filter(|_| self.says.on_disconnect != OnDisconnect::Hold).map_or(next, |alone| next.min(alone))
    }
}
