//! Whether a process that somebody wrote down is proven dead.

use crate::process::handle::ProcessHandle;
use crate::process::identity::ProcessIdentity;
use crate::sys;

/// Who has a process's id.
pub(crate) enum Held {
    It(ProcessHandle),
    Nobody,
    Another,
}

/// The process of this identity, if it lives.
pub(crate) fn held(identity: ProcessIdentity) -> Held {
    match ProcessHandle::open(identity.pid()) {
        Ok(handle) if handle.identity() == identity => Held::It(handle),
        Ok(_) => Held::Another,
        Err(_) => Held::Nobody,
    }
}

/// True if it is proven that this process is gone: it belongs to this boot and PID namespace, and there is no living
/// process of its identity.
pub(crate) fn is_proven_dead(identity: ProcessIdentity, here: ProcessIdentity) -> bool {
    let is_here = (identity.boot_id(), identity.pid_namespace()) == (here.boot_id(), here.pid_namespace());
    is_here && !matches!(held(identity), Held::It(_)) && !is_hidden(identity.pid())
}

/// A process that is there and cannot be looked at may be anybody.
fn is_hidden(pid: u32) -> bool {
    let Ok(pidfd) = sys::Pidfd::open(pid) else { return false };
    !pidfd.has_exited().unwrap_or(true) && ProcessHandle::open(pid).is_err()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use crate::process::tree::own_identity;
    use std::process::{Command, Stdio};

    #[test]
    fn a_process_is_held_by_its_start_as_well_as_its_number() {
        let here = own_identity().unwrap();
        assert!(matches!(held(here), Held::It(_)) && !is_proven_dead(here, here));
        let before = ProcessIdentity { started: here.started - 1, ..here };
        assert!(matches!(held(before), Held::Another) && is_proven_dead(before, here));
    }

    #[test]
    fn nothing_is_proven_of_another_boot_or_namespace() {
        let here = own_identity().unwrap();
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let identity = ProcessHandle::open(child.id()).unwrap().identity();
        drop(child.stdin.take());
        // Nobody has waited for it yet.
        while ProcessHandle::open(child.id()).is_ok() {
            std::thread::yield_now();
        }
        assert!(is_proven_dead(identity, here));
        child.wait().unwrap();
        assert!(matches!(held(identity), Held::Nobody | Held::Another) && is_proven_dead(identity, here));
        let elsewhere = ProcessIdentity { pid_namespace: identity.pid_namespace + 1, ..identity };
        assert!(!is_proven_dead(elsewhere, here));
        let before = ProcessIdentity { boot: crate::process::identity::BootId(identity.boot.0 ^ 1), ..identity };
        assert!(!is_proven_dead(before, here));
    }
}
