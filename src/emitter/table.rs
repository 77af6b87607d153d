use std::task::{Context, Poll};

use super::listener::{BoxError, Events, Listener, ListenerId, Rank};

/// The listeners of an object that one task owns.
///
/// Only that task calls them, so they may be `FnMut` and need no lock. Others change the table by mail, see
/// [`Change`]; the owner applies it before it emits, so that an emission works on a snapshot.
pub(crate) struct Table<E: Events> {
    /// In the order of their calls.
    entries: Vec<Entry<E>>,
    /// A bit for each event that has listeners.
    present: u32,
    /// A bit for each event that has listeners for once.
    once: u32,
}

/// One registered listener.
pub(crate) struct Entry<E: Events> {
    pub(crate) id: ListenerId,
    pub(crate) rank: Rank,
    is_asynchronous: bool,
    listener: Box<dyn Listener<E>>,
}

impl<E: Events> Entry<E> {
    pub(crate) fn new(id: ListenerId, rank: Rank, listener: Box<dyn Listener<E>>) -> Entry<E> {
        Entry { id, rank, is_asynchronous: listener.is_asynchronous(), listener }
    }
}

/// What others want of a table.
pub(crate) enum Change<E: Events> {
    /// Add a listener.
    Add(Entry<E>),
    /// Remove one.
    Remove(ListenerId),
    /// Remove those of an event, or all.
    RemoveAll(Option<u8>),
}

/// How far an emission came.
pub(crate) enum Emission {
    /// All listeners have been called.
    Done,
    /// The listener at this place has begun: [`poll`](Table::poll) it to its end, then go on after it.
    Started(usize),
    /// A listener returned an error; those after it were not called, as after an exception.
    Failed(BoxError),
}

impl<E: Events> Default for Table<E> {
    fn default() -> Self {
        Table { entries: Vec::new(), present: 0, once: 0 }
    }
}

impl<E: Events> Table<E> {
    /// Whether anybody listens.
    #[inline]
    pub(crate) fn listens_to(&self, event: u8) -> bool {
        self.present & 1 << event != 0
    }

    /// Applies changes that came by mail.
    pub(crate) fn apply_all(&mut self, changes: Vec<Change<E>>) {
        // Few connections have more than a handful of listeners: room for each, none to spare.
        self.entries.reserve_exact(changes.len());
        changes.into_iter().for_each(|change| self.apply(change));
    }

    /// Applies one change.
    pub(crate) fn apply(&mut self, change: Change<E>) {
        match change {
            Change::Add(entry) => {
                let place = self.entries.partition_point(|other| other.rank <= entry.rank);
                self.entries.insert(place, entry);
                self.note_events();
            }
            Change::Remove(id) => self.retain(|entry| entry.id != id),
            Change::RemoveAll(event) => {
                self.retain(|entry| entry.rank == Rank::Last || event.is_some_and(|event| event != entry.id.event));
            }
        }
    }

    /// Calls the listeners of `event`, from the one at `place` on (0 for all).
    #[inline(always)]
    pub(crate) fn emit(&mut self, event: u8, place: usize, subject: &E::Subject, args: &E::Args<'_>) -> Emission {
        let mut place = place;
        while let Some(entry) = self.entries.get_mut(place) {
            if entry.id.event == event {
                if let Err(error) = entry.listener.call(subject, args) {
                    return Emission::Failed(error);
                }
                if entry.is_asynchronous {
                    return Emission::Started(place);
                }
            }
            place += 1;
        }
        Emission::Done
    }

    /// Whether an event has listeners for once, which are to be [removed](Table::remove_once) when it has been emitted.
    #[inline]
    pub(crate) fn has_once(&self, event: u8) -> bool {
        self.once & 1 << event != 0
    }

    /// Removes those for once, and tells which they were.
    pub(crate) fn remove_once(&mut self, event: u8) -> Vec<ListenerId> {
        let is_over = |entry: &Entry<E>| entry.id.event == event && entry.rank == Rank::Once;
        let over = self.entries.iter().filter(|entry| is_over(entry)).map(|entry| entry.id).collect();
        self.retain(|entry| !is_over(entry));
        over
    }

    /// Where the first listener of `event` at or after `place` stands, for emissions that go on whatever a listener does.
    pub(crate) fn place_of(&self, event: u8, place: usize) -> Option<usize> {
        (place..self.entries.len()).find(|place| self.entries.get(*place).is_some_and(|entry| entry.id.event == event))
    }

    /// Calls the one listener at `place`, and polls it once if it is asynchronous.
    pub(crate) fn call(
        &mut self,
        place: usize,
        subject: &E::Subject,
        args: &E::Args<'_>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), BoxError>> {
        let Some(entry) = self.entries.get_mut(place) else { return Poll::Ready(Ok(())) };
        entry.listener.call(subject, args)?;
        if entry.is_asynchronous { entry.listener.poll(cx) } else { Poll::Ready(Ok(())) }
    }

    /// Goes on with the listener at `place`, which has [`Started`](Emission::Started).
    pub(crate) fn poll(&mut self, place: usize, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        match self.entries.get_mut(place) {
            Some(entry) => entry.listener.poll(cx),
            None => Poll::Ready(Ok(())),
        }
    }

    fn retain(&mut self, keep: impl FnMut(&Entry<E>) -> bool) {
        self.entries.retain(keep);
        self.note_events();
    }

    fn note_events(&mut self) {
        (self.present, self.once) = (0, 0);
        for Entry { id, rank, .. } in &self.entries {
            self.present |= 1 << id.event;
            self.once |= u32::from(*rank == Rank::Once) << id.event;
        }
    }
}
