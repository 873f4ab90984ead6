//! One difference.

use crate::probe::children::Child;
use crate::probe::descriptors::Descriptor;
use crate::probe::item::Item;
use crate::probe::origins::OriginId;
use crate::probe::threads::Thread;

/// One difference: what it is for a program, and what it is for a person.
#[derive(Debug, Clone)]
pub(crate) struct Difference {
    pub(crate) identity: Identity,
    pub(crate) item: Item,
    /// True for what our own books know, whoever else runs in this process.
    pub(crate) is_booked: bool,
}

/// What it is known again by.
#[derive(Debug, Clone)]
pub(crate) enum Identity {
    Descriptor(Descriptor),
    Thread(Thread),
    Child(Child),
    /// A session, by its number in our own book.
    Session(OriginId),
    /// Of our own books, which say when it is gone.
    Booked,
}
