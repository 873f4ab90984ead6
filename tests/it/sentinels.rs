//! A watch for interference: what is planted, what is asked, and what is found when somebody ends what is not theirs.

use crate::support::{Stranger, eventually, lives, masked};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use termleash::leak::Verdict;
use termleash::session::{BoxError, Created, FakeBackend, Fault, Method, SessionId, SessionState};
use termleash::tracker::{Fate, Interference, Others, Role};
use termleash::{SessionBackend, SessionSpec, SessionTestHelper};

fn lists(fake: &FakeBackend) -> usize {
    fake.calls().iter().filter(|call| call.method == Method::List).count()
}

fn named(name: &str) -> SessionSpec {
    SessionSpec::new("bash").name(name)
}

/// Numbers and times that differ from run to run.
fn shown(found: &Interference) -> String {
    let text = masked(&found.to_string(), &["pid ", "seen ", "at ", "(", " to ", "after "]);
    text.lines().map(without_times).collect::<Vec<_>>().join("\n")
}

/// `N` for a time, of one unit or of two: on a busy machine a second may pass.
fn without_times(line: &str) -> String {
    let mut words: Vec<String> = Vec::new();
    for word in line.replace("Nms", "N").replace("Ns", "N").split(' ') {
        match (words.last_mut(), behind_time(word)) {
            (Some(before), Some(behind)) => before.push_str(behind),
            _ => words.push(word.to_owned()),
        }
    }
    words.join(" ")
}

/// What stands behind a time such as `20ms)`; `None` for any other word.
fn behind_time(word: &str) -> Option<&str> {
    let unit = word.trim_start_matches(|char: char| char.is_ascii_digit());
    let behind = unit.strip_prefix("ms").or_else(|| unit.strip_prefix('s'))?;
    (unit.len() < word.len() && behind.bytes().all(|byte| b"),".contains(&byte))).then_some(behind)
}

#[test]
fn times_of_one_unit_and_of_two_are_shown_alike() {
    let shown = |text: &str| without_times(&masked(text, &["seen ", "(", " to "]));
    for (from, to) in [("7ms", "20ms"), ("980ms", "1s 2ms"), ("1s", "1s 20ms"), ("2s 3ms", "3s")] {
        assert_eq!(
            shown(&format!("last seen {from} after, kill ({from} to {to}), and")),
            "last seen N after, kill (N to N), and"
        );
        assert_eq!(shown(&format!("kill ({from} to {to})")), "kill (N to N)");
    }
    assert_eq!(shown("3 of 3 sentinels are its own"), "3 of 3 sentinels are its own");
}

#[tokio::test]
async fn sentinels_stand_around_the_tests_sessions_and_cost_two_lists() {
    let fake = FakeBackend::new().with_processes();
    let stranger = fake.spawn_bystander("stranger").unwrap();
    let helper = SessionTestHelper::new(fake.clone());
    helper.watch_for_interference().await.unwrap();
    // Once: another call finds it on.
    helper.watch_for_interference().await.unwrap();
    let session = helper.create_tracked_session(named("build")).await.unwrap();
    helper.create_tracked_session(named("other")).await.unwrap().keep();
    assert_eq!(helper.tracked_count(), 2);
    assert_eq!(fake.sessions().len(), 1 + 3 + 2);

    let found = helper.check_interference().await.unwrap();
    assert!(found.is_clean(), "{found}");
    let roles: Vec<_> = found.sentinels().iter().map(|sentinel| sentinel.role.clone()).collect();
    assert_eq!(roles, [Role::Older, Role::Younger, Role::Prefix { of: "build".into() }]);
    assert!(found.sentinels().iter().all(|sentinel| sentinel.leader.is_some()));
    assert!(found.notes().is_empty(), "{found}");
    let Others::Listed { stayed, appeared, vanished } = found.others() else { panic!("{found}") };
    assert_eq!((stayed.as_slice(), appeared.len(), vanished.len()), (std::slice::from_ref(&stranger), 0, 0));

    session.close().await.unwrap();
    let report = helper.kill_tracked_sessions().await.unwrap();
    assert!(report.interference().is_some_and(Interference::is_clean), "{report}");
    assert_eq!((report.outcomes().len(), fake.sessions()), (1, vec![stranger]));
    assert_eq!(lists(&fake), 2);
    // The watch is over.
    assert!(helper.check_interference().await.unwrap_err().is_invalid_input());
    assert!(helper.kill_tracked_sessions().await.unwrap().interference().is_none());
}

#[tokio::test]
async fn somebody_who_kills_all_is_found_and_it_is_said_when_and_who_else_was_there() {
    let fake = FakeBackend::new();
    let stranger = fake.spawn_bystander("stranger").unwrap();
    let helper = SessionTestHelper::new(fake.clone());
    helper.watch_for_interference().await.unwrap();
    helper.create_tracked_session(named("build")).await.unwrap().keep();
    fake.kill_all();
    let late = fake.spawn_bystander("late").unwrap();
    // Its record is dropped by whoever it belongs to.
    fake.discard_record(&stranger).await.unwrap();

    let error = helper.kill_tracked_sessions().await.unwrap_err();
    assert!(error.is_interfered() && !error.is_survived(), "{error}");
    let report = error.kill_report().unwrap();
    let found = report.interference().unwrap();
    assert_eq!((found.verdict(), found.vanished().count()), (Verdict::Interfered, 3));
    insta::assert_snapshot!(shown(found), @r#"
    interfered: somebody has ended 3 of 3 sentinels, which nobody but this test may end
      `fake-1`, older than the test's sessions: GONE, the server says that it has ended, signal 9 (SIGKILL); last seen N after the watch began
        meanwhile this helper: create `build` (`bash`) (N to N)
        meanwhile this helper: kill `fake-2` (N to N)
      `fake-3`, younger than the test's first session: GONE, the server says that it has ended, signal 9 (SIGKILL); last seen N after the watch began
        meanwhile this helper: kill `fake-2` (N to N)
      `fake-4`, with a name that begins with `build`: GONE, the server says that it has ended, signal 9 (SIGKILL); last seen N after the watch began
        meanwhile this helper: kill `fake-2` (N to N)
      sessions of others, not judged: vanished: `stranger`; appeared: `late`
      to do: look for a clean-up that lists sessions and ends them, by "all", by name or by age, in the suites and people who use this server; until it is gone, give this test a server of its own
      to do: end `build` by its id, or by its exact name (`=` before it in tmux): what was meant for it may have ended every session whose name begins so
    "#);
    assert_eq!(fake.sessions(), [late]);
    assert_eq!(helper.tracked_count(), 0);
    // What was found is told once.
    helper.kill_tracked_sessions().await.unwrap();
}

#[tokio::test]
async fn the_end_of_a_process_is_laid_beside_what_the_helper_did_then() {
    let fake = FakeBackend::new().with_processes();
    let helper = SessionTestHelper::new(fake.clone());
    helper.watch_for_interference().await.unwrap();
    let first = helper.create_tracked_session(named("first")).await.unwrap();
    let sentinel = helper.check_interference().await.unwrap().sentinels()[1].clone();
    first.close().await.unwrap();
    // By somebody who asks the server.
    fake.kill(&sentinel.id).await.unwrap();
    let found = helper.check_interference().await.unwrap();
    let gone: Vec<_> = found.vanished().collect();
    assert_eq!((gone.len(), &gone[0].role, gone[0].leader), (1, &Role::Younger, sentinel.leader));
    let Fate::Vanished { how, exit, noticed, meanwhile } = &gone[0].fate else { panic!("{found}") };
    assert!(how.contains("has ended") && exit.is_some_and(|exit| exit.signal() == Some(9)), "{found}");
    assert_eq!(gone[0].last_seen, sentinel.last_seen, "{found}");
    let noticed = noticed.expect("its leader was watched");
    assert!(noticed + std::time::Duration::from_millis(10) >= sentinel.planted, "{found}");
    assert!(
        meanwhile.iter().all(|one| one.what.starts_with("kill `fake-") || one.what.starts_with("create")),
        "{found}"
    );
    // The others are there, and end with the helper's own.
    assert_eq!(fake.sessions().len(), 2);
    assert!(helper.kill_tracked_sessions().await.unwrap_err().is_interfered());
    assert_eq!(fake.sessions(), []);
}

#[tokio::test]
async fn a_sentinel_is_no_session_of_the_tests() {
    let fake = FakeBackend::new();
    let helper = SessionTestHelper::new(fake.clone());
    helper.watch_for_interference().await.unwrap();
    let [sentinel] = &fake.sessions()[..] else { panic!("one was planted") };
    assert!(helper.kill_session(sentinel).await.unwrap_err().is_not_tracked());
    assert!(helper.track_session(sentinel.clone()).await.unwrap_err().is_refused());
    assert!(!helper.is_tracked(sentinel) && helper.tracked_ids().is_empty() && helper.clear_tracked().is_empty());
    assert_eq!(fake.sessions(), std::slice::from_ref(sentinel));
    let report = helper.kill_tracked_sessions().await.unwrap();
    let found = report.interference().unwrap();
    assert!(found.notes()[0].contains("made no session"), "{found}");
    assert_eq!(fake.sessions(), []);
}

#[tokio::test]
async fn sessions_from_before_the_watch_are_the_tests_own() {
    let fake = FakeBackend::new();
    let helper = SessionTestHelper::new(fake.clone());
    helper.create_tracked_session("bash").await.unwrap().keep();
    helper.watch_for_interference().await.unwrap();
    // No name begins with an empty one.
    helper.create_tracked_session(named("")).await.unwrap().keep();
    let found = helper.check_interference().await.unwrap();
    assert!(found.is_clean() && found.sentinels().len() == 2, "{found}");
    assert!(found.notes().iter().any(|note| note.contains("began after 1 of the test's sessions")), "{found}");
    assert!(matches!(found.others(), Others::Listed { stayed, .. } if stayed.is_empty()), "{found}");
    helper.kill_tracked_sessions().await.unwrap();
}

#[test]
fn nothing_is_planted_once_the_test_has_ended() {
    let fake = FakeBackend::new();
    let mut kept = None;
    termleash::options().name("ended").in_process().run(async |t| {
        kept = Some(t.helper_on(fake.clone()));
        Ok(())
    });
    let error = termleash::block_on(kept.unwrap().watch_for_interference()).unwrap_err();
    assert!(error.is_refused(), "{error}");
    assert!(fake.calls().iter().all(|call| call.method != Method::Create && call.method != Method::List));
}

#[tokio::test]
async fn sentinels_end_with_the_last_handle() {
    let fake = FakeBackend::new().with_processes();
    let helper = SessionTestHelper::new(fake.clone());
    helper.watch_for_interference().await.unwrap();
    let leader = helper.check_interference().await.unwrap().sentinels()[0].leader.unwrap();
    drop(helper);
    assert!(!lives(leader));
    assert_eq!(fake.sessions(), []);
    // Also where the helper complains of a session that the test has left.
    let helper = SessionTestHelper::new(fake.clone());
    helper.watch_for_interference().await.unwrap();
    helper.create_tracked_session("bash").await.unwrap().keep();
    let complaint = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(helper)));
    assert!(complaint.is_err());
    eventually("the end of all", || fake.sessions().is_empty()).await;
}

/// A backend in front of the fake one that lacks something.
struct Lacking {
    fake: FakeBackend,
    server: Option<u32>,
    lists: bool,
    /// Which creation fails, counted from 1.
    fails: usize,
    creations: AtomicUsize,
}

impl Lacking {
    fn new(fake: &FakeBackend) -> Self {
        Self { fake: fake.clone(), server: None, lists: true, fails: 0, creations: AtomicUsize::new(0) }
    }
}

impl SessionBackend for Lacking {
    async fn create(&self, spec: &SessionSpec) -> Result<Created, BoxError> {
        if self.creations.fetch_add(1, Ordering::Relaxed) + 1 == self.fails {
            return Err("no room".into());
        }
        let created = self.fake.create(spec).await?;
        let id = created.id().clone();
        Ok(self.server.map_or_else(|| Created::new(id.clone()), |pid| Created::new(id.clone()).with_server(pid)))
    }

    async fn kill(&self, id: &SessionId) -> Result<(), BoxError> {
        self.fake.kill(id).await
    }

    async fn state(&self, id: &SessionId) -> Result<SessionState, BoxError> {
        match self.fake.state(id).await? {
            // Of the fake one's own process nothing is said here.
            SessionState::Running(_) => Ok(SessionState::running()),
            state => Ok(state),
        }
    }

    async fn list(&self) -> Result<Vec<SessionId>, BoxError> {
        if self.lists {
            return self.fake.list().await;
        }
        Err("this server has no list".into())
    }
}

#[tokio::test]
async fn without_a_list_sentinels_are_judged_all_the_same() {
    let fake = FakeBackend::new();
    let helper = SessionTestHelper::new(Lacking { lists: false, ..Lacking::new(&fake) });
    helper.watch_for_interference().await.unwrap();
    let session = helper.create_tracked_session("bash").await.unwrap();
    let found = helper.check_interference().await.unwrap();
    assert!(found.is_clean() && matches!(found.others(), Others::NotListed(why) if why.contains("no list")), "{found}");
    assert!(found.notes().iter().any(|note| note.contains("has a name")), "{found}");
    session.close().await.unwrap();
    fake.kill_all();
    assert!(helper.kill_tracked_sessions().await.unwrap_err().is_interfered());
}

#[tokio::test]
async fn a_server_that_ended_is_no_interference_and_no_pass() {
    let fake = FakeBackend::new();
    let server = Stranger::sleeping();
    let helper = SessionTestHelper::new(Lacking { server: Some(server.pid()), ..Lacking::new(&fake) });
    helper.watch_for_interference().await.unwrap();
    helper.create_tracked_session("bash").await.unwrap().keep();
    // As a server does that ends: first its sessions, then itself.
    fake.kill_all();
    drop(server);
    let error = helper.kill_tracked_sessions().await.unwrap_err();
    let found = error.kill_report().unwrap().interference().unwrap();
    assert_eq!(found.verdict(), Verdict::CouldNotCheck, "{found}");
    assert!(found.sentinels().iter().all(|sentinel| matches!(sentinel.fate, Fate::ServerEnded(_))), "{found}");
}

#[tokio::test]
async fn what_could_not_be_planted_or_looked_at_is_not_called_clean() {
    let fake = FakeBackend::new();
    let helper = SessionTestHelper::new(Lacking { fails: 3, ..Lacking::new(&fake) });
    helper.watch_for_interference().await.unwrap();
    // The test's own session is there although the one that is younger could not be planted.
    helper.create_tracked_session("bash").await.unwrap().close().await.unwrap();
    let found = helper.check_interference().await.unwrap();
    assert_eq!((found.verdict(), found.not_planted().len()), (Verdict::CouldNotCheck, 1), "{found}");
    assert!(found.not_planted()[0].contains("no room"), "{found}");
    assert!(helper.kill_tracked_sessions().await.unwrap_err().is_interfered());

    let helper = SessionTestHelper::new(fake.clone());
    helper.watch_for_interference().await.unwrap();
    fake.set_faults([Fault::Fails(Method::State)]);
    let found = helper.check_interference().await.unwrap();
    assert_eq!(found.verdict(), Verdict::CouldNotCheck, "{found}");
    fake.set_faults([]);
    assert!(helper.check_interference().await.unwrap().is_clean());
    helper.kill_tracked_sessions().await.unwrap();

    let helper = SessionTestHelper::new(Lacking { fails: 1, ..Lacking::new(&fake) });
    let error = helper.watch_for_interference().await.unwrap_err();
    assert!(error.to_string().contains("no room"), "{error}");
    // Nothing is on, so it can be asked for again.
    helper.watch_for_interference().await.unwrap();
    helper.kill_tracked_sessions().await.unwrap();
    assert_eq!(fake.sessions(), []);
}

#[tokio::test]
async fn a_sentinel_that_cannot_be_ended_is_told() {
    let fake = FakeBackend::new();
    let helper = SessionTestHelper::new(fake.clone());
    helper.watch_for_interference().await.unwrap();
    fake.set_faults([Fault::Fails(Method::State)]);
    let error = helper.kill_tracked_sessions().await.unwrap_err();
    assert!(error.is_survived() && error.to_string().contains("it is a sentinel"), "{error}");
    fake.set_faults([]);
    // It is over, and another begins when it is done.
    assert!(helper.watch_for_interference().await.unwrap_err().is_refused());
    assert!(helper.check_interference().await.unwrap_err().is_invalid_input());
    // Nothing is judged any more, and nothing is forgotten.
    let report = helper.kill_tracked_sessions().await.unwrap();
    assert!(report.interference().is_none());
    assert_eq!(fake.sessions(), []);
}

#[test]
fn a_blocking_helper_watches_too_and_a_scope_fails_with_what_it_found() {
    let fake = FakeBackend::new();
    let blocking = SessionTestHelper::new(fake.clone()).blocking();
    blocking.watch_for_interference().unwrap();
    assert!(blocking.check_interference().unwrap().is_clean());
    blocking.kill_tracked_sessions().unwrap();

    let server = Arc::new(fake);
    let test = termleash::options().name("watched").in_process();
    let failed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        test.run(async |t| {
            let helper = t.helper_on(Arc::clone(&server));
            helper.watch_for_interference().await?;
            helper.create_tracked_session("bash").await?.keep();
            server.kill_all();
            Ok(())
        });
    }));
    let text = failed.unwrap_err().downcast::<String>().unwrap();
    assert!(
        text.starts_with("test `watched` passed, and did not end cleanly") && text.contains("interfered: "),
        "{text}"
    );
    assert!(!text.contains("leaked"), "{text}");
    assert_eq!(server.sessions(), []);
}
