//! What a run may have lost: processes without a mark that came to be during it, and whose parent is dead.
//!
//! With its keeper alive such a process is the keeper's child, and ended. Without, it is a child of process 1 or of
//! another ancestor, as anybody's orphan, and can only be named.

use crate::process::handle::{ProcessHandle, reader};
use crate::process::identity::{OurSelf, Ticks};
use crate::process::policy::Suspect;
use crate::process::rule::Refusal;
use crate::process::summary::ProcessSummary;
use crate::process::tree::{self, Tree};

/// More are not named: on a busy machine most are others'.
const MOST: usize = 10;

/// Those of our own user that started between the two moments.
pub(crate) fn suspects(since: Ticks, until: Ticks) -> Vec<Suspect> {
    find(since, until).unwrap_or_default()
}

fn find(since: Ticks, until: Ticks) -> Option<Vec<Suspect>> {
    let mut reader = reader().ok()?;
    let ourself = OurSelf::get().ok()?;
    // Those above our parent adopt orphans, if anybody does; our parent has children of its own all the time.
    let above = tree::ancestors(&mut reader, ourself.pid).into_iter().skip(1).filter(|pid| *pid != 1);
    let adopters: Vec<u32> = above.chain([1]).collect();
    let all = Tree::read(&mut reader).ok()?;
    let mut found = Vec::new();
    for pid in adopters.iter().flat_map(|adopter| all.children(*adopter)) {
        let Ok((handle, stat)) = ProcessHandle::open_with(&mut reader, *pid) else { continue };
        let is_in_time = (since..=until).contains(&stat.started);
        if is_in_time && !stat.is_dead() && reader.owner(*pid).is_ok_and(|owner| owner == ourself.uid) {
            let process = ProcessSummary::read(&mut reader, handle.identity(), &stat);
            found.push(Suspect { process, why: Refusal::LostParent });
        }
    }
    found.truncate(MOST);
    Some(found)
}
