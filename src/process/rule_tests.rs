//! The rule of who may get a signal: each clause with a process that fails just that clause.

use super::*;
use crate::process::identity::BootId;
use proptest::prelude::*;

const BOOT: BootId = BootId(7);
const LEADER: u32 = 500;

fn process(pid: u32, started: Ticks) -> ProcessIdentity {
    ProcessIdentity { pid, started, boot: BOOT, pid_namespace: 40 }
}

fn ourselves() -> Ourselves {
    Ourselves { identity: process(100, 10), user: 1000, ancestors: vec![90, 80, 1], sessions: vec![90, 80] }
}

fn mark(cookie: Cookie) -> Mark {
    Mark {
        cookie: Some(cookie),
        variable: None,
        leader: Some(process(LEADER, 1_000)),
        leader_ended: Some(2_000),
        since: 1_000,
        until: Some(5_000),
        cgroup: Some(group("/x/termleash-a")),
    }
}

fn group(kernel_path: &str) -> CgroupMark {
    CgroupMark { path: "/sys/fs/cgroup/x/termleash-a".into(), kernel_path: kernel_path.into() }
}

/// A process of the session that passes every clause, marked by nothing yet.
fn evidence() -> Evidence {
    Evidence {
        identity: process(600, 1_500),
        expected: None,
        is_held: true,
        users: [1000, 1000],
        session: 600,
        cookies: Vec::new(),
        has_variable: false,
        cgroup: None,
        is_keepers_child: false,
        children_started: Vec::new(),
    }
}

fn by_cookie(cookie: Cookie) -> Evidence {
    Evidence { cookies: vec![Cookie::new(), cookie], ..evidence() }
}

fn by_session() -> Evidence {
    Evidence { session: LEADER, ..evidence() }
}

fn by_cgroup() -> Evidence {
    in_cgroup("/x/termleash-a")
}

fn in_cgroup(kernel_path: &str) -> Evidence {
    Evidence { cgroup: Some(kernel_path.into()), ..evidence() }
}

fn keepers_child() -> Evidence {
    Evidence { is_keepers_child: true, ..evidence() }
}

#[track_caller]
fn refused(evidence: &Evidence, mark: &Mark, why: Refusal) {
    assert_eq!(may_signal(evidence, mark, &ourselves()).map(|_| ()), Err(why));
}

#[test]
fn each_mark_alone_is_enough() {
    let cookie = Cookie::new();
    for evidence in [by_cookie(cookie), by_session(), by_cgroup(), keepers_child()] {
        let permit = may_signal(&evidence, &mark(cookie), &ourselves()).unwrap();
        assert_eq!(permit.identity(), evidence.identity);
    }
    let leader = Evidence { identity: process(LEADER, 1_000), session: LEADER, ..evidence() };
    assert!(may_signal(&leader, &mark(cookie), &ourselves()).is_ok());
}

#[test]
fn no_mark_is_refused() {
    refused(&evidence(), &mark(Cookie::new()), Refusal::NotMarked);
}

#[test]
fn another_sessions_cookie_is_no_mark() {
    refused(&by_cookie(Cookie::new()), &mark(Cookie::new()), Refusal::NotMarked);
}

#[test]
fn no_cookie_in_the_book_matches_no_cookie_of_a_process() {
    let cookie = Cookie::new();
    refused(&by_cookie(cookie), &Mark { cookie: None, ..mark(cookie) }, Refusal::NotMarked);
}

#[test]
fn no_cgroup_in_the_book_matches_no_cgroup_of_a_process() {
    refused(&evidence(), &Mark { cgroup: None, ..mark(Cookie::new()) }, Refusal::NotMarked);
    refused(&by_cgroup(), &Mark { cgroup: None, ..mark(Cookie::new()) }, Refusal::NotMarked);
    refused(&evidence(), &mark(Cookie::new()), Refusal::NotMarked);
}

#[test]
fn a_group_below_ours_is_ours_and_one_above_or_beside_it_is_not() {
    for below in ["/x/termleash-a/sub", "/x/termleash-a/sub/deeper"] {
        assert!(may_signal(&in_cgroup(below), &mark(Cookie::new()), &ourselves()).is_ok());
    }
    let others = ["/", "", "/x", "/x/", "/x/termleash-b", "/x/termleash-ab", "/x/termleash-a.scope", "/termleash-a"];
    for other in others.into_iter().chain(["/y/x/termleash-a", "/x/termleash", "/x/termleash-a (deleted)"]) {
        refused(&in_cgroup(other), &mark(Cookie::new()), Refusal::NotMarked);
    }
}

/// Such as of a damaged record: they would hold everybody, or what is not ours.
#[test]
fn what_is_no_group_of_ours_by_its_form_marks_nothing() {
    for form in ["", "/", "//", "/x", "/x/", "/x/termleash-", "/x/termleash-a/", "termleash-a", "/../termleash-a"] {
        let mark = Mark { cgroup: Some(group(form)), ..mark(Cookie::new()) };
        for process in ["", "/", "/x", "/x/termleash-a", "/x/termleash-a/sub", "/../termleash-a", form] {
            refused(&in_cgroup(process), &mark, Refusal::NotMarked);
        }
    }
}

#[test]
fn what_is_not_held_is_refused_whatever_marks_it() {
    let cookie = Cookie::new();
    for evidence in [by_cookie(cookie), by_session(), by_cgroup(), keepers_child()] {
        refused(&Evidence { is_held: false, ..evidence }, &mark(cookie), Refusal::NotHeld);
    }
}

#[test]
fn an_id_with_a_new_owner_is_refused() {
    let cookie = Cookie::new();
    let recorded = Evidence { expected: Some(process(600, 1_499)), ..by_cookie(cookie) };
    refused(&recorded, &mark(cookie), Refusal::Replaced);
    let recycled_leader = Evidence { identity: process(LEADER, 1_700), session: LEADER, ..evidence() };
    refused(&recycled_leader, &mark(cookie), Refusal::Replaced);
}

#[test]
fn another_boot_or_namespace_is_refused() {
    let cookie = Cookie::new();
    let mut elsewhere = by_cookie(cookie);
    elsewhere.identity.boot = BootId(8);
    refused(&elsewhere, &mark(cookie), Refusal::OtherMachine);
    let mut elsewhere = by_cookie(cookie);
    elsewhere.identity.pid_namespace = 41;
    refused(&elsewhere, &mark(cookie), Refusal::OtherMachine);
    // A record of a container's process, whose id means another process here.
    let mut expected = process(600, 1_500);
    expected.pid_namespace = 41;
    refused(&Evidence { expected: Some(expected), ..by_cookie(cookie) }, &mark(cookie), Refusal::OtherMachine);
}

#[test]
fn another_user_is_refused_also_when_only_one_of_the_two_ids_differs_and_we_are_root() {
    let cookie = Cookie::new();
    for users in [[0, 0], [1000, 0], [0, 1000]] {
        for evidence in [by_cookie(cookie), by_session(), by_cgroup(), keepers_child()] {
            refused(&Evidence { users, ..evidence }, &mark(cookie), Refusal::OtherUser);
        }
    }
    let root = Ourselves { user: 0, ..ourselves() };
    assert_eq!(may_signal(&by_cookie(cookie), &mark(cookie), &root).unwrap_err(), Refusal::OtherUser);
}

#[test]
fn ourselves_our_ancestors_and_process_one_are_refused() {
    let cookie = Cookie::new();
    for pid in [100, 90, 80, 1] {
        for evidence in [by_cookie(cookie), by_session(), by_cgroup(), keepers_child()] {
            refused(&Evidence { identity: process(pid, 1_500), ..evidence }, &mark(cookie), Refusal::OurOwnAncestor);
        }
    }
}

/// Also where our chain of parents does not lead to it: in a namespace of which we do not see the outside.
#[test]
fn process_one_is_refused_whoever_descends_from_it() {
    let cookie = Cookie::new();
    let orphan = Ourselves { ancestors: Vec::new(), ..ourselves() };
    let one = Evidence { identity: process(1, 1_500), ..by_cookie(cookie) };
    assert_eq!(may_signal(&one, &mark(cookie), &orphan).unwrap_err(), Refusal::OurOwnAncestor);
}

#[test]
fn the_kernel_session_of_ourselves_or_an_ancestor_is_no_mark() {
    // A server that does not call setsid: its "leader" leads the developer's terminal.
    let shared = Mark { leader: Some(process(90, 1_000)), ..mark(Cookie::new()) };
    refused(&Evidence { session: 90, ..evidence() }, &shared, Refusal::NotMarked);
}

#[test]
fn what_started_before_the_request_is_refused() {
    let cookie = Cookie::new();
    for evidence in [by_cookie(cookie), by_session(), by_cgroup()] {
        refused(&Evidence { identity: process(600, 999), ..evidence.clone() }, &mark(cookie), Refusal::TooEarly);
        // The same tick is in time: both are rounded down.
        let same_tick = Evidence { identity: process(600, 1_000), ..evidence };
        assert!(may_signal(&same_tick, &mark(cookie), &ourselves()).is_ok());
    }
}

#[test]
fn what_started_after_the_owners_end_is_refused_and_while_it_lives_is_not() {
    let cookie = Cookie::new();
    for evidence in [by_cookie(cookie), by_cgroup()] {
        let last_tick = Evidence { identity: process(600, 5_000), ..evidence.clone() };
        assert!(may_signal(&last_tick, &mark(cookie), &ourselves()).is_ok());
        let late = Evidence { identity: process(600, 5_001), ..evidence };
        refused(&late, &mark(cookie), Refusal::TooLate);
        assert!(may_signal(&late, &Mark { until: None, ..mark(cookie) }, &ourselves()).is_ok());
    }
}

#[test]
fn by_kernel_session_alone_what_started_after_the_leaders_end_is_refused() {
    let cookie = Cookie::new();
    let late = Evidence { identity: process(600, 2_001), ..by_session() };
    refused(&late, &mark(cookie), Refusal::AfterLeader);
    let also_by_cookie = Evidence { cookies: vec![cookie], ..late };
    assert!(may_signal(&also_by_cookie, &mark(cookie), &ourselves()).is_ok());
}

#[test]
fn a_daemon_marked_by_cookie_alone_that_serves_others_is_refused() {
    let cookie = Cookie::new();
    let daemon = Evidence { children_started: vec![1_600, 5_001], ..by_cookie(cookie) };
    refused(&daemon, &mark(cookie), Refusal::ServesOthers);
    let of_before = Evidence { children_started: vec![999], ..daemon.clone() };
    refused(&of_before, &mark(cookie), Refusal::ServesOthers);
    let in_the_session = Evidence { session: LEADER, ..daemon.clone() };
    assert!(may_signal(&in_the_session, &mark(cookie), &ourselves()).is_ok());
    // In the group that it was born in, too.
    let group = || CgroupMark { path: "/sys/fs/cgroup/termleash-1".into(), kernel_path: "/termleash-1".into() };
    let in_the_group = Evidence { cgroup: Some("/termleash-1".into()), ..daemon.clone() };
    refused(&in_the_group, &Mark { cgroup: Some(group()), ..mark(cookie) }, Refusal::ServesOthers);
    let of_its_own_time = Evidence { children_started: vec![1_600], ..daemon };
    assert!(may_signal(&of_its_own_time, &mark(cookie), &ourselves()).is_ok());
}

/// A process marked by the server's own variable alone, and the mark that has it.
fn by_variable() -> (Evidence, Mark) {
    let variable = SessionVariable::new("SERVER_ID", "9b2e6a1c-4f0d-4b7a-8c3e-5d6f7a8b9c0d");
    assert!(variable.is_some());
    (Evidence { has_variable: true, ..evidence() }, Mark { cookie: None, variable, ..mark(Cookie::new()) })
}

#[test]
fn a_servers_own_variable_marks_as_a_cookie_does() {
    let (process, mark) = by_variable();
    assert!(may_signal(&process, &mark, &ourselves()).is_ok());
    refused(&process, &Mark { variable: None, ..mark.clone() }, Refusal::NotMarked);
    refused(&Evidence { has_variable: false, ..process }, &mark, Refusal::NotMarked);
}

#[test]
fn a_servers_own_variable_alone_is_not_enough_out_of_time_or_on_a_daemon() {
    let (found, mark) = by_variable();
    let at = |started| Evidence { identity: process(600, started), ..found.clone() };
    refused(&at(999), &mark, Refusal::TooEarly);
    refused(&at(5_001), &mark, Refusal::TooLate);
    // After the leader's end the server may have given the same id to somebody else's session.
    assert!(may_signal(&at(2_000), &mark, &ourselves()).is_ok());
    refused(&at(2_001), &mark, Refusal::AfterLeader);
    let leaderless = Mark { leader_ended: None, ..mark.clone() };
    assert!(may_signal(&at(2_001), &leaderless, &ourselves()).is_ok());
    let daemon = Evidence { children_started: vec![1_600, 5_001], ..found.clone() };
    refused(&daemon, &mark, Refusal::ServesOthers);
    refused(&Evidence { users: [1000, 0], ..found.clone() }, &mark, Refusal::OtherUser);
    refused(&Evidence { is_held: false, ..found }, &mark, Refusal::NotHeld);
}

#[test]
fn the_keepers_children_need_no_time_but_everything_else() {
    for started in [1, 9_999_999] {
        let child = Evidence { identity: process(600, started), ..keepers_child() };
        assert!(may_signal(&child, &mark(Cookie::new()), &ourselves()).is_ok());
    }
}

proptest! {
    /// Whatever the rest says: never the unheld, never another user's, never an ancestor, never the unmarked.
    #[test]
    fn never_a_signal_to_the_unproven(
        pid in prop_oneof![Just(1u32), Just(90), Just(100), Just(LEADER), 2u32..1_000],
        started in 0u64..6_000,
        is_held: bool,
        users in [prop_oneof![Just(0u32), Just(1000)], prop_oneof![Just(0u32), Just(1000)]],
        session in prop_oneof![Just(LEADER), Just(90u32), 1u32..1_000],
        has_cookie: bool,
        is_keepers_child: bool,
        in_cgroup: bool,
    ) {
        let cookie = Cookie::new();
        let evidence = Evidence {
            identity: process(pid, started),
            expected: None,
            is_held,
            users,
            session,
            cookies: if has_cookie { vec![cookie] } else { vec![] },
            has_variable: false,
            cgroup: in_cgroup.then(|| "/x/termleash-a".into()),
            is_keepers_child,
            children_started: vec![],
        };
        if may_signal(&evidence, &mark(cookie), &ourselves()).is_ok() {
            prop_assert!(is_held && users == [1000, 1000] && ![1, 80, 90, 100].contains(&pid));
            prop_assert!(has_cookie || is_keepers_child || in_cgroup || session == LEADER);
            prop_assert!(is_keepers_child || (1_000..=5_000).contains(&started));
        }
    }
}
