//! Who has subscribed here and how far each has come, in memory as on the disk: what changes is made a row first, and the rows
//! have versions, so that whichever is written last is the newest.

use std::collections::{BTreeMap, HashMap};

use waxwing_crypto::{Name, NodeId, SpaceId, Timestamp};
use waxwing_protocol::api::Subscription;
use waxwing_protocol::{StoreId, TopicName, TopicPattern};

use super::record::Wanted;
use crate::store::topics::{CursorRow, ID};

/// A subscription that is kept.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Kept {
    pub(super) id: [u8; ID],
    pub(super) no_echo: bool,
    pub(super) since: Timestamp,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct State {
    subscriptions: BTreeMap<Name, BTreeMap<TopicPattern, Kept>>,
    cursors: HashMap<(Name, SpaceId), CursorRow>,
    /// Versions of cursors that are on the disk.
    saved: HashMap<(Name, SpaceId), u64>,
    /// Streams that are open, by app and what they were narrowed to.
    streams: BTreeMap<(Name, Option<TopicPattern>), usize>,
}

impl State {
    /// As it was kept.
    pub(super) fn new(subscriptions: Vec<(Name, TopicPattern, Kept)>, cursors: Vec<CursorRow>) -> Self {
        let mut state = Self::default();
        for (app, pattern, kept) in subscriptions {
            state.subscribe(&app, pattern, kept);
        }
        for row in cursors {
            let key = (row.app.clone(), row.space);
            state.saved.insert(key.clone(), row.version);
            state.cursors.insert(key, row);
        }
        state
    }

    pub(super) fn subscribe(&mut self, app: &Name, pattern: TopicPattern, kept: Kept) {
        self.subscriptions.entry(app.clone()).or_default().insert(pattern, kept);
    }

    pub(super) fn unsubscribe(&mut self, app: &Name, pattern: &TopicPattern) {
        if let Some(patterns) = self.subscriptions.get_mut(app) {
            patterns.remove(pattern);
            if patterns.is_empty() {
                self.subscriptions.remove(app);
            }
        }
    }

    /// How many subscriptions there are.
    pub(super) fn count(&self) -> usize {
        self.subscriptions.values().map(BTreeMap::len).sum()
    }

    pub(super) fn find(&self, app: &Name, pattern: &TopicPattern) -> Option<Kept> {
        self.subscriptions.get(app)?.get(pattern).copied()
    }

    /// Those of an app, by pattern.
    pub(super) fn of(&self, app: &Name) -> Vec<Subscription> {
        let patterns = self.subscriptions.get(app).into_iter().flatten();
        let show = |(pattern, kept): (&TopicPattern, &Kept)| Subscription {
            pattern: pattern.clone(),
            no_echo: kept.no_echo,
            since: kept.since,
        };
        patterns.map(show).collect()
    }

    /// Whether an app has subscribed to a topic; and if so, whether it does without what it has published itself: unless one of
    /// its subscriptions wants that too.
    pub(super) fn wants(&self, app: &Name, topic: &TopicName) -> Option<bool> {
        let patterns = self.subscriptions.get(app)?;
        let mut meant =
            patterns.iter().filter(|(pattern, _)| pattern.matches(topic)).map(|(_, kept)| kept.no_echo);
        let first = meant.next()?;
        Some(meant.fold(first, |all, one| all && one))
    }

    /// Whether anybody here has subscribed to a topic.
    pub(super) fn is_wanted(&self, topic: &TopicName) -> bool {
        self.subscriptions.values().flat_map(BTreeMap::keys).any(|pattern| pattern.matches(topic))
    }

    /// Apps that have subscribed to a topic, and those of them that have a stream open for it.
    pub(super) fn subscribers(&self, topic: &TopicName) -> (u64, u64) {
        let apps = self.subscriptions.keys().filter(|app| self.wants(app, topic).is_some());
        let is_open = |app: &Name| {
            let mut streams = self.streams.keys().filter(|(of, _)| of == app);
            streams.any(|(_, only)| only.as_ref().is_none_or(|only| only.matches(topic)))
        };
        apps.fold((0, 0), |(here, connected), app| (here + 1, connected + u64::from(is_open(app))))
    }

    /// How far the last of those who have subscribed to a topic has come; none if nobody has.
    pub(super) fn furthest_behind(&self, topic: &TopicName, space: SpaceId) -> Option<u64> {
        let apps = self.subscriptions.keys().filter(|app| self.wants(app, topic).is_some());
        apps.map(|app| self.cursor(app, space).map_or(0, |row| row.place)).min()
    }

    /// What apps of this node want, for the others. An app with several patterns counts for each of them.
    pub(super) fn wanted(&self) -> Wanted {
        let mut wanted = BTreeMap::<&TopicPattern, u64>::new();
        for pattern in self.subscriptions.values().flat_map(BTreeMap::keys) {
            *wanted.entry(pattern).or_default() += 1;
        }
        wanted.into_iter().map(|(pattern, apps)| (pattern.clone(), apps)).collect()
    }

    pub(super) fn stream_opened(&mut self, app: &Name, only: Option<&TopicPattern>) {
        *self.streams.entry((app.clone(), only.cloned())).or_default() += 1;
    }

    pub(super) fn stream_ended(&mut self, app: &Name, only: Option<&TopicPattern>) {
        let key = (app.clone(), only.cloned());
        if let Some(count) = self.streams.get_mut(&key) {
            *count -= 1;
            if *count == 0 {
                self.streams.remove(&key);
            }
        }
    }

    pub(super) fn cursor(&self, app: &Name, space: SpaceId) -> Option<&CursorRow> {
        self.cursors.get(&(app.clone(), space))
    }

    /// A cursor's row to be written, if that was not yet.
    pub(super) fn unsaved(&self, app: &Name, space: SpaceId) -> Option<CursorRow> {
        let key = (app.clone(), space);
        let saved = self.saved.get(&key).copied();
        self.cursors.get(&key).filter(|row| saved.is_none_or(|saved| saved < row.version)).cloned()
    }

    /// These rows are on the disk.
    pub(super) fn save(&mut self, rows: &[CursorRow]) {
        for row in rows {
            let saved = self.saved.entry((row.app.clone(), row.space)).or_default();
            *saved = row.version.max(*saved);
        }
    }

    /// Changes a cursor, made if need be.
    pub(super) fn change(
        &mut self,
        app: &Name,
        space: SpaceId,
        store: StoreId,
        change: impl FnOnce(&mut CursorRow),
    ) -> CursorRow {
        let row = self.cursors.entry((app.clone(), space)).or_insert_with(|| CursorRow {
            app: app.clone(),
            space,
            version: 0,
            store,
            place: 0,
            missed: 0,
            tries: 0,
            marks: BTreeMap::new(),
        });
        change(row);
        row.version += 1;
        row.clone()
    }

    /// Everything up to a place is dealt with. Says whether that is news.
    pub(super) fn acknowledge(&mut self, app: &Name, space: SpaceId, store: StoreId, through: u64) -> bool {
        let place = self.cursor(app, space).map_or(0, |row| row.place);
        if through <= place {
            return false;
        }
        self.change(app, space, store, |row| (row.place, row.missed, row.tries) = (through, 0, 0));
        true
    }

    /// Messages of a topic have ended. Says which cursors that concerns: those of who wants it and had not come so far.
    pub(super) fn ended(
        &mut self,
        topic: &TopicName,
        space: SpaceId,
        store: StoreId,
        seqs: &[u64],
    ) -> Vec<CursorRow> {
        let apps: Vec<_> =
            self.subscriptions.keys().filter(|app| self.wants(app, topic).is_some()).cloned().collect();
        let mut rows = Vec::new();
        for app in apps {
            let place = self.cursor(&app, space).map_or(0, |row| row.place);
            let missed = seqs.iter().filter(|seq| **seq > place).count() as u64;
            if missed > 0 {
                rows.push(self.change(&app, space, store, |row| row.missed += missed));
            }
        }
        rows
    }

    /// The cursors in a space whose places are of another life of the store.
    pub(super) fn of_other_lives(&self, space: SpaceId, store: StoreId) -> Vec<CursorRow> {
        let is = |row: &&CursorRow| row.space == space && row.store != store;
        self.cursors.values().filter(is).cloned().collect()
    }

    /// Takes a cursor over into another life of the store: what was acknowledged in the one before is known by its writers' numbers.
    pub(super) fn reborn(
        &mut self,
        before: &CursorRow,
        store: StoreId,
        marks: &[(NodeId, u64)],
    ) -> CursorRow {
        self.change(&before.app, before.space, store, |row| {
            (row.store, row.place) = (store, 0);
            for (writer, counter) in marks {
                let mark = row.marks.entry(*writer).or_default();
                *mark = (*counter).max(*mark);
            }
        })
    }

    /// Spaces of an app's cursors.
    pub(super) fn spaces(&self, app: &Name) -> Vec<SpaceId> {
        self.cursors.keys().filter(|(of, _)| of == app).map(|(_, space)| *space).collect()
    }

    /// Nothing needs these cursors any more.
    pub(super) fn forget(&mut self, cursors: &[(Name, SpaceId)]) {
        for key in cursors {
            self.cursors.remove(key);
            self.saved.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPACE: SpaceId = SpaceId::from_bytes([7; 32]);
    const STORE: StoreId = StoreId::from_bytes([1; 16]);
    const OTHER: StoreId = StoreId::from_bytes([2; 16]);

    fn app(name: &str) -> Name {
        name.parse().unwrap()
    }

    fn topic(name: &str) -> TopicName {
        name.parse().unwrap()
    }

    fn state(of: &[(&str, &str, bool)]) -> State {
        let kept = |no_echo| Kept { id: [0; ID], no_echo, since: Timestamp::from_millis(0) };
        let rows =
            of.iter().map(|(name, pattern, no_echo)| (app(name), pattern.parse().unwrap(), kept(*no_echo)));
        State::new(rows.collect(), Vec::new())
    }

    #[test]
    fn st_15_who_has_unsubscribed_wants_nothing_and_the_count_drops() {
        let mut state = state(&[("ci", "build", false), ("ci", "task:*", false), ("ann", "*", false)]);
        assert_eq!(
            (state.subscribers(&topic("task:x")), state.subscribers(&topic("other"))),
            ((2, 0), (1, 0))
        );
        state.unsubscribe(&app("ci"), &"task:*".parse().unwrap());
        assert_eq!(
            (state.subscribers(&topic("task:x")), state.wants(&app("ci"), &topic("task:x"))),
            ((1, 0), None)
        );
        assert!(state.wants(&app("ci"), &topic("build")).is_some());
    }

    #[test]
    fn sb_11_an_app_does_without_its_own_only_if_all_its_subscriptions_say_so() {
        let state = state(&[("ci", "task:*", true), ("ci", "*", false), ("ann", "task:*", true)]);
        assert_eq!(state.wants(&app("ci"), &topic("task:x")), Some(false));
        assert_eq!(state.wants(&app("ann"), &topic("task:x")), Some(true));
        assert_eq!(state.wants(&app("bob"), &topic("task:x")), None);
    }

    #[test]
    fn only_a_stream_for_the_topic_counts_as_connected() {
        let mut state = state(&[("ci", "*", false)]);
        let only: TopicPattern = "task:*".parse().unwrap();
        state.stream_opened(&app("ci"), Some(&only));
        state.stream_opened(&app("ann"), None);
        assert_eq!((state.subscribers(&topic("task:x")), state.subscribers(&topic("b"))), ((1, 1), (1, 0)));
        state.stream_ended(&app("ci"), Some(&only));
        assert_eq!(state.subscribers(&topic("task:x")), (1, 0));
    }

    #[test]
    fn an_acknowledgement_goes_forward_alone_and_what_ended_before_it_is_missed() {
        let mut state = state(&[("ci", "b", false), ("ann", "b", false)]);
        assert_eq!(state.furthest_behind(&topic("b"), SPACE), Some(0));
        assert_eq!(state.furthest_behind(&topic("other"), SPACE), None);
        assert!(state.acknowledge(&app("ci"), SPACE, STORE, 5));
        assert_eq!(state.furthest_behind(&topic("b"), SPACE), Some(0), "ann has nothing yet");
        assert!(
            !state.acknowledge(&app("ci"), SPACE, STORE, 5)
                && !state.acknowledge(&app("ci"), SPACE, STORE, 4)
        );
        let rows = state.ended(&topic("b"), SPACE, STORE, &[4, 5, 6]);
        let mut missed: Vec<_> = rows.iter().map(|row| (row.app.as_str(), row.missed)).collect();
        missed.sort_unstable();
        assert_eq!(missed, [("ann", 3), ("ci", 1)]);
        assert!(state.acknowledge(&app("ci"), SPACE, STORE, 7));
        assert_eq!(state.cursor(&app("ci"), SPACE).unwrap().missed, 0);
        assert_eq!(state.ended(&topic("other"), SPACE, STORE, &[9]), []);
    }

    #[test]
    fn what_is_not_on_the_disk_is_written_again() {
        let mut state = state(&[("ci", "b", false)]);
        state.acknowledge(&app("ci"), SPACE, STORE, 5);
        let row = state.unsaved(&app("ci"), SPACE).unwrap();
        state.acknowledge(&app("ci"), SPACE, STORE, 6);
        state.save(&[row]);
        let row = state.unsaved(&app("ci"), SPACE).unwrap();
        assert_eq!(row.place, 6);
        state.save(&[row]);
        assert_eq!(state.unsaved(&app("ci"), SPACE), None);
    }

    #[test]
    fn in_another_life_of_the_store_places_begin_anew_and_numbers_go_on() {
        let (one, two) = (NodeId::from_bytes([1; 16]), NodeId::from_bytes([2; 16]));
        let mut state = state(&[("ci", "b", false)]);
        state.acknowledge(&app("ci"), SPACE, STORE, 50);
        let before = state.of_other_lives(SPACE, OTHER);
        assert_eq!(before.len(), 1);
        let after = state.reborn(&before[0], OTHER, &[(one, 4), (two, 9)]);
        assert_eq!((after.place, after.store, after.marks[&one], after.marks[&two]), (0, OTHER, 4, 9));
        assert_eq!(state.of_other_lives(SPACE, OTHER), []);
        let again = state.reborn(&after, STORE, &[(one, 6), (two, 3)]);
        assert_eq!(
            (again.marks[&one], again.marks[&two]),
            (6, 9),
            "nothing that was acknowledged comes again"
        );
    }
}
