//! The part of dashmap's interface that the crate uses: shards, each with a lock.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Deref;

use shuttle::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Few, so that keys share a shard. More than one, so that an iteration does not see all shards at
/// the same moment.
const SHARDS: usize = 2;

type Shard<K, V> = RwLock<Vec<(K, V)>>;

#[derive(Debug)]
pub struct DashMap<K, V> {
    shards: [Shard<K, V>; SHARDS],
}

impl<K, V> Default for DashMap<K, V> {
    fn default() -> Self {
        DashMap { shards: std::array::from_fn(|_| RwLock::new(Vec::new())) }
    }
}

impl<K: Hash + Eq, V> DashMap<K, V> {
    pub fn new() -> DashMap<K, V> {
        DashMap::default()
    }

    pub fn insert(&self, key: K, value: V) -> Option<V> {
        let mut shard = self.write(&key);
        match shard.iter_mut().find(|(other, _)| *other == key) {
            Some((_, before)) => Some(std::mem::replace(before, value)),
            None => {
                shard.push((key, value));
                None
            }
        }
    }

    pub fn remove(&self, key: &K) -> Option<(K, V)> {
        let mut shard = self.write(key);
        let place = shard.iter().position(|(other, _)| other == key)?;
        Some(shard.remove(place))
    }

    pub fn get<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> Option<Ref<'_, K, V>>
    where
        K: std::borrow::Borrow<Q>,
    {
        let shard = self.shards[place_of(key)].read().unwrap_or_else(PoisonError::into_inner);
        let place = shard.iter().position(|(other, _)| other.borrow() == key)?;
        Some(Ref { shard: Arc::new(shard), place })
    }

    pub fn entry(&self, key: K) -> mapref::entry::Entry<'_, K, V> {
        let shard = self.write(&key);
        match shard.iter().position(|(other, _)| *other == key) {
            Some(place) => mapref::entry::Entry::Occupied(mapref::entry::OccupiedEntry { shard, place }),
            None => mapref::entry::Entry::Vacant(mapref::entry::VacantEntry { shard, key }),
        }
    }

    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.read().unwrap_or_else(PoisonError::into_inner).len()).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Iterates over one shard after the other. Each is locked until its last reference is dropped.
    pub fn iter(&self) -> impl Iterator<Item = Ref<'_, K, V>> {
        self.shards.iter().flat_map(|shard| {
            let shard = Arc::new(shard.read().unwrap_or_else(PoisonError::into_inner));
            (0..shard.len()).map(move |place| Ref { shard: shard.clone(), place })
        })
    }

    fn write(&self, key: &K) -> RwLockWriteGuard<'_, Vec<(K, V)>> {
        self.shards[place_of(key)].write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The shard of a key. It is the same in every execution.
fn place_of<Q: Hash + ?Sized>(key: &Q) -> usize {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    usize::from(hasher.finish() % 2 == 1)
}

pub struct Ref<'a, K, V> {
    shard: Arc<RwLockReadGuard<'a, Vec<(K, V)>>>,
    place: usize,
}

impl<K, V> Ref<'_, K, V> {
    pub fn key(&self) -> &K {
        &self.shard[self.place].0
    }

    pub fn value(&self) -> &V {
        &self.shard[self.place].1
    }
}

impl<K, V> Deref for Ref<'_, K, V> {
    type Target = V;

    fn deref(&self) -> &V {
        self.value()
    }
}

pub mod mapref {
    pub mod entry {
        use std::ops::{Deref, DerefMut};

        use shuttle::sync::RwLockWriteGuard;

        pub enum Entry<'a, K, V> {
            Occupied(OccupiedEntry<'a, K, V>),
            Vacant(VacantEntry<'a, K, V>),
        }

        pub struct OccupiedEntry<'a, K, V> {
            pub(crate) shard: RwLockWriteGuard<'a, Vec<(K, V)>>,
            pub(crate) place: usize,
        }

        pub struct VacantEntry<'a, K, V> {
            pub(crate) shard: RwLockWriteGuard<'a, Vec<(K, V)>>,
            pub(crate) key: K,
        }

        impl<'a, K, V> Entry<'a, K, V> {
            pub fn or_insert(self, value: V) -> RefMut<'a, K, V> {
                match self {
                    Entry::Occupied(OccupiedEntry { shard, place }) => RefMut { shard, place },
                    Entry::Vacant(entry) => entry.insert(value),
                }
            }
        }

        impl<K, V> OccupiedEntry<'_, K, V> {
            pub fn get(&self) -> &V {
                &self.shard[self.place].1
            }

            pub fn get_mut(&mut self) -> &mut V {
                &mut self.shard[self.place].1
            }

            pub fn remove(mut self) -> V {
                self.shard.remove(self.place).1
            }
        }

        impl<'a, K, V> VacantEntry<'a, K, V> {
            pub fn key(&self) -> &K {
                &self.key
            }

            pub fn insert(self, value: V) -> RefMut<'a, K, V> {
                let VacantEntry { mut shard, key } = self;
                shard.push((key, value));
                let place = shard.len() - 1;
                RefMut { shard, place }
            }
        }

        pub struct RefMut<'a, K, V> {
            shard: RwLockWriteGuard<'a, Vec<(K, V)>>,
            place: usize,
        }

        impl<K, V> Deref for RefMut<'_, K, V> {
            type Target = V;

            fn deref(&self) -> &V {
                &self.shard[self.place].1
            }
        }

        impl<K, V> DerefMut for RefMut<'_, K, V> {
            fn deref_mut(&mut self) -> &mut V {
                &mut self.shard[self.place].1
            }
        }
    }
}
