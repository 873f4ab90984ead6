//! A corpus of leaks and of what looks like one: a few lines each, with where it comes from and what must be said of it.
//!
//! ```text
//!  leaking_… , clean_…   the cases           scene   what a body is given, and what it keeps
//!  child                 one case in a process of its own: by our checks, or by the counts that people take
//!  allocator             of that process: by which source its memory is known
//! ```
//!
//! The test `corpus` asserts each verdict; the bench `accuracy` counts how many are right, over and over and on a busy
//! machine, and puts beside them what other tools say.

use allocator::Source;
use scene::Scene;
use std::fmt;
use std::pin::Pin;
use termleash::leak::{Gauge, Kind};

pub(crate) mod allocator;
pub(crate) mod child;
mod clean_bytes;
mod clean_descriptors;
mod clean_rounds;
mod clean_work;
mod leaking_bytes;
mod leaking_descriptors;
mod leaking_rounds;
mod leaking_work;
mod scene;

/// One case.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// The number of a trap, or the bug as it is found in real projects.
    pub(crate) from: &'static str,
    pub(crate) expected: Expected,
    /// The same where memory is known by a `CountingAlloc`.
    counted: Expected,
    pub(crate) setting: Setting,
    pub(crate) body: Body,
}

/// What must be said of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expected {
    /// Leaked, with an item of this kind.
    Leaks(Kind),
    /// Closed and replaced, by an item of this kind.
    Replaced(Kind),
    /// Leaked, by this series.
    Grows(Gauge),
    /// This series grows, and passes, since it is not known whose that is.
    Told(Gauge),
    /// It passes, and is not called clean.
    Undecided,
    /// Nothing, or nothing that stays. Of rounds: nothing that fails.
    Clean,
    /// An item of this kind that passes, since it may be another test's.
    Suspicious(Kind),
}

/// What is said to the check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Setting {
    /// On the process's first thread, where nothing else runs.
    Alone,
    /// On another thread, where other tests may run beside it.
    Shared,
    /// Alone, and anonymous files are told apart.
    Paranoid,
}

pub(crate) type Future<'a> = Pin<Box<dyn std::future::Future<Output = ()> + 'a>>;
pub(crate) type Round = Box<dyn FnMut(usize) -> Future<'static>>;

/// What happens between two looks.
pub(crate) enum Body {
    /// Once, outside of a runtime.
    Once(fn(&mut Scene)),
    /// Once, in a runtime that is there before and after, as in `#[tokio::test]`.
    Task(for<'a> fn(&'a mut Scene) -> Future<'a>),
    /// Again and again, in such a runtime; what the closure has captured lives as long as the hunt.
    Rounds(fn() -> Round),
    /// The same, and each round leaks so many bytes, or somewhat more.
    Bytes(fn(usize) -> Round),
}

/// What a case leaks in a round that is not told how much: what all of its kind are to be found at.
pub(crate) const USUAL_BYTES: usize = 4096;

impl Case {
    const fn new(name: &'static str, from: &'static str, expected: Expected, body: Body) -> Self {
        Self { name, from, expected, counted: expected, setting: Setting::Alone, body }
    }

    const fn leaks(name: &'static str, from: &'static str, kind: Kind, body: Body) -> Self {
        Self::new(name, from, Expected::Leaks(kind), body)
    }

    const fn grows(name: &'static str, from: &'static str, gauge: Gauge, rounds: fn() -> Round) -> Self {
        Self::new(name, from, Expected::Grows(gauge), Body::Rounds(rounds))
    }

    const fn bytes(name: &'static str, from: &'static str, rounds: fn(usize) -> Round) -> Self {
        Self::new(name, from, Expected::Grows(Gauge::Heap), Body::Bytes(rounds))
    }

    const fn told(name: &'static str, from: &'static str, rounds: fn(usize) -> Round) -> Self {
        Self::new(name, from, Expected::Told(Gauge::Resident), Body::Bytes(rounds))
    }

    const fn undecided(name: &'static str, from: &'static str, rounds: fn(usize) -> Round) -> Self {
        Self::new(name, from, Expected::Undecided, Body::Bytes(rounds))
    }

    const fn clean(name: &'static str, from: &'static str, body: Body) -> Self {
        Self::new(name, from, Expected::Clean, body)
    }

    const fn in_setting(mut self, setting: Setting) -> Self {
        self.setting = setting;
        self
    }

    const fn counted_as(mut self, expected: Expected) -> Self {
        self.counted = expected;
        self
    }

    /// What must be said of it where memory is known by that.
    pub(crate) fn expected_by(&self, source: Source) -> Expected {
        match (source, self.expected) {
            (Source::Malloc, expected) => expected,
            (Source::Counted, _) => self.counted,
            // All that is written to is seen, page by page.
            (Source::Private, Expected::Grows(Gauge::Heap) | Expected::Told(_) | Expected::Undecided) => {
                Expected::Grows(Gauge::Resident)
            }
            (Source::Private, expected) => expected,
        }
    }

    pub(crate) fn is_leak(&self) -> bool {
        matches!(self.expected, Expected::Leaks(_) | Expected::Replaced(_) | Expected::Grows(_))
    }

    /// True for what is counted, and false for bytes, which rounds can only estimate.
    pub(crate) fn is_exact(&self) -> bool {
        !matches!(self.expected, Expected::Grows(Gauge::Heap | Gauge::Resident))
    }

    pub(crate) fn is_hunt(&self) -> bool {
        matches!(self.body, Body::Rounds(_) | Body::Bytes(_))
    }

    /// True if it can leak any number of bytes in a round.
    pub(crate) fn is_of_bytes(&self) -> bool {
        self.is_leak() && matches!(self.body, Body::Bytes(_))
    }

    /// True if it is about memory, and so about where that is known from.
    pub(crate) fn is_about_memory(&self) -> bool {
        let is_clean = || clean_bytes::CASES.iter().any(|case| case.name == self.name);
        matches!(self.body, Body::Bytes(_)) || is_clean()
    }

    /// As a test's name.
    pub(crate) fn path(&self) -> String {
        format!("{}::{}", if self.is_leak() { "leaks" } else { "clean" }, self.name)
    }
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Leaks(kind) => write!(f, "leaks: {kind}"),
            Self::Replaced(kind) => write!(f, "replaced by: {kind}"),
            Self::Grows(gauge) => write!(f, "grows: {gauge}"),
            Self::Told(gauge) => write!(f, "told: {gauge}"),
            Self::Undecided => f.write_str("undecided"),
            Self::Clean => f.write_str("clean"),
            Self::Suspicious(kind) => write!(f, "suspicious: {kind}"),
        }
    }
}

/// All of them, what leaks first.
pub(crate) fn all() -> impl Iterator<Item = &'static Case> {
    let leaking = [leaking_descriptors::CASES, leaking_work::CASES, leaking_rounds::CASES, leaking_bytes::CASES];
    let clean = [clean_descriptors::CASES, clean_work::CASES, clean_rounds::CASES, clean_bytes::CASES];
    leaking.into_iter().chain(clean).flatten()
}
