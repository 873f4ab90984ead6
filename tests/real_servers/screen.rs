//! GNU screen: no server, but a process for each session, which is what a client talks to.

use crate::trials::real::output;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use termleash::session::{BoxError, CommandApi, CommandBackend};

/// screen's own client prints neither the id of a new session nor any process, so that a client of our own does.
const CLIENT: &str = include_str!("screen-client.sh");

pub(crate) struct Screen {
    directory: Option<tempfile::TempDir>,
    path: PathBuf,
}

impl Screen {
    pub(crate) fn start() -> Result<Self, BoxError> {
        // Sockets need a short path; nobody else may read it.
        let directory = tempfile::Builder::new().prefix("tls").tempdir()?;
        let path = directory.path().to_owned();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700))?;
        std::fs::write(path.join(".client"), CLIENT)?;
        Ok(Self { directory: Some(directory), path })
    }

    pub(crate) fn at(path: &str) -> Self {
        Self { directory: None, path: path.into() }
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.path
    }

    fn first(&self) -> [String; 2] {
        [self.path.join(".client").to_string_lossy().into_owned(), self.path.to_string_lossy().into_owned()]
    }

    pub(crate) fn backend(&self) -> CommandBackend {
        let api = CommandApi::new("sh")
            .first(self.first())
            .create(["new", "{directory}", "{cookie}", "termleash", "{command}"])
            .kill(["end", "{id}", "{server}"])
            .list(["list"])
            .fields(0, Some(1), Some(2));
        CommandBackend::new(api)
    }

    fn ask(&self, arguments: &[&str]) -> String {
        output(Command::new("sh").args(self.first()).args(arguments).env_remove("STY"))
    }

    pub(crate) fn make(&self, name: &str, command: &[&str]) -> String {
        let line = self.ask(&[&["new", "/tmp", "NOBODY=1", name], command].concat());
        line.split(' ').next().unwrap_or_default().to_owned()
    }

    pub(crate) fn leader(&self, id: &str) -> Option<u32> {
        let lines = self.ask(&["list"]);
        lines.lines().find_map(|line| line.strip_prefix(id)?.strip_prefix(' ')?.split(' ').next()?.parse().ok())
    }

    fn screen(&self, id: &str, command: &[&str]) {
        output(Command::new("screen").args(["-S", id, "-X"]).args(command).env("SCREENDIR", &self.path));
    }

    pub(crate) fn type_line(&self, id: &str, line: &str) {
        self.screen(id, &["stuff", &format!("{}\r", line.replace('\\', "\\\\").replace('$', "\\$"))]);
    }

    pub(crate) fn text(&self, id: &str) -> String {
        let copy = self.path.join(format!(".copy-{id}"));
        let _ = std::fs::remove_file(&copy);
        self.screen(id, &["hardcopy", &copy.to_string_lossy()]);
        let text = crate::trials::real::until("a copy", || std::fs::read(&copy).ok());
        String::from_utf8_lossy(&text).into_owned()
    }

    pub(crate) fn end(&self, id: &str) {
        self.screen(id, &["quit"]);
        let _ = &self.directory;
    }
}
