//! Objects that a test says must be gone at its end: managers, services, whatever once kept sessions alive.

use crate::probe::item::{Item, Kind};
use parking_lot::Mutex;
use std::any::type_name;
use std::fmt;
use std::panic::Location;
use std::sync::{Arc, Weak};

/// Objects that must be dropped by the end of a check; only weak references are kept, so it keeps nothing alive itself.
#[derive(Default)]
pub(crate) struct MustDrop {
    watched: Mutex<Vec<Watch>>,
}

struct Watch {
    type_name: &'static str,
    made_at: &'static Location<'static>,
    strong_count: Box<dyn Fn() -> usize + Send + Sync>,
}

impl MustDrop {
    /// Registers an object.
    pub(crate) fn add<T: ?Sized + Send + Sync + 'static>(&self, object: &Arc<T>, made_at: &'static Location<'static>) {
        let weak: Weak<T> = Arc::downgrade(object);
        let strong_count = Box::new(move || weak.strong_count());
        self.watched.lock().push(Watch { type_name: type_name::<T>(), made_at, strong_count });
    }

    /// Those that are still referenced.
    pub(crate) fn alive(&self) -> Vec<Item> {
        let watched = self.watched.lock();
        let alive = watched.iter().filter_map(|watch| {
            let count = (watch.strong_count)();
            let item = || {
                let mut item = Item::new(Kind::Reference, watch.type_name, None);
                item.state = Some(format!("{count} strong reference{}", if count == 1 { "" } else { "s" }));
                item.made_at = Some(watch.made_at.to_string());
                item
            };
            (count > 0).then(item)
        });
        alive.collect()
    }

    /// Those that are alive are told; they are not told again.
    pub(crate) fn forget(&self) {
        self.watched.lock().clear();
    }
}

impl fmt::Debug for MustDrop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MustDrop").field("watched", &self.watched.lock().len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_referenced_is_named_with_its_count_and_what_is_dropped_is_not() {
        let list = MustDrop::default();
        let (one, other) = (Arc::new(1u8), Arc::new(String::new()));
        list.add(&one, Location::caller());
        list.add(&other, Location::caller());
        let second = Arc::clone(&other);
        drop((one, other));
        let alive = list.alive();
        let [item] = &alive[..] else { panic!("{alive:?}") };
        assert_eq!((item.name.as_str(), item.state.as_deref()), ("alloc::string::String", Some("1 strong reference")));
        assert!(item.made_at.as_ref().is_some_and(|place| place.contains("references.rs")));
        drop(second);
        assert!(list.alive().is_empty());
    }
}
