//! What is on the disk for certain at each sync, what may be, and the images of it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fs, io};

use tempfile::TempDir;

use crate::recording::Event;

/// A disk writes so much whole, or not.
const SECTOR: u64 = 512;
/// So many writes are tried in all ways there are; of more, a sample is taken.
const ALL_OF: usize = 10;
/// How large it is.
const SAMPLE: usize = 64;
/// Of each window, so many more images have a write of which some sectors are there.
const TORN: usize = 16;
/// Where files are in memory, if there is such a place: that an image is on the disk matters to nobody.
const MEMORY: &str = "/dev/shm";

/// Each sync of a recording in turn.
#[derive(Debug)]
pub struct Windows {
    events: std::vec::IntoIter<(Event, bool)>,
    window: Window,
    /// What the sync that is before us makes certain.
    synced: Option<PathBuf>,
    ended: bool,
}

/// The moment before one sync, or the end of the recording.
#[derive(Debug, Default)]
pub struct Window {
    moment: usize,
    certain: BTreeMap<PathBuf, Vec<u8>>,
    pending: Vec<Event>,
}

/// Which of the things that may be on the disk are there.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Choice {
    kept: Vec<bool>,
    torn: Option<Torn>,
}

/// Of one write only these sectors are there: those before one, or from it on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Torn {
    write: usize,
    sector: u64,
    before: bool,
}

impl Windows {
    /// Of these events, in which some syncs, by their place and file, were not made.
    pub(crate) fn new(events: Vec<Event>, passed: impl Fn(usize, &Path) -> bool) -> Self {
        let passes = |(at, event): (usize, Event)| {
            let passes = matches!(event, Event::Synced(_)) && passed(at, event.file());
            (event, passes)
        };
        let events: Vec<_> = events.into_iter().enumerate().map(passes).collect();
        Self { events: events.into_iter(), window: Window::default(), synced: None, ended: false }
    }

    /// The next one.
    pub fn advance(&mut self) -> Option<&Window> {
        if let Some(synced) = self.synced.take() {
            self.window.settle(&synced);
        }
        for (event, passes) in self.events.by_ref() {
            if let (Event::Synced(file), false) = (&event, passes) {
                self.synced = Some(file.clone());
                break;
            }
            self.window.moment += 1;
            if !passes {
                self.window.pending.push(event);
            }
        }
        let is_last = self.synced.is_none();
        (!std::mem::replace(&mut self.ended, is_last)).then_some(&self.window)
    }
}

impl Window {
    /// How many things were done until then. What was acknowledged by then has to be in every image.
    #[must_use]
    pub fn moment(&self) -> usize {
        self.moment
    }

    /// The image in which nothing is there that need not be.
    #[must_use]
    pub fn least(&self) -> Choice {
        self.choose(|_| false)
    }

    /// All images if there are few, else a sample; and some with a torn write.
    pub fn all(&self, dice: &mut Dice) -> Vec<Choice> {
        let count = self.pending.len();
        let mut choices: Vec<_> = if count <= ALL_OF {
            (0..1_usize << count).map(|bits| self.choose(|at| bits >> at & 1 == 1)).collect()
        } else {
            self.some(SAMPLE, dice)
        };
        choices.extend((0..TORN).filter_map(|_| self.torn(dice)));
        choices
    }

    /// So many images: nothing of it, all of it, and others by chance, some of them with a torn write.
    pub fn some(&self, count: usize, dice: &mut Dice) -> Vec<Choice> {
        let mut choices = Vec::with_capacity(count);
        for _ in 0..count {
            choices.push(match dice.roll(8) {
                0 => self.least(),
                1 => self.choose(|_| true),
                2 | 3 => self.torn(dice).unwrap_or_else(|| self.choose(|_| true)),
                _ => self.by_chance(dice),
            });
        }
        choices
    }

    fn choose(&self, kept: impl FnMut(usize) -> bool) -> Choice {
        Choice { kept: (0..self.pending.len()).map(kept).collect(), torn: None }
    }

    fn by_chance(&self, dice: &mut Dice) -> Choice {
        // Mostly there, mostly not, or half of it.
        let share = 1 + dice.roll(9);
        self.choose(|_| dice.roll(10) < share)
    }

    fn torn(&self, dice: &mut Dice) -> Option<Choice> {
        let sectors: Vec<(usize, u64)> =
            self.pending.iter().enumerate().filter_map(|(at, event)| Some((at, sectors(event)?))).collect();
        let (write, count) = *sectors.get(usize::try_from(dice.roll(sectors.len() as u64)).ok()?)?;
        let (sector, before) = (1 + dice.roll(count - 1), dice.roll(2) == 0);
        let mut choice = if dice.roll(2) == 0 { self.choose(|_| true) } else { self.by_chance(dice) };
        choice.kept[write] = true;
        Some(Choice { torn: Some(Torn { write, sector, before }), ..choice })
    }

    /// An image, in a folder of its own.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn image(&self, choice: &Choice) -> io::Result<TempDir> {
        let memory = Path::new(MEMORY);
        let folder = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }?;
        self.write(choice, folder.path())?;
        Ok(folder)
    }

    fn write(&self, choice: &Choice, to: &Path) -> io::Result<()> {
        let mut files = self.certain.clone();
        let mut stays: Vec<&Path> = Vec::new();
        for (at, event) in self.pending.iter().enumerate() {
            let file = event.file();
            // What was not deleted is not made anew either.
            if stays.contains(&file) {
                continue;
            }
            match (choice.kept[at], event) {
                (true, event) => apply(&mut files, event, choice.torn.filter(|torn| torn.write == at)),
                (false, Event::Deleted(_)) => stays.push(file),
                (false, _) => {}
            }
        }
        for (file, bytes) in files {
            fs::write(to.join(file), bytes)?;
        }
        Ok(())
    }

    /// A file was synced.
    fn settle(&mut self, synced: &Path) {
        let mut pending: Vec<Event> = Vec::new();
        for event in self.pending.drain(..) {
            let deleted = matches!(event, Event::Deleted(_));
            if deleted {
                pending.retain(|earlier| earlier.file() != event.file());
            }
            if deleted || event.file() == synced {
                apply(&mut self.certain, &event, None);
            } else {
                pending.push(event);
            }
        }
        self.pending = pending;
        self.moment += 1;
    }
}

/// How many sectors a write goes over, if it can be torn.
fn sectors(event: &Event) -> Option<u64> {
    let Event::Written(_, offset, bytes) = event else { return None };
    let last = (offset + bytes.len() as u64).checked_sub(1)?;
    let count = last / SECTOR - offset / SECTOR + 1;
    (count > 1).then_some(count)
}

fn apply(files: &mut BTreeMap<PathBuf, Vec<u8>>, event: &Event, torn: Option<Torn>) {
    let index = |place: u64| usize::try_from(place).unwrap_or(usize::MAX);
    match event {
        Event::Created(file) => drop(files.entry(file.clone()).or_default()),
        Event::Written(file, offset, bytes) => {
            let end = offset + bytes.len() as u64;
            let edge = torn.map(|torn| ((offset / SECTOR + torn.sector) * SECTOR, torn.before));
            let (from, to) = match edge {
                None => (*offset, end),
                Some((edge, true)) => (*offset, edge),
                Some((edge, false)) => (edge, end),
            };
            let file = files.entry(file.clone()).or_default();
            file.resize(file.len().max(index(to)), 0);
            file[index(from)..index(to)].copy_from_slice(&bytes[index(from - offset)..index(to - offset)]);
        }
        Event::Cut(file, length) => {
            if let Some(file) = files.get_mut(file) {
                file.resize(index(*length), 0);
            }
        }
        Event::Deleted(file) => drop(files.remove(file)),
        Event::Synced(_) => {}
    }
}

/// Numbers that look random, the same for the same seed.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// Of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below this, or 0.
    pub fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 8) % sides.max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(file: &str, offset: u64, text: &str) -> Event {
        Event::Written(file.into(), offset, text.as_bytes().to_vec())
    }

    /// What may be in each file at each sync: all that there is, in order.
    fn images(mut windows: Windows) -> Vec<Vec<String>> {
        let mut all = Vec::new();
        while let Some(window) = windows.advance() {
            let mut images = Vec::new();
            for choice in window.all(&mut Dice::new(1)) {
                let folder = window.image(&choice).unwrap();
                let read =
                    |file: &str| fs::read_to_string(folder.path().join(file)).unwrap_or_else(|_| "-".into());
                images.push(format!("{} {}", read("db"), read("wal")));
            }
            images.sort();
            images.dedup();
            all.push(images);
        }
        all
    }

    #[test]
    fn what_was_synced_is_there_and_everything_else_may_be() {
        let (db, wal) = (PathBuf::from("db"), PathBuf::from("wal"));
        let events = vec![
            Event::Created(db.clone()),
            written("db", 0, "a"),
            Event::Synced(db.clone()),
            Event::Created(wal.clone()),
            written("wal", 0, "b"),
            written("db", 0, "c"),
            Event::Synced(wal.clone()),
            Event::Deleted(wal),
            Event::Synced(db),
            written("db", 1, "d"),
        ];
        let lazy = images(Windows::new(events.clone(), |_, file| file == Path::new("db")));
        assert!(lazy.iter().flatten().any(|image| image == "- b"), "{lazy:?}");
        let images = images(Windows::new(events, |_, _| false));
        assert_eq!(images[0], [" -", "- -", "a -"]);
        assert_eq!(images[1], ["a ", "a -", "a b", "c ", "c -", "c b"]);
        assert_eq!(images[2], ["a -", "a b", "c -", "c b"]);
        assert_eq!(images[3], ["c -", "cd -"]);
    }

    #[test]
    fn a_write_over_two_sectors_may_be_torn_between_them() {
        let long = "x".repeat(1024);
        let mut windows = Windows::new(vec![written("db", 0, &long)], |_, _| false);
        let window = windows.advance().unwrap();
        let torn = window.all(&mut Dice::new(1)).into_iter().filter(|choice| choice.torn.is_some());
        let mut ends: Vec<bool> = torn.filter_map(|choice| choice.torn.map(|torn| torn.before)).collect();
        ends.sort_unstable();
        ends.dedup();
        assert_eq!(ends, [false, true]);
        assert!(windows.advance().is_none());
    }
}
