//! Who holds the two sides of a pseudo-terminal: what a report adds to one that was left open.
//!
//! A pty lives for as long as *anybody* holds its master, and its reader waits for as long as anybody holds its slave; a
//! server whose masters lack close-on-exec hands them to each program that it starts.

use crate::probe::item::{Item, Kind};
use crate::process::scan::{self, Side};

/// Adds to each pty who else holds its program's side. For what a report names only: it reads the descriptors of every
/// process that we may look into.
pub(crate) fn name_holders(items: &mut [&mut Item]) {
    let mut ptys: Vec<(&mut Item, Vec<u8>)> = Vec::new();
    for item in items {
        ptys.extend(slave(item).map(|path| (&mut **item, path)));
    }
    if ptys.is_empty() {
        return;
    }
    let paths: Vec<Vec<u8>> = ptys.iter().map(|(_, path)| path.clone()).collect();
    // Without /proc the report says so elsewhere.
    let Ok(holders) = scan::holders_of(&paths) else { return };
    let of_side = holders.iter().filter(|(_, side, _)| *side == Side::Program);
    for (index, (item, path)) in ptys.iter_mut().enumerate() {
        let path = String::from_utf8_lossy(path).into_owned();
        let of: Vec<String> =
            of_side.clone().filter(|(held, ..)| *held == index).map(|(_, _, process)| process.to_string()).collect();
        item.notes.push(match of.is_empty() {
            true => format!("no other process has {path} open"),
            false => format!("{path} is open in {}", of.join(", ")),
        });
    }
}

/// The path of a pty's program side.
fn slave(item: &Item) -> Option<Vec<u8>> {
    let which = item.which.as_deref()?;
    match item.kind {
        Kind::PtyMaster => which.strip_prefix("of ").map(|path| path.as_bytes().to_vec()),
        Kind::PtySlave => Some(which.as_bytes().to_vec()),
        _ => None,
    }
}
