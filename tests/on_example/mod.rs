//! The example server under termleash: how it is described, started and used, as a reader would for a server of theirs.

// Each binary uses a part of this.
#![allow(dead_code, reason = "shared by binaries that each need another part")]

#[path = "../../examples/terminal_server/mod.rs"]
pub(crate) mod terminal_server;

use std::process::{ExitCode, exit};
use termleash::server::{ServerGuard, ServerSpec};
use termleash::session::{HttpApi, HttpBackend};

/// What makes this program the example server: its arguments.
const ARGUMENTS: &str = "EXAMPLE_SERVER_ARGUMENTS";

/// The example server's routes and fields: all that termleash has to know of it.
pub(crate) fn api() -> HttpApi {
    without_marks().environment_field("/environment").session_variable("TERMINAL_SERVER_SESSION")
}

/// The same of a server that lets no mark through to what it starts beside a session's program.
pub(crate) fn without_marks() -> HttpApi {
    HttpApi::new()
        .create("POST", "/sessions")
        .command_field("/command")
        .directory_field("/directory")
        .name_field("/name")
        .size_fields("/cols", "/rows")
        .id_field("/id")
        .ids_are_uuids()
        .state("GET", "/sessions/{id}")
        .state_id_field("/id")
        .status_field("/status", ["running"], ["exited"])
        .exit_code_field("/exit_code")
        .leader_field("/pid")
        .kill("DELETE", "/sessions/{id}")
        // The same request: of a session that has exited it takes the record.
        .discard("DELETE", "/sessions/{id}")
        .list("GET", "/sessions", "", "/id")
        .health("GET", "/health", "/pid")
}

pub(crate) fn backend(url: impl Into<String>) -> HttpBackend {
    HttpBackend::new(url, api())
}

/// This is no test, but the server that tests start: this program, again.
#[test]
fn serve() {
    if let Ok(arguments) = std::env::var(ARGUMENTS) {
        let port = std::env::var("PORT").unwrap();
        let arguments = format!("--port {port} {arguments}");
        let again = std::env::args_os().collect();
        let code = terminal_server::cli::main(arguments.split_whitespace().map(String::from), again);
        exit(if code == ExitCode::SUCCESS { 0 } else { 1 });
    }
}

/// The example server with these arguments, as a process of its own.
pub(crate) fn server(arguments: &str) -> ServerSpec {
    let program = std::env::current_exe().expect("this program has a path");
    ServerGuard::command(program)
        .args(["--exact", "on_example::serve", "--nocapture", "--test-threads=1"])
        .env(ARGUMENTS, arguments)
        .port_variable("PORT")
        .ready_line("listening on http://")
}
