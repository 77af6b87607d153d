use std::task::{Context, Poll};

use super::listener::{Events, Listener, ListenerId, Rank};
use super::output::BoxError;
use super::panics::drop_each;

/// The listeners of an object that one task owns.
///
/// Only that task calls the listeners, so they may be `FnMut` and need no lock. Other threads send
/// a [`Change`] of the table. The owner applies it before an emission, so that the emission has a
/// snapshot.
pub(crate) struct Table<E: Events> {
    /// The listeners by event, and those of one event in the order of their calls.
    entries: Vec<Entry<E>>,
    /// A bit for each event that has listeners.
    present: u16,
    /// A bit for each event with `once` listeners.
    once: u16,
    /// A bit for each of the frequent events whose only listener is synchronous, and not `once`, if the
    /// event that follows has no listener.
    simple: u16,
    /// The index of the first listener of each of the first events, which are the frequent ones. It
    /// is lower if the index exceeds a byte.
    starts: [u8; 2],
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

/// A change of a table that other threads request.
pub(crate) enum Change<E: Events> {
    /// Add a listener.
    Add(Entry<E>),
    /// Remove a listener.
    Remove(ListenerId),
    /// Remove the listeners of one event, or of all events.
    RemoveAll(Option<u8>),
}

/// The progress of an emission.
pub(crate) enum Emission {
    /// All listeners have been called.
    Done,
    /// The listener at this index is pending. [`poll`](Table::poll) it to its end, then continue
    /// after it.
    Started(usize),
    /// A listener returned an error. As after an exception, the listeners after it were not called.
    Failed(BoxError),
}

impl<E: Events> Default for Table<E> {
    fn default() -> Self {
        Table { entries: Vec::new(), present: 0, once: 0, simple: 0, starts: [0; 2] }
    }
}

impl<E: Events> Drop for Table<E> {
    fn drop(&mut self) {
        drop_each(self.entries.drain(..));
    }
}

impl<E: Events> Table<E> {
    /// Whether the event has listeners.
    #[inline]
    pub(crate) fn listens_to(&self, event: u8) -> bool {
        self.present & 1 << event != 0
    }

    /// Applies changes of other threads.
    pub(crate) fn apply_all(&mut self, changes: Vec<Change<E>>) {
        // Few connections have more than a handful of listeners, so no spare room is allocated.
        self.entries.reserve_exact(changes.len());
        changes.into_iter().for_each(|change| self.apply(change));
    }

    /// Applies one change.
    pub(crate) fn apply(&mut self, change: Change<E>) {
        match change {
            Change::Add(entry) => {
                let order = |entry: &Entry<E>| (entry.id.event, entry.rank);
                let place = self.entries.partition_point(|other| order(other) <= order(&entry));
                self.entries.insert(place, entry);
                self.note_events();
            }
            Change::Remove(id) => self.retain(|entry| entry.id != id),
            Change::RemoveAll(event) => {
                self.retain(|entry| entry.rank == Rank::Last || event.is_some_and(|event| event != entry.id.event));
            }
        }
    }

    /// Calls the listeners of `event` from the index `place` on, with 0 for all.
    #[inline(always)]
    pub(crate) fn emit(&mut self, event: u8, place: usize, subject: &E::Subject, args: &E::Args<'_>) -> Emission {
        let start = self.starts.get(usize::from(event)).map_or(0, |start| usize::from(*start));
        let mut place = place.max(start);
        while let Some(entry) = self.entries.get_mut(place).filter(|entry| entry.id.event <= event) {
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

    /// Calls the listener of a frequent event whose only listener is synchronous, and not `once`. `None`
    /// for other events, and if the event that follows has listeners: [`emit`](Table::emit) them.
    #[inline(always)]
    pub(crate) fn call_simple(
        &mut self,
        event: u8,
        subject: &E::Subject,
        args: &E::Args<'_>,
    ) -> Option<Result<(), BoxError>> {
        if self.simple & 1 << event == 0 {
            return None;
        }
        let entry = self.entries.get_mut(usize::from(*self.starts.get(usize::from(event))?))?;
        Some(entry.listener.call(subject, args))
    }

    /// Returns whether an event has `once` listeners. [Remove](Table::remove_once) them after its
    /// emission.
    #[inline]
    pub(crate) fn has_once(&self, event: u8) -> bool {
        self.once & 1 << event != 0
    }

    /// Removes the `once` listeners of an event, and returns their ids.
    pub(crate) fn remove_once(&mut self, event: u8) -> Vec<ListenerId> {
        let is_over = |entry: &Entry<E>| entry.id.event == event && entry.rank == Rank::Once;
        let over = self.entries.iter().filter(|entry| is_over(entry)).map(|entry| entry.id).collect();
        self.retain(|entry| !is_over(entry));
        over
    }

    /// Returns the index of the first listener of `event` at or after `place`, for emissions that
    /// continue after an error.
    pub(crate) fn place_of(&self, event: u8, place: usize) -> Option<usize> {
        (place..self.entries.len()).find(|place| self.entries.get(*place).is_some_and(|entry| entry.id.event == event))
    }

    /// Calls only the listener at `place`, and polls it once if it is asynchronous.
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

    /// Continues the listener at `place`, which has [`Started`](Emission::Started).
    pub(crate) fn poll(&mut self, place: usize, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        match self.entries.get_mut(place) {
            Some(entry) => entry.listener.poll(cx),
            None => Poll::Ready(Ok(())),
        }
    }

    fn retain(&mut self, keep: impl Fn(&Entry<E>) -> bool) {
        let gone: Vec<_> = self.entries.extract_if(.., |entry| !keep(entry)).collect();
        self.note_events();
        drop_each(gone);
    }

    fn note_events(&mut self) {
        let mut single = 0;
        (self.present, self.once) = (0, 0);
        for Entry { id, rank, .. } in &self.entries {
            let event = 1 << id.event;
            single = (single | event) & !(self.present & event);
            self.present |= event;
            self.once |= u16::from(*rank == Rank::Once) << id.event;
        }
        self.simple = 0;
        let is_followed = E::FOLLOWER.is_some_and(|event| self.listens_to(event));
        for (event, start) in (0..).zip(&mut self.starts) {
            let place = self.entries.partition_point(|entry| entry.id.event < event);
            *start = u8::try_from(place).unwrap_or(u8::MAX);
            let is_simple =
                usize::from(*start) == place && self.entries.get(place).is_some_and(|entry| !entry.is_asynchronous);
            self.simple |= u16::from(is_simple && !is_followed) << event & single & !self.once;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::super::listener::Synchronous;
    use super::*;

    struct Numbers;
    impl Events for Numbers {
        type Subject = ();
        type Args<'a> = &'a str;
        const FOLLOWER: Option<u8> = Some(7);
    }

    /// A table whose listeners tell their numbers.
    struct Told {
        table: Table<Numbers>,
        tell: Sender<u32>,
        told: Receiver<u32>,
    }

    impl Told {
        fn new() -> Told {
            let (tell, told) = channel();
            Told { table: Table::default(), tell, told }
        }

        fn add(&mut self, event: u8, rank: Rank, number: u32) {
            let tell = self.tell.clone();
            let listener = Synchronous(move |(): &(), _: &str| Ok(tell.send(number)?));
            self.table.apply(Change::Add(Entry::new(ListenerId::of(event, number.into()), rank, Box::new(listener))));
        }

        fn emit(&mut self, event: u8) -> Vec<u32> {
            assert!(matches!(self.table.emit(event, 0, &(), &"hi"), Emission::Done));
            self.told.try_iter().collect()
        }
    }

    #[test]
    fn an_event_calls_its_own_listeners_in_order_whatever_came_between_them() {
        let mut told = Told::new();
        for (number, event) in [8, 1, 0, 8, 1, 2, 0, 1].into_iter().enumerate() {
            told.add(event, Rank::On, number as u32);
        }
        told.add(1, Rank::Last, 100);
        told.add(1, Rank::Once, 50);
        told.add(1, Rank::On, 8);
        let all: Vec<_> = (0..=8).map(|event| told.emit(event)).collect();
        let none = Vec::new;
        assert_eq!(
            all,
            [vec![2, 6], vec![1, 4, 7, 8, 50, 100], vec![5], none(), none(), none(), none(), none(), vec![0, 3]]
        );
        assert_eq!(told.table.remove_once(1), [ListenerId::of(1, 50)]);
        told.table.apply(Change::Remove(ListenerId::of(1, 4)));
        assert_eq!(told.emit(1), [1, 7, 8, 100]);
        told.table.apply(Change::RemoveAll(None));
        assert_eq!((told.emit(1), told.emit(0)), (vec![100], vec![]), "the crate's own stay");
        assert!(told.table.listens_to(1) && !told.table.listens_to(0));
    }

    #[test]
    fn a_simple_listener_is_the_only_one_and_none_that_is_removed_after_its_call() {
        let mut told = Told::new();
        let called = |told: &mut Told, event| {
            let is_simple = told.table.call_simple(event, &(), &"hi").is_some();
            let simple: Vec<_> = told.told.try_iter().collect();
            if is_simple {
                assert_eq!(told.emit(event), simple, "both ways call the same listeners");
            }
            is_simple.then_some(simple)
        };
        assert_eq!(called(&mut told, 0), None, "there is none");
        told.add(0, Rank::On, 1);
        told.add(1, Rank::On, 2);
        told.add(2, Rank::On, 3);
        assert_eq!((called(&mut told, 0), called(&mut told, 1)), (Some(vec![1]), Some(vec![2])));
        assert_eq!(called(&mut told, 2), None, "not one of the frequent events");
        told.add(7, Rank::On, 9);
        assert_eq!(called(&mut told, 0), None, "another event follows");
        told.table.apply(Change::Remove(ListenerId::of(7, 9)));
        told.add(0, Rank::On, 4);
        told.add(1, Rank::Once, 5);
        assert_eq!((called(&mut told, 0), called(&mut told, 1)), (None, None), "several");
        told.table.apply(Change::Remove(ListenerId::of(0, 1)));
        told.table.apply(Change::Remove(ListenerId::of(1, 2)));
        assert_eq!((called(&mut told, 0), called(&mut told, 1)), (Some(vec![4]), None), "once");
        (0..300).for_each(|number| told.add(0, Rank::On, number));
        told.table.remove_once(1);
        told.add(1, Rank::On, 6);
        assert_eq!(called(&mut told, 1), None, "its index exceeds a byte");
        assert_eq!(told.emit(1), [6]);
    }

    #[test]
    fn listeners_are_found_however_many_there_are() {
        let mut told = Told::new();
        told.add(1, Rank::On, 1000);
        (0..600).for_each(|number| told.add(0, Rank::On, number));
        told.add(2, Rank::On, 2000);
        assert_eq!(told.emit(0).len(), 600);
        assert_eq!((told.emit(1), told.emit(2)), (vec![1000], vec![2000]));
        (1..600u64).for_each(|number| told.table.apply(Change::Remove(ListenerId::of(0, number))));
        assert_eq!((told.emit(0), told.emit(1), told.emit(2)), (vec![0], vec![1000], vec![2000]));
    }
}
