//! What session is wanted: program, directory, environment, size.

use crate::error::{Error, Result};
use crate::process::cookie::Cookie;
use serde::{Deserialize, Serialize};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

/// The size of a terminal in character cells; 24 × 80 unless said otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct WindowSize {
    /// Lines, at least 1.
    pub rows: u16,
    /// Characters in a line, at least 1.
    pub cols: u16,
}

impl Default for WindowSize {
    fn default() -> Self {
        Self { rows: 24, cols: 80 }
    }
}

impl WindowSize {
    pub(crate) fn check(self) -> Result<Self> {
        if self.rows > 0 && self.cols > 0 {
            return Ok(self);
        }
        let Self { rows, cols } = self;
        Err(Error::invalid(format!(
            "a window of {rows} rows and {cols} columns is none: programs read 0 as \"unknown\" and divide by it; \
             give at least 1 of each"
        )))
    }
}

/// How many characters of a command line a message shows.
const MOST_COMMAND: usize = 160;

fn shown(char: char) -> impl Iterator<Item = char> {
    let escaped = char.is_control().then(|| char.escape_default());
    let plain = escaped.is_none().then_some(char);
    escaped.into_iter().flatten().chain(plain)
}

/// A session that a backend is asked to create.
///
/// A program with arguments, which reach it as they are, or one line for `sh -c`. It starts in the test's working
/// directory and environment unless said otherwise; see [`PtyBackend`](crate::PtyBackend) for what that environment is.
///
/// ```
/// use termleash::SessionSpec;
///
/// let exact = SessionSpec::new("grep").args(["-n", "two words"]).current_dir("/tmp").env("LANG", "C").size(50, 132);
/// let line = SessionSpec::shell("cd /tmp && ls | wc -l");
/// assert_eq!(exact.program(), "grep");
/// assert_eq!(line.arguments(), ["-c", "cd /tmp && ls | wc -l"]);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "a specification does nothing until a helper creates a session from it"]
pub struct SessionSpec {
    program: OsString,
    arguments: Vec<OsString>,
    directory: Option<PathBuf>,
    clears_environment: bool,
    environment: Vec<(OsString, Option<OsString>)>,
    size: WindowSize,
    name: Option<String>,
    cookie: Option<Cookie>,
}

impl SessionSpec {
    /// A program by its path, or by its name to be looked up in the session's `PATH`. Not a command line: see
    /// [`shell`](Self::shell).
    pub fn new(program: impl Into<OsString>) -> Self {
        Self {
            program: program.into(),
            arguments: Vec::new(),
            directory: None,
            clears_environment: false,
            environment: Vec::new(),
            size: WindowSize::default(),
            name: None,
            cookie: None,
        }
    }

    /// One line for `/bin/sh -c`. Never build it from what comes from elsewhere: pass that as an argument or a variable.
    pub fn shell(line: impl Into<OsString>) -> Self {
        Self::new("/bin/sh").arg("-c").arg(line)
    }

    /// Adds an argument.
    pub fn arg(mut self, argument: impl Into<OsString>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Adds arguments.
    pub fn args<A: Into<OsString>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// Where it starts; the test's working directory if not said. A program given by a relative path is looked for
    /// from here.
    pub fn current_dir(mut self, directory: impl Into<PathBuf>) -> Self {
        self.directory = Some(directory.into());
        self
    }

    /// Sets a variable.
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.environment.push((name.into(), Some(value.into())));
        self
    }

    /// Removes a variable that it would inherit.
    pub fn env_remove(mut self, name: impl Into<OsString>) -> Self {
        self.environment.push((name.into(), None));
        self
    }

    /// Inherits nothing, and forgets the variables said before this call. The session's cookie stays.
    pub fn env_clear(mut self) -> Self {
        self.clears_environment = true;
        self.environment.clear();
        self
    }

    /// The size that its terminal has from the start.
    pub fn size(mut self, rows: u16, cols: u16) -> Self {
        self.size = WindowSize { rows, cols };
        self
    }

    /// A name for people, for servers that have one. It never says whose a session is.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// The session's mark becomes part of its environment, after whatever the test said.
    pub(crate) fn with_cookie(mut self, cookie: Cookie) -> Self {
        self.environment.push((cookie.name().into(), Some(cookie.value().into())));
        self.cookie = Some(cookie);
        self
    }

    /// The session's mark, once a helper has given it one: for a backend whose server takes no variables, to be passed in
    /// the command. It is among [`environment`](Self::environment) as well.
    pub fn cookie(&self) -> Option<Cookie> {
        self.cookie
    }

    /// The program, as it was given.
    pub fn program(&self) -> &OsStr {
        &self.program
    }

    /// The arguments, without the program.
    pub fn arguments(&self) -> &[OsString] {
        &self.arguments
    }

    /// The directory, if one was given.
    pub fn directory(&self) -> Option<&Path> {
        self.directory.as_deref()
    }

    /// True if it inherits no variable.
    pub fn env_is_cleared(&self) -> bool {
        self.clears_environment
    }

    /// The changes to the environment in the order in which they apply, `None` for a removal; the session's cookie
    /// is among them. A backend passes on what its server can take.
    pub fn environment(&self) -> impl Iterator<Item = (&OsStr, Option<&OsStr>)> {
        self.environment.iter().map(|(name, value)| (name.as_os_str(), value.as_deref()))
    }

    /// The size.
    pub fn window_size(&self) -> WindowSize {
        self.size
    }

    /// The name for people, if one was given.
    pub fn session_name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// The program and its arguments on one line, for messages: short, and without what would move a cursor.
    pub(crate) fn command_line(&self) -> String {
        let words = std::iter::once(&self.program).chain(&self.arguments);
        let line = words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ");
        let mut shown: String = line.chars().take(MOST_COMMAND).flat_map(shown).collect();
        if line.chars().nth(MOST_COMMAND).is_some() {
            shown.push('…');
        }
        shown
    }

    /// What no operating system can pass on.
    ///
    /// # Errors
    ///
    /// [`Error::is_invalid_input`]: an empty program, a NUL in any text, a variable's name that is empty or has `=`,
    /// a window of size 0.
    pub(crate) fn check(&self) -> Result<()> {
        if self.program.is_empty() {
            return Err(Error::invalid("the session's program is empty: name one, such as `bash`"));
        }
        let texts = [("program", self.program.as_os_str())]
            .into_iter()
            .chain(self.arguments.iter().map(|argument| ("argument", argument.as_os_str())))
            .chain(self.directory.iter().map(|directory| ("working directory", directory.as_os_str())))
            .chain(self.environment.iter().map(|(name, _)| ("variable", name.as_os_str())))
            .chain(self.environment.iter().flat_map(|(_, value)| Some(("variable's value", value.as_deref()?))));
        for (what, text) in texts {
            if text.as_encoded_bytes().contains(&0) {
                return Err(Error::invalid(format!(
                    "the session's {what} {text:?} contains a NUL, where the operating system ends a text: remove it"
                )));
            }
        }
        for (name, _) in &self.environment {
            if name.is_empty() || name.as_encoded_bytes().contains(&b'=') {
                return Err(Error::invalid(format!(
                    "{name:?} cannot be a variable's name: it is empty or contains `=`"
                )));
            }
        }
        self.size.check().map(|_| ())
    }
}

/// A program's name or path, without arguments.
impl From<&str> for SessionSpec {
    fn from(program: &str) -> Self {
        Self::new(program)
    }
}

impl From<&SessionSpec> for SessionSpec {
    fn from(spec: &SessionSpec) -> Self {
        spec.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clearing_forgets_what_was_set_before_and_never_the_cookie() {
        let cookie = Cookie::new();
        let spec = SessionSpec::new("x").env("A", "1").env_clear().env("B", "2").with_cookie(cookie);
        let names: Vec<_> = spec.environment().map(|(name, _)| name.to_owned()).collect();
        assert_eq!(names, [OsString::from("B"), cookie.name().into()]);
        assert!(spec.env_is_cleared());
    }

    #[test]
    fn what_cannot_be_passed_on_is_refused_by_name() {
        for (spec, what) in [
            (SessionSpec::new(""), "program is empty"),
            (SessionSpec::new("a\0b"), "program"),
            (SessionSpec::new("a").arg("x\0"), "argument"),
            (SessionSpec::new("a").current_dir("/\0"), "working directory"),
            (SessionSpec::new("a").env("N\0", "v"), "variable"),
            (SessionSpec::new("a").env("N", "v\0"), "variable's value"),
            (SessionSpec::new("a").env("N=M", "v"), "`=`"),
            (SessionSpec::new("a").env("", "v"), "empty"),
            (SessionSpec::new("a").size(0, 80), "0 rows"),
            (SessionSpec::new("a").size(24, 0), "0 columns"),
        ] {
            let error = spec.check().unwrap_err();
            assert!(error.is_invalid_input() && error.to_string().contains(what), "{error}");
        }
        SessionSpec::new("a").arg("").env("A", "").size(1, 1).check().unwrap();
    }
}
