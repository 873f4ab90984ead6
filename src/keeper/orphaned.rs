//! The end of a body whose keeper has died: it ends what it can prove to be its own, and then itself.
//!
//! Whoever lives then cleans up again: the runner, if it lives, or the next run. For its other threads go on until the very
//! end, and what they start after the last look is found by the ledger only, which is therefore never removed here.

use crate::keeper::descendants::GRACE;
use crate::keeper::sweep::sweep;
use crate::ledger::client::{body, close_for_ever};
use crate::ledger::message::{StewardStart, Told, tell};
use crate::ledger::record::{BODY_RECORD, parse};
use crate::ledger::replay::Replayed;
use crate::sys::{self, Channel};
use once_cell::sync::OnceCell;
use parking_lot::Mutex;

static CHANNEL: OnceCell<Mutex<Channel>> = OnceCell::new();
static BODY_PID: OnceCell<u32> = OnceCell::new();

/// The status of a body whose keeper has died.
const KEEPER_DIED: i32 = 101;

/// What a body hears and tells by.
pub(crate) fn set_channel(channel: Channel) {
    let _ = CHANNEL.set(Mutex::new(channel));
    let _ = BODY_PID.set(sys::own_pid());
}

/// Asks the runner for the steward of a shared server.
pub(crate) fn ask_for_steward(start: &StewardStart) -> std::io::Result<()> {
    match channel() {
        Some(channel) => tell(&channel.lock(), &Told::Wants(start.clone())),
        None => Err(std::io::ErrorKind::NotConnected.into()),
    }
}

/// False in a child that a body has forked without exec.
pub(crate) fn is_body_itself() -> bool {
    BODY_PID.get().is_none_or(|pid| *pid == sys::own_pid())
}

pub(crate) fn channel() -> Option<&'static Mutex<Channel>> {
    CHANNEL.get()
}

/// On a thread of its own, or before `main`.
pub(crate) fn end() {
    close_for_ever();
    if let Some(welcome) = body()
        && let Ok((_, _, file)) = welcome.ledger.open()
        && let Ok(bytes) = file.read_all()
        && let Ok(mut replayed) = Replayed::new(parse(&bytes))
    {
        // Itself comes last, and what carries its cookie now.
        if let Some(own) = replayed.open.get_mut(&BODY_RECORD) {
            own.leader = None;
        }
        sweep(&replayed, sys::now_ticks(), welcome.grace.min(GRACE));
        // The run's time lasts until now.
        let _ = file.touch();
    }
    sys::exit_now(KEEPER_DIED);
}
