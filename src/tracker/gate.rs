//! The places of a test's sessions: so many under creation at once, so many alive at once, in the order of asking.
//!
//! ```text
//!  enter ──in line──► Creating ──answered──► Place, until the session is out of the books
//! ```

use crate::limits::Limits;
use crate::watched::Watched;
use std::collections::VecDeque;
use std::sync::Arc;

/// Shared by all helpers of a test.
pub(crate) struct Gate {
    pub(crate) max_sessions: Option<usize>,
    max_creations: Option<usize>,
    state: Watched<State>,
}

#[derive(Default)]
struct State {
    sessions: usize,
    creations: usize,
    /// Those who wait, the first one first.
    line: VecDeque<u64>,
    next: u64,
}

impl Gate {
    pub(crate) fn of(limits: &Limits) -> Arc<Self> {
        let state = Watched::new(State::default());
        Arc::new(Self { max_sessions: limits.sessions, max_creations: limits.creations, state })
    }

    /// How many have a place.
    pub(crate) fn sessions(&self) -> usize {
        self.state.peek(|state| state.sessions)
    }

    /// Waits in line for both places. Whoever comes later waits behind, also if there were room: else many who come and go would
    /// keep one waiting for ever.
    pub(crate) async fn enter(self: &Arc<Self>) -> (Creating, Place) {
        let number = self.state.update(|state| {
            state.next += 1;
            state.line.push_back(state.next);
            state.next
        });
        let waiting = InLine { gate: self, number };
        let has_room = |now: usize, most: Option<usize>| most.is_none_or(|most| now < most);
        self.state
            .wait(|state| {
                let is_next = state.line.front() == Some(&number)
                    && has_room(state.sessions, self.max_sessions)
                    && has_room(state.creations, self.max_creations);
                is_next.then(|| {
                    state.sessions += 1;
                    state.creations += 1;
                })
            })
            .await;
        let places = (Creating { gate: Arc::clone(self) }, Place { gate: Arc::clone(self) });
        // For whoever is behind.
        drop(waiting);
        places
    }
}

/// Leaves the line, also when nobody waits for it any more.
struct InLine<'a> {
    gate: &'a Gate,
    number: u64,
}

impl Drop for InLine<'_> {
    fn drop(&mut self) {
        self.gate.state.update(|state| state.line.retain(|number| *number != self.number));
    }
}

/// A place among those under creation, until it is dropped.
pub(crate) struct Creating {
    gate: Arc<Gate>,
}

impl Drop for Creating {
    fn drop(&mut self) {
        self.gate.state.update(|state| state.creations -= 1);
    }
}

/// A place among the sessions, until it is dropped.
pub(crate) struct Place {
    gate: Arc<Gate>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.gate.state.update(|state| state.sessions -= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::park_on;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    fn poll<T>(future: std::pin::Pin<&mut impl Future<Output = T>>) -> Option<T> {
        match future.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(value) => Some(value),
            Poll::Pending => None,
        }
    }

    #[test]
    fn places_are_given_in_the_order_of_asking_and_one_who_leaves_holds_nobody_up() {
        let gate = Gate::of(&Limits::new().max_sessions(1));
        let held = park_on(gate.enter());
        let (mut first, mut third) = (pin!(gate.enter()), pin!(gate.enter()));
        assert!(poll(first.as_mut()).is_none());
        {
            let mut second = pin!(gate.enter());
            assert!(poll(second.as_mut()).is_none());
            assert!(poll(third.as_mut()).is_none());
        }
        drop(held);
        // It has room, and is not the next.
        assert!(poll(third.as_mut()).is_none());
        let held = poll(first.as_mut()).unwrap();
        assert!(poll(third.as_mut()).is_none());
        drop(held);
        assert!(poll(third.as_mut()).is_some());
        assert_eq!(gate.sessions(), 0);
    }

    #[test]
    fn a_creation_that_is_over_makes_room_for_the_next_though_its_session_lives() {
        let gate = Gate::of(&Limits::new().max_creations(1).max_sessions(2));
        let (creating, _first) = park_on(gate.enter());
        let mut next = pin!(gate.enter());
        assert!(poll(next.as_mut()).is_none());
        drop(creating);
        let (creating, _second) = poll(next.as_mut()).unwrap();
        drop(creating);
        let mut third = pin!(gate.enter());
        assert!(poll(third.as_mut()).is_none());
        assert_eq!(gate.sessions(), 2);
    }

    /// On many threads, each of which is woken by whoever leaves.
    #[test]
    fn there_are_never_more_than_the_limit_and_all_come_in() {
        use std::sync::atomic::{AtomicUsize, Ordering};
        let gate = Gate::of(&Limits::new().max_sessions(3).max_creations(2));
        let (inside, came) = (AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|threads| {
            for _ in 0..20 {
                threads.spawn(|| {
                    for _ in 0..20 {
                        let (creating, place) = park_on(gate.enter());
                        assert!(inside.fetch_add(1, Ordering::SeqCst) < 3);
                        drop(creating);
                        inside.fetch_sub(1, Ordering::SeqCst);
                        drop(place);
                        came.fetch_add(1, Ordering::SeqCst);
                    }
                });
            }
        });
        assert_eq!((came.into_inner(), gate.sessions()), (400, 0));
    }
}
