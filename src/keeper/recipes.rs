//! Asking servers whose tests are dead, by the recipes in a ledger.
//!
//! A ledger is a file: its ids are checked again as when a server gave them, its URLs must stay on this machine, and the
//! secret is not in it. And an id means a session only to the server that made it: a server that was started anew counts
//! from the beginning, so it must be proven to be the same process, or the id to be one that is never given again. By HTTP it
//! must be that process, too, that answers.

use crate::http::address::Address;
use crate::invocation::Invocation;
use crate::keeper::asked;
use crate::ledger::recipe::Recipe;
use crate::ledger::replay::Open;
use crate::process::dead::{Held, held};
use crate::process::identity::ProcessIdentity;
use crate::process::variable::is_never_given_again;
use crate::session::command_line::follow::{Reading, accepted, variables};
use crate::session::command_line::template::Values;
use crate::session::http::auth::Auth;
use crate::session::http::talk::{Question, with_id};
use crate::session::id::SessionId;
use std::ffi::OsString;
use std::net::TcpStream;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// For the recipes of one run, all together: whoever waits for the run's end waits for them.
const ALL_WITHIN: Duration = Duration::from_secs(5);
/// So many are followed at once.
const AT_ONCE: usize = 32;

/// What came of each; `None` for a session whose server there is no way, or no need, to ask.
pub(crate) fn follow(opens: &[&Open]) -> Vec<Option<Result<(), String>>> {
    let until = Instant::now() + ALL_WITHIN;
    let mut results: Vec<Option<Result<(), String>>> = vec![None; opens.len()];
    let mut wanted: Vec<(usize, Ask<'_>)> = Vec::new();
    for (index, open) in opens.iter().enumerate() {
        match Ask::prepare(open) {
            Ok(Some(ask)) => wanted.push((index, ask)),
            Ok(None) => {}
            Err(why) => results[index] = Some(Err(why)),
        }
    }
    let next = AtomicUsize::new(0);
    let told = Mutex::new(Vec::new());
    let work = || {
        while let Some((index, ask)) = wanted.get(next.fetch_add(1, Ordering::Relaxed)) {
            let result = ask.follow(until.saturating_duration_since(Instant::now()));
            told.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push((*index, result));
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..wanted.len().min(AT_ONCE) {
            // Without a thread it takes longer, and what finds no time says so.
            if std::thread::Builder::new().name("termleash-ask".into()).spawn_scoped(scope, work).is_err() {
                break;
            }
        }
        work();
    });
    for (index, result) in told.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner) {
        results[index] = Some(result);
    }
    results
}

/// A session whose server is to be asked.
struct Ask<'a> {
    recipe: &'a Recipe,
    id: SessionId,
    server: Option<ProcessIdentity>,
}

impl<'a> Ask<'a> {
    /// # Errors
    ///
    /// Why the server must not be asked.
    fn prepare(open: &'a Open) -> Result<Option<Self>, String> {
        if !matches!(open.recipe, Recipe::Http { .. } | Recipe::Command { .. }) {
            return Ok(None);
        }
        // Of a creation that was not answered nobody knows the id: its cookie finds it.
        let (true, Some(id)) = (open.is_identified, &open.session) else { return Ok(None) };
        let id = SessionId::new(id.as_str()).map_err(|cause| cause.to_string())?;
        if !open.recipe.names_its_session() {
            return Err("it names no session, so that it could be about all of them: there is no `{id}` in it".into());
        }
        match open.server.map(|server| (server, held(server))) {
            Some((server, Held::It(_))) => Ok(Some(Self { recipe: &open.recipe, id, server: Some(server) })),
            // Its sessions have no server any more, and those that the marks lead to have ended.
            Some(_) if open.leader.is_some() => Ok(None),
            Some((server, _)) => Err(format!("the server that made it, pid {}, is gone", server.pid())),
            None if is_never_given_again(id.as_str()) => Ok(Some(Self { recipe: &open.recipe, id, server: None })),
            None => Err("which process its server is was not known, and its id may mean another session by now".into()),
        }
    }

    fn follow(&self, timeout: Duration) -> Result<(), String> {
        if timeout.is_zero() {
            return Err(format!("the {} s for all servers together were over", ALL_WITHIN.as_secs()));
        }
        match self.recipe {
            Recipe::Http { url, method, auth_header, secret_variable } => {
                // Before the id is in it.
                if !Address::parse(url)?.is_loopback() {
                    return Err("its address is on another machine".into());
                }
                let auth = Auth { header: auth_header.clone(), variable: secret_variable.clone() };
                let (method, url) = (method.clone(), with_id(url, &self.id));
                let question = Question { method, url, body: None, auth, timeout };
                let check = |stream: &TcpStream| match self.server {
                    Some(server) => asked::is_the_server(stream, server),
                    None if auth_header.is_some() => asked::may_have_a_secret(stream),
                    None => Ok(()),
                };
                question.ask_now(&check).map(drop).map_err(|cause| cause.to_string())
            }
            Recipe::Command {
                program,
                arguments,
                id_prefix,
                gone_texts,
                refused_text,
                id_variable,
                removed_variables,
                ..
            } => {
                let id = accepted(&self.id, id_prefix.as_deref()).map_err(|cause| cause.to_string())?;
                let mut texts: Vec<(&'static str, OsString)> = vec![("id", id.as_str().into())];
                texts.extend(self.server.map(|server| ("server", server.pid().to_string().into())));
                let values = Values { texts, splices: Vec::new() };
                let arguments = values.fill(arguments).map_err(|cause| cause.to_string())?;
                let variables = variables(removed_variables, id_variable.as_deref(), values.text("id"));
                let invocation = Invocation { program: program.into(), arguments, variables, timeout };
                let reading = Reading { gone_texts, refused_text: refused_text.as_deref() };
                reading.read(&invocation, invocation.run()).map(drop).map_err(|cause| cause.to_string())
            }
            Recipe::Own | Recipe::Unknown { .. } => Ok(()),
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use crate::process::handle::ProcessHandle;
    use crate::process::tree::own_identity;

    const UUID: &str = "9b2e6a1c-4f0d-4b7a-8c3e-5d6f7a8b9c0d";

    fn open(id: &str, server: Option<ProcessIdentity>, recipe: Recipe) -> Open {
        Open {
            cookie: None,
            leader: None,
            since: 0,
            label: "sleep".into(),
            made_at: "tests/a.rs:1:1".into(),
            recipe,
            home: None,
            session: Some(id.into()),
            server,
            variable: None,
            is_identified: true,
        }
    }

    /// A request that is never sent: its address is on another machine.
    fn http() -> Recipe {
        let url = "http://192.0.2.1:1/sessions/{id}".into();
        Recipe::Http { url, method: "DELETE".into(), auth_header: None, secret_variable: None }
    }

    /// A client that answers by what its script says.
    fn command(script: &str) -> Recipe {
        Recipe::Command {
            program: "sh".into(),
            arguments: vec!["-c".into(), script.into(), "sh".into(), "{id}".into()],
            secret_variable: None,
            id_prefix: Some("$".into()),
            gone_texts: vec!["no such session".into()],
            refused_text: Some("another server".into()),
            id_variable: None,
            removed_variables: Vec::new(),
        }
    }

    fn dead() -> ProcessIdentity {
        let mut child = std::process::Command::new("cat").stdin(std::process::Stdio::piped()).spawn().unwrap();
        let identity = ProcessHandle::open(child.id()).unwrap().identity();
        drop(child.stdin.take());
        child.wait().unwrap();
        identity
    }

    fn asked(open: &Open) -> Option<Result<(), String>> {
        follow(&[open]).pop().unwrap()
    }

    #[track_caller]
    fn refused(open: &Open, why: &str) {
        let error = asked(open).expect("it is told").unwrap_err();
        assert!(error.contains(why), "{error}");
    }

    #[test]
    fn only_the_server_that_made_a_session_is_asked() {
        let own = own_identity().unwrap();
        assert_eq!(asked(&open("$1", Some(own), command("true"))), Some(Ok(())));
        refused(&open("$1", Some(dead()), command("true")), "is gone");
        // Its number is another's by now.
        let before = ProcessIdentity { started: own.started - 1, ..own };
        refused(&open("$1", Some(before), command("true")), "is gone");
        // One that is never given again means no other session on any server.
        refused(&open(UUID, Some(before), http()), "is gone");
    }

    #[test]
    fn a_session_that_its_leader_is_known_of_needs_no_server_that_is_gone() {
        let own = own_identity().unwrap();
        let led = Open { leader: Some(own), ..open("$1", Some(dead()), command("false")) };
        assert_eq!(asked(&led), None);
    }

    #[test]
    fn an_id_that_may_mean_another_session_is_sent_to_no_unknown_server() {
        refused(&open("$1", None, command("true")), "may mean another session");
        refused(&open("1", None, http()), "may mean another session");
        // It would be asked.
        refused(&open(UUID, None, http()), "on another machine");
    }

    #[test]
    fn what_a_file_says_is_checked_again() {
        let own = Some(own_identity().unwrap());
        refused(&open("../x", own, http()), "path separator");
        refused(&open("build", own, command("true")), "is no id such as");
        refused(&open("1", own, http()), "on another machine");
    }

    /// The recorded server lives, and has its port no more.
    #[cfg(feature = "http")]
    #[test]
    fn a_secret_goes_to_the_server_that_made_the_session_and_to_nobody_else_at_its_port() {
        use std::io::{Read as _, Write as _};
        let mut lives = std::process::Command::new("cat").stdin(std::process::Stdio::piped()).spawn().unwrap();
        let recorded = ProcessHandle::open(lives.id()).unwrap().identity();
        for (server, is_asked) in [(recorded, false), (own_identity().unwrap(), true)] {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let url = format!("http://{}/sessions/{{id}}", listener.local_addr().unwrap());
            let got = std::thread::spawn(move || {
                let mut stream = listener.accept().unwrap().0;
                let mut text = Vec::new();
                while !text.ends_with(b"\r\n\r\n") {
                    let mut byte = [0];
                    if stream.read(&mut byte).unwrap_or(0) == 0 {
                        break;
                    }
                    text.push(byte[0]);
                }
                let _ = stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n");
                String::from_utf8(text).unwrap()
            });
            let (header, variable) = (Some("X-Key: {secret}".into()), Some("PATH".into()));
            let recipe = Recipe::Http { url, method: "DELETE".into(), auth_header: header, secret_variable: variable };
            let told = asked(&open("$1", Some(server), recipe));
            let got = got.join().unwrap();
            if is_asked {
                assert_eq!(told, Some(Ok(())));
                assert!(got.starts_with("DELETE /sessions/%241 HTTP/1.1\r\n"), "{got}");
                assert!(got.contains(&format!("\r\nx-key: {}\r\n", std::env::var("PATH").unwrap())), "{got}");
            } else {
                let why = told.unwrap().unwrap_err();
                assert!(why.contains("nothing was sent") && why.contains("is not seen to be the server"), "{why}");
                assert_eq!(got, "");
            }
        }
        drop(lives.stdin.take());
        lives.wait().unwrap();
    }

    #[test]
    fn the_answer_of_a_client_is_read_as_a_backend_reads_it() {
        let own = Some(own_identity().unwrap());
        assert_eq!(asked(&open("$1", own, command("echo no such session >&2; false"))), Some(Ok(())));
        refused(&open("$1", own, command("echo another server")), "nothing was done");
        refused(&open("$1", own, command("echo broken >&2; exit 3")), "broken");
    }

    /// A client that is told its session by a variable alone would end whichever it likes without it.
    #[test]
    fn a_client_has_the_variables_that_it_had_when_it_was_asked_by_the_test() {
        let own = Some(own_identity().unwrap());
        let with = |mut recipe: Recipe, id: Option<&str>| {
            if let Recipe::Command { arguments, id_variable, removed_variables, .. } = &mut recipe {
                arguments.retain(|argument| argument != "{id}");
                *id_variable = id.map(String::from);
                removed_variables.push("HOME".into());
            }
            recipe
        };
        let script = || command("test \"$MINE\" = '$1' && test -z \"$HOME\" && test -n \"$PATH\"");
        assert_eq!(asked(&open("$1", own, with(script(), Some("MINE")))), Some(Ok(())));
        refused(&open("$2", own, with(script(), Some("MINE"))), "exit status 1");
        refused(&open("$1", own, with(script(), None)), "could be about all of them");
    }

    #[test]
    fn a_request_that_names_no_session_is_not_sent() {
        let own = Some(own_identity().unwrap());
        let (url, method) = ("http://127.0.0.1:1/sessions".into(), "DELETE".into());
        let all = Recipe::Http { url, method, auth_header: None, secret_variable: None };
        refused(&open("1", own, all), "could be about all of them");
    }

    #[test]
    fn what_finds_no_time_is_told() {
        let open = open("$1", Some(own_identity().unwrap()), command("true"));
        let error = Ask::prepare(&open).unwrap().unwrap().follow(Duration::ZERO).unwrap_err();
        assert!(error.contains("were over"), "{error}");
    }
}
