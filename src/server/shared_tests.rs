//! What a user of a shared server learns of its end.

use super::*;
use crate::process::identity::ProcessIdentity;
use crate::process::tree::own_identity;

fn reached(server: ProcessIdentity) -> Reached {
    Reached { port: None, url: None, server, home: "/x".into(), runtime: "/x".into() }
}

#[test]
fn a_server_whose_number_is_anothers_by_now_has_ended() {
    let own = own_identity().unwrap();
    let shared = |server| SharedServer::new("k".into(), reached(server), Channel::pair().unwrap().0);
    assert!(shared(own).unwrap().is_alive());
    let before = ProcessIdentity { started: own.started - 1, ..own };
    assert!(shared(before).unwrap_err().is_server_ended());
}

#[test]
fn how_it_died_is_asked_once_and_told_each_time() {
    let mut child = std::process::Command::new("cat").stdin(std::process::Stdio::piped()).spawn().unwrap();
    let server = ProcessHandle::open(child.id()).unwrap().identity();
    let (near, far) = Channel::pair().unwrap();
    let shared = SharedServer::new("k".into(), reached(server), near).unwrap();
    shared.check().unwrap();
    drop(child.stdin.take());
    child.wait().unwrap();
    tell(&far, &FromSteward::Died { text: "it was full".into() }).unwrap();
    drop(far);
    for _ in 0..2 {
        let error = shared.check().unwrap_err();
        assert!(error.is_server_ended() && error.to_string().ends_with("has ended: it was full"), "{error}");
    }
}
