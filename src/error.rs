//! The crate's one error: opaque, with predicates for what a caller can act on.
//!
//! Every text names the thing, the cause and what to do. There is no `From<io::Error>`: an error without its
//! context ("No such file or directory") is what this crate's users already have too much of.

use std::fmt;
use std::io;
use std::time::Duration;

/// The result of this crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What a backend returns when something goes wrong: any error type, boxed.
///
/// `?` converts from every error that is `Send + Sync`, and from `&str` and `String`.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What went wrong, in a text for a person, and predicates for a program.
///
/// ```
/// use termleash::session::SessionId;
///
/// let error = SessionId::new("../etc").unwrap_err();
/// assert!(error.is_invalid_input());
/// assert!(error.to_string().contains("../etc"));
/// ```
pub struct Error {
    inner: Box<Inner>,
}

struct Inner {
    kind: Kind,
    /// Said by who knows that whatever failed has left nothing behind.
    leaves_nothing: bool,
}

#[derive(Debug)]
enum Kind {
    /// A value from the caller or the environment that cannot be used as it is.
    Invalid(String),
    /// The platform, or the set of features, has no such thing.
    Unsupported(String),
    /// An id that this helper does not track.
    NotTracked(String),
    /// An id that the backend does not know.
    UnknownSession(String),
    /// A deadline of ours went by.
    Timeout { what: String, after: Duration },
    /// The session ended before what was waited for.
    SessionEnded(String),
    /// A server under test ended before it was to.
    ServerEnded(String),
    /// Signalling or asking was refused, because ownership was not proven.
    Refused(String),
    /// Processes or sessions that are still there after the kill, with the whole report for programs.
    Survived { text: String, outcome: Option<Box<dyn std::any::Any + Send + Sync>> },
    /// A look at the sentinels found something, or could not look; with the whole report for programs.
    Interfered { text: String, report: Box<dyn std::any::Any + Send + Sync> },
    /// What must be so before a run is not, or could not be looked at.
    NotReady(String),
    /// An operating system call failed.
    Os { what: String, hint: &'static str, source: io::Error },
    /// The user's backend failed.
    Backend { what: String, source: BoxError },
}

impl Error {
    pub(crate) fn invalid(text: impl Into<String>) -> Self {
        Kind::Invalid(text.into()).into()
    }

    pub(crate) fn unsupported(text: impl Into<String>) -> Self {
        Kind::Unsupported(text.into()).into()
    }

    pub(crate) fn not_tracked(id: &dyn fmt::Display) -> Self {
        Kind::NotTracked(format!(
            "session `{id}` is not tracked by this helper, so it was not touched: \
             create it with `create_tracked_session`, or hand it over with `track_session`"
        ))
        .into()
    }

    pub(crate) fn unknown_session(text: impl Into<String>) -> Self {
        Kind::UnknownSession(text.into()).into()
    }

    pub(crate) fn timeout(what: impl Into<String>, after: Duration) -> Self {
        Kind::Timeout { what: what.into(), after }.into()
    }

    pub(crate) fn session_ended(text: impl Into<String>) -> Self {
        Kind::SessionEnded(text.into()).into()
    }

    pub(crate) fn server_ended(text: impl Into<String>) -> Self {
        Kind::ServerEnded(text.into()).into()
    }

    pub(crate) fn refused(text: impl Into<String>) -> Self {
        Kind::Refused(text.into()).into()
    }

    pub(crate) fn survived<T: Send + Sync + 'static>(text: String, outcome: Option<T>) -> Self {
        let outcome = outcome.map(|outcome| Box::new(outcome) as Box<dyn std::any::Any + Send + Sync>);
        Kind::Survived { text, outcome }.into()
    }

    pub(crate) fn interfered<T: Send + Sync + 'static>(text: String, report: T) -> Self {
        Kind::Interfered { text, report: Box::new(report) }.into()
    }

    pub(crate) fn not_ready(text: String) -> Self {
        Kind::NotReady(text).into()
    }

    /// `what` reads as "failed to …"; `hint` is the sentence that says what to do, or empty.
    pub(crate) fn os(what: impl Into<String>, hint: &'static str, source: impl Into<io::Error>) -> Self {
        Kind::Os { what: what.into(), hint, source: source.into() }.into()
    }

    pub(crate) fn backend(what: impl Into<String>, source: BoxError) -> Self {
        // A backend that passes one of our own errors through keeps its predicates.
        match source.downcast::<Error>() {
            Ok(own) => *own,
            Err(source) => Kind::Backend { what: what.into(), source }.into(),
        }
    }

    /// The same error, of a creation that has started nothing, or has ended and reaped what it started: nobody need
    /// look for it.
    pub(crate) fn leaving_nothing(mut self) -> Self {
        self.inner.leaves_nothing = true;
        self
    }

    pub(crate) fn leaves_nothing(&self) -> bool {
        self.inner.leaves_nothing
    }

    /// What the failed kill carries, if it is of type `T`.
    pub(crate) fn survivors<T: 'static>(&self) -> Option<&T> {
        match &self.inner.kind {
            Kind::Survived { outcome: Some(outcome), .. } => outcome.downcast_ref(),
            Kind::Interfered { report, .. } => report.downcast_ref(),
            _ => None,
        }
    }

    /// True if a value given by the caller, or by a `TERMLEASH_…` variable, cannot be used.
    pub fn is_invalid_input(&self) -> bool {
        matches!(self.inner.kind, Kind::Invalid(_))
    }

    /// True if this platform or this set of features cannot do it.
    pub fn is_unsupported(&self) -> bool {
        matches!(self.inner.kind, Kind::Unsupported(_))
    }

    /// True if the id is not tracked by the helper that was asked; nothing was touched.
    pub fn is_not_tracked(&self) -> bool {
        matches!(self.inner.kind, Kind::NotTracked(_))
    }

    /// True if the backend does not know the id.
    pub fn is_unknown_session(&self) -> bool {
        matches!(self.inner.kind, Kind::UnknownSession(_))
    }

    /// True if a deadline went by.
    pub fn is_timeout(&self) -> bool {
        matches!(self.inner.kind, Kind::Timeout { .. })
    }

    /// True if the session ended before what was waited for happened.
    pub fn is_session_ended(&self) -> bool {
        matches!(self.inner.kind, Kind::SessionEnded(_))
    }

    /// True if a server under test ended by itself: before it was ready, or before it was closed.
    pub fn is_server_ended(&self) -> bool {
        matches!(self.inner.kind, Kind::ServerEnded(_))
    }

    /// True if something was not done because ownership was not proven; nothing was touched.
    pub fn is_refused(&self) -> bool {
        matches!(self.inner.kind, Kind::Refused(_))
    }

    /// True if a kill ended with something of the session still alive. The session stays tracked, and the kill
    /// can be called again.
    pub fn is_survived(&self) -> bool {
        matches!(self.inner.kind, Kind::Survived { .. })
    }

    /// True if somebody has ended sentinels of the helper's, or they could not be looked at; what was to be killed is proven to
    /// be gone.
    pub fn is_interfered(&self) -> bool {
        matches!(self.inner.kind, Kind::Interfered { .. })
    }

    /// True if a required item of a preflight failed, or could not be looked at.
    pub fn is_not_ready(&self) -> bool {
        matches!(self.inner.kind, Kind::NotReady(_))
    }

    /// The operating system's error number, if a system call was the cause.
    pub fn raw_os_error(&self) -> Option<i32> {
        match &self.inner.kind {
            Kind::Os { source, .. } => source.raw_os_error(),
            _ => None,
        }
    }
}

impl From<Kind> for Error {
    fn from(kind: Kind) -> Self {
        Self { inner: Box::new(Inner { kind, leaves_nothing: false }) }
    }
}

/// So that `track_session` takes a [`SessionId`](crate::session::SessionId) as well as what converts into one.
impl From<std::convert::Infallible> for Error {
    fn from(never: std::convert::Infallible) -> Self {
        match never {}
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.inner.kind {
            Kind::Invalid(text)
            | Kind::Unsupported(text)
            | Kind::NotTracked(text)
            | Kind::UnknownSession(text)
            | Kind::SessionEnded(text)
            | Kind::ServerEnded(text)
            | Kind::Refused(text)
            | Kind::NotReady(text)
            | Kind::Interfered { text, .. }
            | Kind::Survived { text, .. } => f.write_str(text),
            Kind::Timeout { what, after } => {
                write!(f, "timed out after {}: {what}", humantime::format_duration(*after))
            }
            Kind::Os { what, hint, source } => {
                write!(f, "failed to {what}: {source}")?;
                if hint.is_empty() { Ok(()) } else { write!(f, "; {hint}") }
            }
            Kind::Backend { what, source } => write!(f, "{what}: {source}"),
        }
    }
}

/// What a backend of ours answers when its server got a request, as far as is known, and did not answer: what was asked for
/// may still be done.
#[derive(Debug)]
pub(crate) struct Unanswered(pub(crate) String);

impl Unanswered {
    /// The same text of a request after which nothing is still to be done.
    pub(crate) fn over(cause: BoxError) -> BoxError {
        cause.downcast::<Self>().map_or_else(|other| other, |unanswered| unanswered.0.into())
    }
}

impl fmt::Display for Unanswered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unanswered {}

/// An error and what caused it, where that says something that it does not say itself.
pub(crate) fn with_causes(error: &BoxError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text += &format!(": {more}");
        }
        cause = error.source();
    }
    text
}

/// The same text as `Display`: `unwrap` and `fn main() -> Result<()>` show it to a person.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.inner.kind {
            // The text above ends with the source's own, as a test's failure shows only the outermost error;
            // what is deeper is reachable from here.
            Kind::Os { source, .. } => source.source(),
            Kind::Backend { source, .. } => source.source(),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_send_sync<T: Send + Sync + 'static>() {}

    #[test]
    fn the_error_crosses_threads_and_is_one_pointer() {
        assert_send_sync::<Error>();
        assert_eq!(size_of::<Error>(), size_of::<usize>());
    }

    #[test]
    fn our_own_error_passes_through_a_backend_unchanged() {
        let boxed: BoxError = Box::new(Error::unknown_session("no session `x`"));
        assert!(Error::backend("failed to kill session `x`", boxed).is_unknown_session());
    }

    #[test]
    fn texts_name_the_thing_the_cause_and_what_to_do() {
        let error = Error::os("open a pty", "raise the limit", io::Error::other("no descriptor"));
        assert_eq!(error.to_string(), "failed to open a pty: no descriptor; raise the limit");
        let error = Error::backend("failed to kill session `a`", "no route".into());
        assert_eq!(error.to_string(), "failed to kill session `a`: no route");
        let error = Error::timeout("waiting for \"$ \"", Duration::from_millis(1500));
        assert_eq!(error.to_string(), "timed out after 1s 500ms: waiting for \"$ \"");
    }
}
