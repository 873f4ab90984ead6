//! A corpus of leaks and of what looks like one: a few lines each, with where it comes from and what must be said of it.
//!
//! ```text
//!  leaking_… , clean_…   the cases           scene   what a body is given, and what it keeps
//!  child                 one case in a process of its own: by our checks, or by the counts that people take
//! ```
//!
//! The test `corpus` asserts each verdict; the bench `accuracy` counts how many are right, over and over and on a busy
//! machine, and puts beside them what other tools say.

use scene::Scene;
use std::fmt;
use std::pin::Pin;
use termleash::leak::{Gauge, Kind};

pub(crate) mod child;
mod clean_descriptors;
mod clean_rounds;
mod clean_work;
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
}

impl Case {
    const fn new(name: &'static str, from: &'static str, expected: Expected, body: Body) -> Self {
        Self { name, from, expected, setting: Setting::Alone, body }
    }

    const fn leaks(name: &'static str, from: &'static str, kind: Kind, body: Body) -> Self {
        Self::new(name, from, Expected::Leaks(kind), body)
    }

    const fn grows(name: &'static str, from: &'static str, gauge: Gauge, rounds: fn() -> Round) -> Self {
        Self::new(name, from, Expected::Grows(gauge), Body::Rounds(rounds))
    }

    const fn clean(name: &'static str, from: &'static str, body: Body) -> Self {
        Self::new(name, from, Expected::Clean, body)
    }

    const fn in_setting(mut self, setting: Setting) -> Self {
        self.setting = setting;
        self
    }

    pub(crate) fn is_leak(&self) -> bool {
        matches!(self.expected, Expected::Leaks(_) | Expected::Replaced(_) | Expected::Grows(_))
    }

    /// True for what is counted, and false for bytes, which rounds can only estimate.
    pub(crate) fn is_exact(&self) -> bool {
        !matches!(self.expected, Expected::Grows(Gauge::Heap | Gauge::Resident))
    }

    pub(crate) fn is_hunt(&self) -> bool {
        matches!(self.body, Body::Rounds(_))
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
            Self::Clean => f.write_str("clean"),
            Self::Suspicious(kind) => write!(f, "suspicious: {kind}"),
        }
    }
}

/// All of them, what leaks first.
pub(crate) fn all() -> impl Iterator<Item = &'static Case> {
    let leaking = [leaking_descriptors::CASES, leaking_work::CASES, leaking_rounds::CASES];
    let clean = [clean_descriptors::CASES, clean_work::CASES, clean_rounds::CASES];
    leaking.into_iter().chain(clean).flatten()
}
