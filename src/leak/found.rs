//! One difference.

use crate::probe::children::Child;
use crate::probe::descriptors::Descriptor;
use crate::probe::item::Item;
use crate::probe::threads::Thread;

/// One difference: what it is for a program, and what it is for a person.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    pub(crate) raw: Raw,
    pub(crate) item: Item,
    /// True for what our own registry knows, whoever else runs in this process.
    pub(crate) is_registered: bool,
}

/// What it is known again by.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Raw {
    Descriptor(Descriptor),
    Thread(Thread),
    Child(Child),
    /// Known by what it is called.
    Named,
}
