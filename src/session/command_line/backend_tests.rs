//! What a client is told, and what is made of what it prints, by a client that writes the one down and has the other from a test.

use super::*;
use crate::process::cookie::Cookie;
use crate::runtime::block_on;

/// Whoever follows it must refuse what the backend refuses.
#[test]
fn a_recipe_says_what_an_id_is_and_how_another_server_answers() {
    let Recipe::Command { id_prefix, refused_text, gone_texts, arguments, .. } =
        CommandBackend::tmux("/nowhere/socket").kill_recipe().recipe
    else {
        panic!("it is a command")
    };
    assert_eq!(id_prefix.as_deref(), Some("$"));
    assert!(refused_text.is_some() && !gone_texts.is_empty());
    assert!(has(&arguments, "id") && has(&arguments, "server"), "{arguments:?}");
}

#[test]
fn a_session_whose_server_is_not_known_is_not_ended() {
    let id = SessionId::new("$1").unwrap();
    let error = block_on(CommandBackend::tmux("/nowhere/socket").kill(&id)).unwrap_err();
    assert!(error.to_string().contains("neither made nor seen here"), "{error}");
}

/// A client that writes down what it is told, a line for each call, and prints what a test has written down.
struct Client(tempfile::TempDir);

impl Client {
    fn new() -> Self {
        let client = Self(tempfile::tempdir().unwrap());
        client.prints("");
        client
    }

    fn api(&self) -> CommandApi {
        let at = self.0.path().display();
        let script = format!("printf '%s\\n' \"$*${{ID+ for $ID}}\" >> '{at}/told'; cat '{at}/prints'");
        let api = CommandApi::new("sh").first(["-c", &script, "client"]).fields(0, Some(1), Some(2));
        api.create(["new", "{cookie}", "{command}"]).kill(["kill", "{id}", "{server}"]).list(["list"])
    }

    fn prints(&self, text: &str) {
        std::fs::write(self.0.path().join("prints"), text).unwrap();
    }

    /// Since the last time.
    fn told(&self) -> String {
        let told = std::fs::read_to_string(self.0.path().join("told")).unwrap_or_default();
        std::fs::write(self.0.path().join("told"), "").unwrap();
        told
    }
}

fn id(text: &str) -> SessionId {
    SessionId::new(text).unwrap()
}

#[test]
fn a_session_is_ended_on_the_server_that_was_named_first_until_it_is_discarded() {
    let client = Client::new();
    let backend = CommandBackend::new(client.api());
    for line in ["s-1 0 7", "s-1 0 9"] {
        client.prints(line);
        assert!(block_on(backend.state(&id("s-1"))).unwrap().is_running());
    }
    client.told();
    block_on(backend.kill(&id("s-1"))).unwrap();
    assert_eq!(client.told(), "kill s-1 7\n");
    block_on(backend.discard_record(&id("s-1"))).unwrap();
    let error = block_on(backend.kill(&id("s-1"))).unwrap_err();
    assert!(error.to_string().contains("neither made nor seen here") && client.told().is_empty(), "{error}");
    // Where a kill names no server there is nothing to know.
    let backend = CommandBackend::new(client.api().kill(["kill", "{id}"]));
    block_on(backend.kill(&id("s-1"))).unwrap();
    assert_eq!(client.told(), "kill s-1\n");
}

/// A client that is told no session may do it to all of them, or to the newest one.
#[test]
fn what_is_done_to_one_session_names_it_to_the_client() {
    let client = Client::new();
    let api = client.api().kill(["kill-all"]).discard(["discard-all"]);
    let backend = CommandBackend::new(api.clone());
    let told =
        [block_on(backend.kill(&id("s-1"))).unwrap_err(), block_on(backend.discard_record(&id("s-1"))).unwrap_err()];
    for (told, what) in told.iter().zip(["end a session", "discard a record"]) {
        let told = told.to_string();
        assert!(told.contains(what) && told.contains("could be about all of them"), "{told}");
    }
    assert!(client.told().is_empty());
    let backend = CommandBackend::new(api.id_variable("ID").without_variable("HOME"));
    block_on(backend.kill(&id("s-1"))).unwrap();
    assert_eq!(client.told(), "kill-all for s-1\n");
    // Whoever follows its recipe tells the client the same.
    let Recipe::Command { id_variable, removed_variables, .. } = backend.kill_recipe().recipe else {
        panic!("it is a command")
    };
    assert_eq!((id_variable.as_deref(), removed_variables), (Some("ID"), vec!["HOME".to_owned()]));
}

#[test]
fn a_new_session_is_in_the_last_line_and_has_an_id() {
    let client = Client::new();
    let spec = || SessionSpec::new("true").with_cookie(Cookie::new());
    client.prints("starting a server\ns-1 41 7\n\n");
    let created = block_on(CommandBackend::new(client.api()).create(&spec())).unwrap();
    assert_eq!(created.id(), &id("s-1"));
    client.prints("s-1 41 7");
    let digits = CommandBackend::new(client.api().ids_are_digits_after("$"));
    let error = block_on(digits.create(&spec())).unwrap_err();
    assert!(error.to_string().contains("no id such as `$3`"), "{error}");
    client.prints("");
    let error = block_on(CommandBackend::new(client.api()).create(&spec())).unwrap_err();
    assert!(error.to_string().contains("instead of a line with an id"), "{error}");
}

#[test]
fn what_one_hole_cannot_say_of_the_environment_is_said_in_the_command() {
    let client = Client::new();
    client.prints("s-1");
    let told = |api: CommandApi, spec: SessionSpec| {
        let _ = block_on(CommandBackend::new(api).create(&spec.with_cookie(Cookie::new())));
        let told = client.told();
        let is_cookie = |word: &&str| word.starts_with("TERMLEASH_S_");
        told.split_whitespace().map(|word| if is_cookie(&word) { "COOKIE" } else { word }).collect::<Vec<_>>().join(" ")
    };
    let spec = || SessionSpec::new("true");
    assert_eq!(told(client.api(), spec()), "new COOKIE true");
    assert_eq!(told(client.api(), spec().env("A", "b")), "new COOKIE env A=b COOKIE true");
    let environment = || client.api().create(["new", "{environment}", "{command}"]).environment_flag("-e");
    assert_eq!(told(environment(), spec().env("A", "b")), "new -e A=b -e COOKIE true");
    assert_eq!(told(environment(), spec().env_remove("A")), "new -e COOKIE env -u A COOKIE true");
    assert_eq!(told(client.api().create(["new", "{command}"]), spec()), "new env COOKIE true");
    // A name only where it has one.
    let named = || client.api().create(["new", "{named}", "{cookie}", "{command}"]).when_named(["-s", "{name}"]);
    assert_eq!(told(named(), spec()), "new COOKIE true");
    assert_eq!(told(named(), spec().name("x")), "new -s x COOKIE true");
}

#[test]
fn a_state_is_asked_for_as_the_description_says_and_blank_lines_are_no_sessions() {
    let client = Client::new();
    client.prints("\ns-1 0 7\n \ns-2 0 7\n");
    let backend = CommandBackend::new(client.api().state(["show", "{id}"]).id_variable("ID"));
    assert!(block_on(backend.state(&id("s-2"))).unwrap().is_running());
    assert_eq!(client.told(), "show s-2 for s-2\n");
    assert_eq!(block_on(backend.list()).unwrap(), [id("s-1"), id("s-2")]);
    assert_eq!(client.told(), "list\n");
    let error = block_on(CommandBackend::new(client.api().kill([""; 0])).kill(&id("s-1"))).unwrap_err();
    assert!(error.to_string().contains("no arguments for this") && client.told().is_empty(), "{error}");
}

#[test]
fn a_process_of_number_zero_is_none() {
    let backend = CommandBackend::tmux("/nowhere/socket");
    let (leader_at, server_at) = (backend.api.leader_at.unwrap(), backend.api.server_at.unwrap());
    let mut words = vec!["$1"; leader_at.max(server_at) + 1];
    (words[leader_at], words[server_at]) = ("0", "0");
    let row = backend.row(&words.join(" ")).unwrap();
    assert_eq!((row.leader, row.server), (None, None));
}
