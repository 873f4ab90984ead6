//! tmux on a socket of its own, in the foreground, as a person uses it.

use crate::trials::real::output;
use std::path::{Path, PathBuf};
use std::process::Command;
use termleash::server::{Server, ServerGuard};
use termleash::session::{BoxError, CommandBackend};
use termleash::testing::Scope;

pub(crate) struct Tmux {
    server: Option<Server>,
    socket: PathBuf,
}

impl Tmux {
    pub(crate) async fn start(t: &Scope) -> Result<Self, BoxError> {
        // In the foreground it stays when it has no session.
        let spec = ServerGuard::command("tmux").args(["-D", "-S", "{runtime}/s", "-f", "/dev/null"]);
        let server = t.server(spec.without_port().ready_socket("s")).await?;
        let socket = server.runtime_dir().join("s");
        Ok(Self { server: Some(server), socket })
    }

    pub(crate) fn at(socket: &str) -> Self {
        Self { server: None, socket: socket.into() }
    }

    pub(crate) fn server(&self) -> Option<&Server> {
        self.server.as_ref()
    }

    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    pub(crate) fn backend(&self) -> CommandBackend {
        CommandBackend::tmux(&self.socket)
    }

    pub(crate) fn ask(&self, arguments: &[&str]) -> String {
        output(Command::new("tmux").arg("-N").arg("-S").arg(&self.socket).args(arguments).env_remove("TMUX"))
    }

    pub(crate) fn make(&self, name: &str, command: &[&str]) -> String {
        let line = ["new-session", "-d", "-P", "-F", "#{session_id}", "-s", name, "--"];
        self.ask(&[line.as_slice(), command].concat()).trim().to_owned()
    }

    pub(crate) fn leader(&self, id: &str) -> Option<u32> {
        let lines = self.ask(&["list-panes", "-a", "-F", "#{session_id} #{pane_pid}"]);
        lines.lines().find_map(|line| line.strip_prefix(id)?.strip_prefix(' ')?.parse().ok())
    }

    pub(crate) fn type_line(&self, id: &str, line: &str) {
        self.ask(&["send-keys", "-t", id, "-l", "--", line]);
        self.ask(&["send-keys", "-t", id, "Enter"]);
    }

    pub(crate) fn text(&self, id: &str) -> String {
        self.ask(&["capture-pane", "-p", "-t", id])
    }

    pub(crate) fn end(&self, id: &str) {
        self.ask(&["kill-session", "-t", id]);
    }
}
