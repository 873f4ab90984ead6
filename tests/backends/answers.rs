//! A server that speaks HTTP and answers wrongly, or not at all: no session is taken for made, gone or not there by that.

use crate::server::{Manners, Server};
use crate::spoiled::{Answer, Spoil, Spoiler};
use std::time::Duration;
use termleash::session::{HttpBackend, SessionId};
use termleash::{SessionBackend, SessionSpec, SessionTestHelper};

const CREATE: (&str, &str) = ("POST", "/api/sessions");
const LIST: (&str, &str) = ("GET", "/api/sessions");
const KILL: (&str, &str) = ("DELETE", "/api/sessions/");
const STATE: (&str, &str) = ("GET", "/api/sessions/");

/// Long enough for every answer that comes, however busy the machine is; what never comes is waited for so long.
const ENOUGH: Duration = Duration::from_secs(3);

/// Spoiled answers, and what the error has to say of each.
const WRONG: [(Answer, &str); 8] = [
    (Answer::Says(200, "{\"sessionId\": \"4"), "was answered, but not with JSON"),
    (Answer::Says(200, ""), "was answered, but not with JSON"),
    (Answer::Says(200, "{\"session\": 4}"), "{\"session\":4}"),
    (Answer::Says(500, "no room"), "was answered with status 500: no room"),
    (Answer::Cut(""), ": "),
    (Answer::Cut("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"), ": "),
    (Answer::Endless, "the answer is longer than 1048576 bytes"),
    (Answer::Never, "no full answer in time"),
];

fn backend(spoiler: &Spoiler) -> HttpBackend {
    HttpBackend::vibetunnel(&spoiler.url).timeout(ENOUGH)
}

fn sleeps() -> SessionSpec {
    SessionSpec::new("sleep").arg("1000")
}

/// Which sessions run, by the server's own word.
async fn running(server: &Server) -> Vec<SessionId> {
    let backend = HttpBackend::vibetunnel(&server.url);
    let mut ids = Vec::new();
    for id in backend.list().await.unwrap() {
        if backend.state(&id).await.unwrap().is_running() {
            ids.push(id);
        }
    }
    ids
}

/// The request, as an error names it.
fn named(spoiler: &Spoiler, (method, path): (&str, &str)) -> String {
    format!("`{method} {}{path}", spoiler.url)
}

/// Each with a server of its own, and all at once: without an answer a session is looked for until it would be too late for one.
fn with_each<T: Send>(cases: impl IntoIterator<Item = T>, check: impl AsyncFn(T) + Sync) {
    std::thread::scope(|scope| {
        for case in cases {
            let check = &check;
            scope.spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(check(case));
            });
        }
    });
}

#[test]
fn what_is_made_by_a_creation_whose_answer_is_wrong_is_ended() {
    with_each(WRONG, async |(answer, what)| {
        let server = Server::start(Manners::default());
        let spoiler = Spoiler::before(&server.url);
        let theirs = backend(&spoiler).create(&sleeps()).await.unwrap();
        let helper = SessionTestHelper::new(backend(&spoiler));
        spoiler.spoil(Spoil::done(CREATE.0, CREATE.1, answer));
        let error = helper.create_tracked_session(sleeps()).await.unwrap_err().to_string();
        assert!(error.starts_with("failed to create a session for `sleep 1000`: "), "{answer:?}: {error}");
        assert!(error.contains(what) && error.contains(&named(&spoiler, CREATE)), "{answer:?}: {error}");
        assert_eq!((running(&server).await, helper.tracked_count()), (vec![theirs.id().clone()], 0), "{answer:?}");
        assert_eq!(server.requests().iter().filter(|it| it.starts_with("POST ")).count(), 2, "it was made");
    });
}

/// A server that goes on with a request that nobody waits for any more.
#[test]
fn a_session_that_is_born_after_its_request_was_given_up_is_ended() {
    with_each([Answer::Never, Answer::Cut("")], async |answer| {
        let server = Server::start(Manners::default());
        let spoiler = Spoiler::before(&server.url);
        let helper = SessionTestHelper::new(HttpBackend::vibetunnel(&spoiler.url).timeout(Duration::from_secs(1)));
        let late = Some(Duration::from_secs(2));
        spoiler.spoil(Spoil { reaches_it_after: late, ..Spoil::done(CREATE.0, CREATE.1, answer) });
        let error = helper.create_tracked_session(sleeps()).await.unwrap_err().to_string();
        assert!(error.contains(&named(&spoiler, CREATE)), "{error}");
        let is_made = || server.requests().iter().any(|it| it.starts_with("POST ")).then_some(());
        crate::scene::until("the creation", is_made);
        assert_eq!((running(&server).await, helper.tracked_count()), (Vec::new(), 0), "{answer:?}");
    });
}

#[tokio::test]
async fn a_wrong_list_is_an_error_and_never_an_empty_one() {
    let server = Server::start(Manners::default());
    let spoiler = Spoiler::before(&server.url);
    let theirs = backend(&spoiler).create(&sleeps()).await.unwrap();
    let also = [
        (Answer::Says(404, "[]"), "was answered with status 404"),
        (Answer::Says(200, "{}"), "what it lists is no array"),
        (Answer::Says(200, "[{\"name\": \"x\"}]"), "has no field `/id`"),
        (Answer::Says(200, "[{\"id\": \"../x\"}]"), "../x"),
    ];
    let of_creation_only = "{\"session\": 4}";
    for (answer, what) in WRONG.into_iter().chain(also) {
        if answer == Answer::Says(200, of_creation_only) {
            continue;
        }
        spoiler.spoil(Spoil::undone(LIST.0, LIST.1, answer));
        let error = backend(&spoiler).list().await.unwrap_err().to_string();
        assert!(error.contains(what), "{answer:?}: {error}");
    }
    spoiler.spoil(None);
    assert_eq!(backend(&spoiler).list().await.unwrap(), [theirs.id().clone()]);
}

/// Its leader is known: its own process is what proves its end.
#[tokio::test]
async fn a_kill_with_a_wrong_answer_ends_a_session_whose_leader_is_known() {
    let server = Server::start(Manners::default());
    let spoiler = Spoiler::before(&server.url);
    let theirs = backend(&spoiler).create(&sleeps()).await.unwrap();
    for (answer, what) in [(Answer::Says(404, ""), "said that it was killed")].into_iter().chain(WRONG) {
        let helper = SessionTestHelper::new(backend(&spoiler));
        let leader = helper.create_tracked_session(sleeps()).await.unwrap().keep().leader().unwrap().clone();
        spoiler.spoil(Spoil::undone(KILL.0, KILL.1, answer));
        let outcome = helper.kill_tracked_sessions().await.unwrap().outcomes()[0].clone();
        assert!(outcome.is_proven() && !leader.is_alive(), "{outcome}");
        // Of a kill a status is all that the server has to say.
        let says = if matches!(answer, Answer::Says(200, _)) { "said that it was killed" } else { what };
        assert!(outcome.notes().iter().any(|note| note.contains(says)), "{answer:?}: {outcome}");
        spoiler.spoil(None);
    }
    assert_eq!(running(&server).await, [theirs.id().clone()]);
}

/// What only its server can end, and prove to be dead.
#[test]
fn a_session_that_only_its_server_can_end_is_never_called_killed_by_a_wrong_answer() {
    let runs = "still says that it runs";
    let of_kill = [(Answer::Says(404, ""), runs)].into_iter().chain(WRONG).map(|(answer, what)| {
        // Of a kill a status is all that the server has to say.
        (KILL, answer, if matches!(answer, Answer::Says(200, _)) { runs } else { what })
    });
    let of_state = WRONG.map(|(answer, _)| (STATE, answer, "its backend could not say whether it is dead"));
    with_each(of_kill.chain(of_state), async |(request, answer, what)| {
        let server = Server::start(Manners { is_opaque: true, ..Manners::default() });
        let spoiler = Spoiler::before(&server.url);
        let helper = SessionTestHelper::new(backend(&spoiler));
        let session = helper.create_tracked_session(sleeps()).await.unwrap().keep();
        spoiler.spoil(Spoil::undone(request.0, request.1, answer));
        let error = helper.kill_tracked_sessions().await.unwrap_err();
        let text = error.to_string();
        assert!(error.is_survived() && text.contains("NOT proven gone") && text.contains(what), "{answer:?}: {text}");
        assert_eq!(running(&server).await, [session.id().clone()], "{answer:?}");
        assert!(helper.is_tracked(session.id()));
        spoiler.spoil(None);
        assert!(helper.kill_tracked_sessions().await.unwrap().is_proven());
        assert_eq!(running(&server).await, []);
    });
}
